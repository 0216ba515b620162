#!/bin/bash
# Brings three real repositories of different languages for the tests, once, from ordinary packages; nothing of them is run:
#   libuv 1.44 (C, over 100,000 lines): Debian 12 source package;  Django 3.2 (Python, over 100,000 lines): Debian package, which holds
#   its sources;  ESLint 8.57 (JavaScript): npm package.
#
#   tools/real_repos.sh DIR    → DIR/libuv DIR/django DIR/eslint; exit 3 when they cannot be had (no network)
set -euo pipefail
dir=${1:?usage: real_repos.sh DIR}
mkdir -p "$dir"
dir=$(realpath "$dir")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# debian NAME PACKAGE: the upstream tarball of a source package. The system's own sources are asked for their source packages.
debian() {
    [[ -d $dir/$1 ]] && return 0
    local lists=$work/lists list=/etc/apt/sources.list.d/debian.sources options
    if [[ ! -d $lists ]]; then
        mkdir -p "$lists/partial"
        if [[ -f $list ]]; then
            sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/src.sources"
        else
            sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/src.list"
        fi
    fi
    options=(-o "Dir::Etc::sourcelist=$(ls "$work"/src.*)" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$lists" -o APT::Sandbox::User=root)
    [[ -f $work/updated ]] || { apt-get -qq "${options[@]}" update && touch "$work/updated"; } || return 3
    (cd "$work" && apt-get -qq "${options[@]}" --download-only source "$2" >/dev/null) || return 3
    mkdir "$work/$1"
    tar -xf "$(ls "$work/$2"_*.orig.tar.* | grep -v '\.asc$' | head -1)" -C "$work/$1" --strip-components=1
    mv "$work/$1" "$dir/$1"
}

# debian_binary NAME PACKAGE DIRECTORY: a directory out of a package of sources that need no compiling.
debian_binary() {
    [[ -d $dir/$1 ]] && return 0
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$2" >/dev/null) || return 3
    dpkg-deb -x "$(ls "$work/$2"_*.deb)" "$work/$1"
    mv "$work/$1/$3" "$dir/$1"
}

npm_package() {
    [[ -d $dir/$1 ]] && return 0
    (cd "$work" && npm pack --silent "$2" >/dev/null) || return 3
    mkdir "$work/$1"
    tar -xzf "$work/$1"-*.tgz -C "$work/$1" --strip-components=1
    mv "$work/$1" "$dir/$1"
}

debian libuv libuv1 || exit 3
debian_binary django python3-django usr/lib/python3/dist-packages || exit 3
npm_package eslint eslint@8.57.0 || exit 3
