"""Every header under src compiles alone, starts with #pragma once, and says first what it is for."""
import concurrent.futures
import os
import re
import shutil
import subprocess

import common

PACKAGES = ["libuv", "sqlite3", "jansson", "libcrypto", "libcurl", "libllhttp"]
ERROR = re.compile(r"^(?:In file included from )?([^:\s]+):(\d+)(?::\d+)?: (?:fatal )?error: (.*)", re.M)


def compiler_flags():
    flags = ["-std=gnu17", "-D_GNU_SOURCE", '-DHEADWATER_VERSION="0"', "-isystem", "/usr/share/include/llhttp"]
    for package in PACKAGES:
        done = subprocess.run(["pkg-config", "--cflags", package], capture_output=True, text=True)
        if done.returncode == 0:
            flags += done.stdout.split()
    return flags


def compile_alone(root, name, flags):
    done = subprocess.run(["gcc", *flags, "-fsyntax-only", "-I", "src", "-include", name[len("src/"):],
                           "-x", "c", os.devnull], cwd=root, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    found = ERROR.search(done.stderr)
    if not found:
        return name, 1, "does not compile alone: " + done.stderr.strip()[:200]
    where = os.path.normpath(found.group(1))
    if where == name:
        return name, int(found.group(2)), "does not compile alone: " + found.group(3)
    return name, 1, f"does not compile alone: {where}:{found.group(2)}: {found.group(3)}"


def check(root):
    names = list(common.files(root, ["src"], [".h"]))
    for name in names:
        lines = common.read(root, name).split("\n")
        if lines[0] != "#pragma once":
            yield name, 1, "the first line is not '#pragma once'"
        elif not next((l for l in lines[1:] if l.strip()), "").startswith("/*"):
            yield name, 2, "no comment after '#pragma once' says what the header is for"
    if not shutil.which("gcc"):
        yield "src", 1, "gcc is missing: headers were not compiled"
        return
    flags = compiler_flags()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for finding in pool.map(lambda n: compile_alone(root, n, flags), names):
            if finding:
                yield finding


if __name__ == "__main__":
    common.main(check)
