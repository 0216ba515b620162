"""Functions stay under 60 lines (over 100 fails), files under 800 (over 1,000 fails).

Relies on the layout clang-format gives: a function's braces stand alone in the first column."""
import re

import common

FUNCTION_WARN, FUNCTION_MAX = 60, 100
FILE_WARN, FILE_MAX = 800, 1000
NAME = re.compile(r"(\w+)\s*\(")


def functions(code):
    """(name, first line, length) of each function body in blanked C code."""
    lines = code.split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            start = number
        elif line.rstrip() == "}" and start:
            head, at = "", start - 2
            while at >= 0 and lines[at].strip() and not lines[at].rstrip().endswith((";", "}")):
                head = lines[at] + " " + head
                at -= 1
            found = NAME.search(head)
            yield found.group(1) if found else "?", start, number - start + 1
            start = None


def judge(name, line, what, length, warn, maximum):
    if length > maximum:
        yield name, line, f"{what} has {length} lines, more than {maximum}"
    elif length > warn:
        yield name, line, f"warning: {what} has {length} lines, better under {warn}"


def check(root):
    for name in common.files(root, ["src", "tests", "bench", "sdk"], [".c", ".h"]):
        if name.startswith("tests/data/"):
            continue
        text = common.read(root, name)
        # Tables and test lists read well at any length; only the code is held to the file limit there.
        if name.startswith("src/"):
            yield from judge(name, 1, "the file", text.count("\n"), FILE_WARN, FILE_MAX)
        for function, line, length in functions(common.split_c(text)[0]):
            yield from judge(name, line, f"{function}()", length, FUNCTION_WARN, FUNCTION_MAX)


if __name__ == "__main__":
    common.main(check)
