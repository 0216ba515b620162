"""Common misspellings (codespell), where codespell is installed. Words it does not know: words.txt."""
import os
import re
import shutil
import subprocess
import sys

import common

HERE = os.path.dirname(os.path.abspath(__file__))
LINE = re.compile(r"^(.+?):(\d+): (.*)$", re.M)
# Words of other languages than English are their subject.
OTHER_LANGUAGES = ("src/text/prose_language.c", "tests/unit/text/test_languages.c",
                   "tests/unit/retrieval/test_languages.c", "tests/unit/index/make_tree.c")


def check(root):
    if not shutil.which("codespell"):
        print("spelling: SKIPPED: codespell is not installed", file=sys.stderr)
        return
    names = [n for n in common.files(root, ["src", "docs", "dev", "tools", "bench", "share", "tests", "sdk"],
                                     [".c", ".h", ".md", ".py", ".sh", ".mjs", ".ts", ".txt"])
             if not n.startswith("tests/data/") and "/corpus/" not in n and n != "tests/lint/words.txt"
             and n not in OTHER_LANGUAGES]
    names += [n for n in common.all_files(root) if "/" not in n and n.endswith(".md")]
    if not names:
        return
    done = subprocess.run(["codespell", "-I", os.path.join(HERE, "words.txt"), *names], cwd=root,
                          capture_output=True, text=True)
    for path, line, message in LINE.findall(done.stdout):
        yield os.path.normpath(path), int(line), message


if __name__ == "__main__":
    common.main(check)
