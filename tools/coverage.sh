#!/bin/bash
# Line coverage of src by the unit tests and fuzz corpora: a table, and HTML in .cache/coverage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source dev/lib.sh

command -v gcovr >/dev/null || {
    echo "coverage: gcovr is missing; ./dev/setup test installs it" >&2
    exit 2
}
configure build-cov -Db_coverage=true -Doptimization=0
find build-cov -name '*.gcda' -delete
ninja -C build-cov
meson test -C build-cov --no-rebuild --print-errorlogs
mkdir -p .cache/coverage
gcovr --root . --filter src/ --object-directory build-cov --exclude-unreachable-branches \
    --html-details .cache/coverage/index.html --txt -
