#!/bin/bash
# tools/sanitize.sh asan|tsan: builds into build-asan or build-tsan and runs the unit tests there.
# tools/sanitize.sh asan-program|tsan-program: builds the program alone: build-asan/src/app/headwater.
# TSan covers the modules with threads of their own: the others would only cost time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source dev/lib.sh

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

case ${1:-} in
asan | asan-program) configure build-asan -Db_sanitize=address,undefined -Db_lundef=false ;;
tsan | tsan-program) configure build-tsan -Db_sanitize=thread -Db_lundef=false ;;
esac

case ${1:-} in
asan-program | tsan-program)
    ninja -C "build-${1%-program}" src/app/headwater
    ;;
asan)
    ninja -C build-asan
    meson test -C build-asan --no-rebuild --print-errorlogs --timeout-multiplier 4
    ;;
tsan)
    mapfile -t programs < <(/usr/bin/python3 tools/meson_tests.py programs build-tsan loop stream store)
    if ((${#programs[@]} == 0)); then
        echo "tsan: no unit tests of loop, stream or store yet"
        exit 0
    fi
    ninja -C build-tsan "${programs[@]}"
    mapfile -t names < <(/usr/bin/python3 tools/meson_tests.py names build-tsan loop stream store)
    # Without address-space randomisation, where that is allowed: gcc 12's TSan cannot place its
    # shadow on kernels that randomise more bits.
    fixed=()
    setarch -R true 2>/dev/null && fixed=(setarch -R)
    "${fixed[@]}" meson test -C build-tsan --no-rebuild --print-errorlogs --timeout-multiplier 8 "${names[@]}"
    ;;
*)
    echo "usage: tools/sanitize.sh asan|tsan|asan-program|tsan-program" >&2
    exit 2
    ;;
esac
