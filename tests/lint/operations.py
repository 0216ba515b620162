"""docs/operations.md lists every metric of src and every bound of src/base/limits.h, as they are there.

    operations.py --write    writes both tables into this checkout"""
import re
import sys

import common

DOC = "docs/operations.md"
LIMITS = "src/base/limits.h"
METRIC = re.compile(r"METRIC_(COUNTER|GAUGE|TIMES)\(\s*((?:\"[^\"]*\"\s*)+),\s*((?:\"(?:[^\"\\\\]|\\\\.)*\"\s*)+)[,)]")
LIMIT = re.compile(r"^#define ((?:LIMIT|TIMEOUT|KEEPALIVE)_\w+)\s+(.*?)(?:/\*\s*(.*?)\s*\*/)?\s*$")
KINDS = {"COUNTER": "counter", "GAUGE": "gauge", "TIMES": "histogram"}


def joined(strings):
    return "".join(re.findall(r"\"((?:[^\"\\\\]|\\\\.)*)\"", strings))


def metrics(root):
    """{name: (kind, help)} of all tables in src."""
    found = {}
    for name in common.files(root, ["src"], [".c"]):
        if name.startswith("src/base/"):
            continue
        for kind, metric, words in METRIC.findall(common.read(root, name)):
            found[joined(metric)] = (KINDS[kind], joined(words))
    return found


def shown(name, value):
    """A number as people write it: bytes unless the name says otherwise."""
    if name.endswith("_MS"):
        day = 24 * 3600 * 1000
        return f"{value // day} days" if value % day == 0 else f"{value / 1000:g} s"
    if name.endswith("_US"):
        return f"{value / 1000:g} ms"
    if name.endswith(("_COUNT", "_DEPTH")):
        return f"{value:,}"
    for unit, word in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit:,} {word}"
    return f"{value:,} B"


def limits(text):
    """(name, value as shown, meaning) in the file's order."""
    text = re.sub(r"\\\n\s*", "", text)
    values = {}
    for found in re.findall(r"^#define \w+ .*/\*[^\n]*(?<!\*/)\n.*?\*/", text, re.M):
        text = text.replace(found, re.sub(r"\s*\n\s*", " ", found))
    for line in text.split("\n"):
        found = LIMIT.match(line)
        if not found:
            continue
        name, value, meaning = found.groups()
        value = re.sub(r"INT64_C\((\d+)\)", r"\1", re.sub(r"\b(\d+)u\b", r"\1", value))
        value = re.sub(r"[A-Z]\w+", lambda m: str(values[m.group()]), value)
        if not re.fullmatch(r"[\d\s()*+<]+", value):
            raise ValueError(f"{name}: cannot read '{value}'")
        values[name] = eval(value)  # digits and operators only
        yield name, shown(name, values[name]), meaning


def tables(root):
    rows = [f"| `{n}` | {kind} | {words} |" for n, (kind, words) in sorted(metrics(root).items())]
    yield "metrics", ["| metric | kind | what |", "|---|---|---|"] + rows
    rows = [f"| `{n}` | {value} | {meaning or ''} |" for n, value, meaning in limits(common.read(root, LIMITS))]
    yield "limits", ["| bound | value | of what, and past it |", "|---|---|---|"] + rows


def place_of(lines, mark):
    """Where the table stands: the lines between its two marks."""
    begin, end = f"<!-- {mark}: from the source -->", f"<!-- end of {mark} -->"
    return (lines.index(begin) + 1, lines.index(end)) if begin in lines and end in lines else None


def check(root):
    names = set(common.all_files(root))
    if DOC not in names or LIMITS not in names:
        return
    for name, _, meaning in limits(common.read(root, LIMITS)):
        if not meaning:
            yield LIMITS, 1, f"{name} has no comment that says of what it is the bound"
    lines = common.read(root, DOC).split("\n")
    for mark, table in tables(root):
        place = place_of(lines, mark)
        if not place:
            yield DOC, 1, f"has no table of {mark} between its marks"
            continue
        there = lines[place[0]:place[1]]
        for row in table:
            if row not in there:
                yield DOC, place[0] + 1, f"lacks or differs: {row} (tests/lint/operations.py --write)"
        for at, row in enumerate(there):
            if row not in table:
                yield DOC, place[0] + 1 + at, f"is not in the source: {row}"


def write(root):
    lines = common.read(root, DOC).split("\n")
    for mark, table in tables(root):
        begin, end = place_of(lines, mark)
        lines[begin:end] = table
    with open(f"{root}/{DOC}", "w", encoding="utf-8") as f:
        f.write("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write(common.ROOT)
    else:
        common.main(check)
