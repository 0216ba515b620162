#!/bin/sh
# Copies the store while the service runs, checks the copy, and keeps the newest KEEP of them.
#
#   backup.sh STORE FOLDER
set -eu

KEEP=${KEEP:-14}

if [ $# -ne 2 ]; then
    echo "usage: backup.sh STORE FOLDER" >&2
    exit 2
fi
store=$1
folder=$2

if [ ! -f "$store" ]; then
    echo "backup: no such store: $store" >&2
    exit 1
fi
mkdir -p "$folder"
name="$folder/tidewatch-$(date -u +%Y%m%dT%H%M%SZ).db"

# SQLite's own copy sees one moment of the store, which cp of a file in use does not.
sqlite3 "$store" ".backup '$name.part'"
if [ "$(sqlite3 "$name.part" 'PRAGMA integrity_check')" != ok ]; then
    rm -f "$name.part"
    echo "backup: the copy is damaged; the store needs a look" >&2
    exit 1
fi
gzip "$name.part"
mv "$name.part.gz" "$name.gz"
echo "backup: $name.gz"

# Names sort by time, newest first; everything past KEEP goes.
ls -1 "$folder" | grep '^tidewatch-.*\.db\.gz$' | sort -r | tail -n +$((KEEP + 1)) |
    while read -r old; do
        rm -f "$folder/$old"
        echo "backup: removed $old"
    done
