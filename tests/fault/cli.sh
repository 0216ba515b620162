#!/bin/bash
# Fault injection through the whole program: a short scenario is repeated with the 1st, 2nd, 3rd … call
# at a site failing (HEADWATER_FAULT=site:n), until n is past the last call: 25 good runs in a row, or FAULT_MAX.
# A run may fail, and must then say why; it may not die of a signal, hang, or make a sanitizer speak,
# and the same data directory must serve an undisturbed run afterwards.
#
#   tests/fault/cli.sh [SITE...]      default: alloc read write sync sql
#
#   HEADWATER_BIN     program; default build-asan/headwater if it is there, else build/headwater
#   FAULT_MAX         last n to try at a site; default 400, the nth step grows past 100
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bin=${HEADWATER_BIN:-}
for candidate in build-asan/headwater build-asan/src/app/headwater build/headwater; do
    [[ -z $bin && -x $candidate ]] && bin=$candidate
done
if [[ -z $bin || ! -x $bin ]]; then
    echo "fault: SKIPPED: no program headwater (build/headwater); 'make' builds it"
    exit 0
fi
bin=$(realpath "$bin")
sites=("$@")
((${#sites[@]})) || sites=(alloc read write sync sql)
max=${FAULT_MAX:-400}

export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:exitcode=99
export UBSAN_OPTIONS=halt_on_error=1:exitcode=99

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/repo" "$work/probe"
cat >"$work/repo/README.md" <<'TEXT'
# Gauge
The gauge reads the water level every minute and retries three times.
TEXT
cat >"$work/repo/gauge.py" <<'TEXT'
def read_level(port, retries=3):
    """Reads one level; retries when the gauge does not answer."""
    for attempt in range(retries):
        value = port.read()
        if value is not None:
            return value
    raise TimeoutError("gauge does not answer")
TEXT

run() { # run DATA ARGUMENT...: sets $status; output in $work/out
    local data=$1
    shift
    timeout -k 5 60 "$bin" "$@" --data "$data" >"$work/out" 2>&1 </dev/null
    status=$?
}

# Which of the scenario's commands does this program have?
scenario=()
try() {
    run "$work/probe" "$@"
    if ((status == 0)); then
        local IFS=$'\x1f' # arguments hold blanks
        scenario+=("$*")
    else
        echo "fault: note: '$1' is left out: it fails undisturbed ($(tail -1 "$work/out"))"
    fi
}
try doctor
try index "$work/repo"
try search "$work/repo" "retries"
try ask "$work/repo" "How often does the gauge retry?"
if ((${#scenario[@]} == 0)); then
    echo "fault: SKIPPED: the program has none of the commands of the scenario"
    exit 0
fi

bad=0 runs=0
complain() {
    bad=$((bad + 1))
    echo "FAIL HEADWATER_FAULT=$fault headwater ${argv[*]}: $1"
    tail -25 "$work/out" | sed 's/^/    /'
}

for site in "${sites[@]}"; do
    for command in "${scenario[@]}"; do
        IFS=$'\x1f' read -ra argv <<<"$command"
        n=1
        clean=0
        while ((n <= max && clean < 25)); do
            fault=$site:$n
            rm -rf "$work/data"
            # Commands that read need an index; it is made undisturbed.
            case ${argv[0]} in
            search | ask) cp -r "$work/probe" "$work/data" ;;
            esac
            export HEADWATER_FAULT=$fault
            run "$work/data" "${argv[@]}"
            unset HEADWATER_FAULT
            runs=$((runs + 1))
            if ((status == 124 || status == 137)); then
                complain "hangs"
            elif ((status == 99 || status > 128)); then
                complain "status $status: a sanitizer report or a signal"
            elif grep -qE 'AddressSanitizer|LeakSanitizer|runtime error:' "$work/out"; then
                complain "sanitizer report"
            elif ((status != 0)) && [[ ! -s $work/out ]]; then
                complain "fails without a word"
            fi
            # The fault may hit where it does no harm, so only a row of good runs means the end.
            if ((status == 0)); then clean=$((clean + 1)); else clean=0; fi
            if ((n % 20 == 1)); then
                run "$work/data" "${argv[@]}"
                ((status == 0)) || complain "afterwards, undisturbed: status $status"
            fi
            n=$((n + 1 + (n > 100 ? n / 20 : 0)))
        done
        echo "fault: $site in '${argv[0]}': up to the $((n - 1))th call"
    done
done
echo "fault: $runs runs, $bad bad"
((bad == 0))
