"""C files are laid out as clang-format 14 lays them out with our .clang-format (`make fmt` does it)."""
import os
import re
import shutil
import subprocess
import sys

import common

ERROR = re.compile(r"^([^:\n]+):(\d+):\d+: error: (.*)", re.M)


def version():
    if not shutil.which("clang-format"):
        return None
    out = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"version (\d+)", out)
    return int(found.group(1)) if found else None


def check(root):
    if version() != 14:
        print(f"format: SKIPPED: needs clang-format 14, here is {version() or 'none'}", file=sys.stderr)
        return
    names = [n for n in common.files(root, ["src", "tests", "bench", "sdk"], [".c", ".h"])
             if not n.startswith("tests/data/")]
    for at in range(0, len(names), 50):
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", *names[at:at + 50]], cwd=root,
                              capture_output=True, text=True)
        if done.returncode == 0:
            continue
        seen = set() # the first place in each file is enough: make fmt mends the rest
        for path, line, _ in ERROR.findall(done.stderr):
            path = os.path.normpath(path)
            if path not in seen:
                yield path, int(line), "not laid out as clang-format does; run 'make fmt'"
            seen.add(path)


if __name__ == "__main__":
    common.main(check)
