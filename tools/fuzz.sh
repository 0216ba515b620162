#!/bin/bash
# tools/fuzz.sh [--keep] SECONDS [NAME]: runs every libFuzzer target, or those whose name contains
# NAME, for SECONDS each. With --keep, inputs that reach new code stay in .cache/fuzz/<target>, so a
# later run goes on from there. A finding is written to .cache/fuzz/findings and ends the run with 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source dev/lib.sh

keep=
if [[ ${1:-} == --keep ]]; then
    keep=1
    shift
fi
seconds=${1:?usage: tools/fuzz.sh [--keep] SECONDS [NAME]}
only=${2:-}

command -v clang >/dev/null || {
    echo "fuzz: clang is missing; ./dev/setup test installs it" >&2
    exit 2
}
CC=clang configure build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
mapfile -t targets < <(/usr/bin/python3 tools/meson_tests.py fuzz build-fuzz)
if ((${#targets[@]} == 0)); then
    echo "fuzz: there are no fuzz targets yet (tests/fuzz/<module>)" >&2
    exit 2
fi

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
findings=.cache/fuzz/findings
mkdir -p "$findings"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ran=0 bad=0
for target in "${targets[@]}"; do
    IFS=$'\t' read -r program seeds <<<"$target"
    name=$(basename "$program")
    [[ $name == *"$only"* ]] || continue
    ninja -C build-fuzz --quiet "$program"
    corpus=$scratch/$name
    [[ $keep ]] && corpus=.cache/fuzz/$name
    mkdir -p "$corpus"
    echo "== $name for $seconds s"
    if build-fuzz/"$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$findings/$name-" "$corpus" ${seeds:+"$seeds"} \
        >"$scratch/log" 2>&1; then
        grep -E '^(stat::number_of_executed_units|Done)' "$scratch/log" || true
    else
        bad=$((bad + 1))
        tail -60 "$scratch/log"
        echo "== $name FAILED; the input is $findings/$name-*"
    fi
    ran=$((ran + 1))
done
echo "fuzz: $ran targets, $bad with findings"
((ran > 0 && bad == 0))
