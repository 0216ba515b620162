"""What the lints share: finding files, blanking comments and strings in C, reporting.

A lint is a script with a function check(root) that yields (path, line, message) or, for a remark that does
not fail, (path, line, "warning: ..."). Run alone it checks this checkout, or the tree named as its argument.
A line that carries `lint-ok: <reason>` is exempt; the reason is for the reader.
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED_DIRS = {".git", "node_modules", "__pycache__", ".cache"}
EXEMPT = re.compile(r"lint-ok: \S")


def all_files(root):
    """Paths relative to root: what git tracks or would track, or everything outside a repository."""
    names = None
    if os.path.exists(os.path.join(root, ".git")) and shutil.which("git"):
        # A checkout of another user's (a container's volume) is as good to read as our own.
        done = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "-co",
                               "--exclude-standard"], capture_output=True)
        if done.returncode == 0:
            names = [n for n in done.stdout.decode("utf-8", "surrogateescape").split("\0") if n]
    if names is None:
        names = []
        for folder, dirs, files in os.walk(root):
            at_top = folder == root
            dirs[:] = [d for d in dirs if d not in SKIPPED_DIRS and not (at_top and d.startswith("build"))]
            names += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(n for n in set(names) if os.path.isfile(os.path.join(root, n)))


def files(root, tops, suffixes):
    """Those under one of the folders `tops` ("" = anywhere) whose name ends in one of `suffixes`."""
    for name in all_files(root):
        if name.endswith(tuple(suffixes)) and any(not t or name.startswith(t + "/") for t in tops):
            yield name


def read(root, name):
    with open(os.path.join(root, name), encoding="utf-8", errors="replace") as f:
        return f.read()


def is_text(root, name):
    with open(os.path.join(root, name), "rb") as f:
        return b"\0" not in f.read(8192)


TOKEN = re.compile(r"""
    (?P<block>/\*.*?(?:\*/|\Z))
  | (?P<line>//(?:\\\n|[^\n])*)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<char>'(?:\\.|[^'\\\n])*')
""", re.X | re.S)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def split_c(text):
    """(code without comments and literals, [(line, literal)], [(line, comment)]), same line numbers."""
    strings, comments = [], []

    def replace(match):
        line = text.count("\n", 0, match.start()) + 1
        if match.lastgroup == "string":
            strings.append((line, match.group()))
            return '"' + blank(match.group()[1:-1]) + '"'
        if match.lastgroup in ("line", "block"):
            comments.append((line, match.group()))
        return blank(match.group())

    return TOKEN.sub(replace, text), strings, comments


def findings(check, root):
    """Findings of check(root), less those on exempt lines. Sorted."""
    cache = {}
    result = []
    for path, line, message in check(root):
        if path not in cache:
            full = os.path.join(root, path)
            cache[path] = read(root, path).split("\n") if os.path.isfile(full) else []
        lines = cache[path]
        if 0 < line <= len(lines) and EXEMPT.search(lines[line - 1]):
            continue
        result.append((path, line, message))
    return sorted(result)


def report(check, root):
    """Prints the findings; True when none of them fails."""
    good = True
    for path, line, message in findings(check, root):
        print(f"{path}:{line}: {message}")
        good = good and message.startswith("warning: ")
    return good


def main(check):
    root = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    sys.exit(0 if report(check, root) else 1)
