# Shared by dev/run and dev/test. Sourced, from the root of the checkout.

# Node >= 20: the system's, else the one that dev/setup put beside the API tests. Prints its path.
find_node() {
    local candidate major
    for candidate in "$(command -v node || true)" tests/api/node_modules/.bin/node; do
        [[ -x $candidate ]] || continue
        major=$("$candidate" --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
        if ((${major:-0} >= 20)); then
            case $candidate in
            /*) echo "$candidate" ;;
            *) echo "$PWD/$candidate" ;;
            esac
            return 0
        fi
    done
    return 1
}

# configure DIR [meson options]: sets a build directory up once.
configure() {
    local dir=$1
    shift
    [[ -f $dir/build.ninja ]] && return 0
    rm -rf "$dir"
    local log
    if ! log=$(meson setup "$dir" "$@" 2>&1); then
        echo "$log" >&2
        return 1
    fi
}
