"""clang-tidy on src, in parallel. A file whose text, headers, options and checks are unchanged since it
last passed is not looked at again (.cache/tidy), so the second run takes seconds.

    tidy.py [PATH-PART...]     only files whose path contains one of these
"""
import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = "build-clang"
CACHE = os.path.join(ROOT, ".cache", "tidy")


def run(argv, **options):
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, **options)


def configure():
    if not os.path.exists(os.path.join(ROOT, BUILD, "build.ninja")):
        env = dict(os.environ, CC="clang")
        done = run(["meson", "setup", BUILD], env=env)
        if done.returncode != 0:
            sys.exit("tidy: meson setup failed:\n" + done.stdout + done.stderr)


def key_of(command, path, version):
    """Hash of everything that the verdict depends on, or None when the file does not compile."""
    argv = shlex.split(command["command"])
    at = argv.index("-o")
    argv = [a for i, a in enumerate(argv) if i not in (at, at + 1) and a not in ("-c", "-MD")]
    cut = [i for i, a in enumerate(argv) if a in ("-MQ", "-MF")]
    argv = [a for i, a in enumerate(argv) if not any(i in (c, c + 1) for c in cut)]
    done = subprocess.run(argv + ["-MM"], cwd=command["directory"], capture_output=True, text=True)
    if done.returncode != 0:
        return None
    digest = hashlib.sha256((version + command["command"]).encode())
    names = done.stdout.replace("\\\n", " ").split(":", 1)[1].split()
    for name in [os.path.join(ROOT, ".clang-tidy")] + names:
        with open(os.path.join(command["directory"], name), "rb") as f:
            digest.update(f.read())
    return digest.hexdigest()


def check(command, path, version):
    key = key_of(command, path, version)
    mark = os.path.join(CACHE, key) if key else None
    if mark and os.path.exists(mark):
        return path, 0, ""
    done = run(["clang-tidy", "--quiet", "-p", BUILD, "--warnings-as-errors=*,-readability-function-cognitive-complexity",
                "--extra-arg=-Wno-unknown-warning-option", path])
    text = re.sub(r"^\d+ warnings? .*\n?", "", done.stdout + done.stderr, flags=re.M)
    # Of a complexity warning one line is enough: it is a remark, not a failure.
    text = re.sub(r"^(\S+: warning: .*cognitive complexity.*\n)(?:(?!\S+: (?:warning|error):).*\n?)*", r"\1",
                  text, flags=re.M)
    if done.returncode == 0 and mark:
        open(mark, "w").close()
    return path, done.returncode, text.replace(ROOT + "/", "").strip()


def main(parts):
    version = run(["clang-tidy", "--version"]).stdout
    found = re.search(r"version (\d+)", version)
    if not found or found.group(1) != "14":
        print("tidy: SKIPPED: the checks are chosen for clang-tidy 14, here is "
              + (found.group(1) if found else "none"))
        return 0
    configure()
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(ROOT, BUILD, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    work = {}
    for command in commands:
        path = os.path.relpath(os.path.join(command["directory"], command["file"]), ROOT)
        if path.startswith("src/") and (not parts or any(p in path for p in parts)):
            work[path] = command
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, status, text in pool.map(lambda p: check(work[p], p, version), sorted(work)):
            bad += status != 0
            if text:
                print(text)
    print(f"tidy: {len(work)} files, {bad} with findings")
    return 1 if bad or not work else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
