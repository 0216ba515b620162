#!/bin/sh
# The despike filter from outside. Builds it into a temporary folder.
set -eu
cd "$(dirname "$0")/../native"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
${CC:-cc} -std=c11 -O1 -o "$out/despike" main.c despike.c -lm

check() { # check NAME EXPECTED LEVEL...
    name=$1
    expected=$2
    shift 2
    found=$(printf '%s\n' "$@" | "$out/despike" 2>/dev/null) || found="status $?"
    if [ "$found" != "$expected" ]; then
        echo "FAIL $name: expected '$expected', found '$found'"
        exit 1
    fi
    echo "ok $name"
}

check steady "2.0200 good" 2.00 2.01 2.02 2.01 2.02
check spike "2.0100 spike" 2.00 2.01 2.02 2.01 5.00
check slow_rise "2.1600 good" 2.00 2.04 2.08 2.12 2.16
check two_levels_are_not_judged "9.0000 good" 2.00 9.00
check garbage "status 2" 2.00 abc
check infinity "status 2" inf
