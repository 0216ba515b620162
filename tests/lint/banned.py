"""Names and habits that are refused in C: overrunning string functions, memory outside base/mem.c, raw
attributes, SQL outside src/store, unowned reminders, line comments, tabs."""
import re

import common

C_TOPS = ["src", "tests", "bench", "sdk"]
SCRIPT_TOPS = ["src", "tests", "bench", "sdk", "dev", "tools", "web"]
SCRIPTS = [".py", ".sh", ".mjs", ".js", ".ts", ".css"]

CALLS = re.compile(r"(?<![\w.>])(strcpy|strcat|strncpy|strncat|stpcpy|sprintf|vsprintf|strtok|atoi|atol|atoll|atof"
                   r"|gets|alloca)\s*\(")
MEMORY = re.compile(r"(?<![\w.*])(?<!->)(malloc|calloc|realloc|reallocarray|free|strdup|strndup)\s*[(,);]")
ATTRIBUTE = re.compile(r"__attribute__\s*\(\(\s*(\w+)")
SQL = re.compile(r"\bSELECT\b.+\bFROM\b|\bINSERT (OR \w+ )?INTO\b|\bDELETE FROM\b|\bUPDATE \w+ SET\b"
                 r"|\bCREATE (UNIQUE |VIRTUAL |TEMP )?(TABLE|INDEX)\b|^\"PRAGMA ")
SQLITE = re.compile(r"\bsqlite3_\w+\s*\(|^\s*#\s*include\s*<sqlite3\.h>")
REMINDER = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b") # in pieces: this file is checked too

LITERAL = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'")

INSTEAD = {"strtok": "span_next", "atoi": "parse_u64 or parse_i64", "atol": "parse_i64",
           "atoll": "parse_i64", "sprintf": "snprintf or buf_printf", "vsprintf": "buf_vprintf"}


def check_c(root, name):
    text = common.read(root, name)
    code, strings, comments = common.split_c(text)
    in_src = name.startswith("src/")
    for number, line in enumerate(code.split("\n"), 1):
        for found in CALLS.finditer(line):
            instead = INSTEAD.get(found.group(1), "struct buf or memcpy with a checked length")
            yield name, number, f"{found.group(1)} is banned; use {instead}"
        if in_src and name != "src/base/mem.c":
            for found in MEMORY.finditer(line):
                yield name, number, f"{found.group(1)} outside base/mem.c; use mem_alloc, mem_try; mem_free frees libc's blocks too"
        if in_src and name != "src/base/attr.h":
            for found in ATTRIBUTE.finditer(line):
                if not (name == "src/base/hash.c" and found.group(1) == "target"):
                    yield name, number, "__attribute__ outside base/attr.h; give it a name there"
        if in_src and not name.startswith("src/store/") and SQLITE.search(line):
            yield name, number, "SQLite outside src/store"
    if in_src and not name.startswith("src/store/"):
        for number, literal in strings:
            if SQL.search(literal):
                yield name, number, "SQL outside src/store"
    for number, comment in comments:
        if comment.startswith("//"):
            yield name, number, "// comment; write /* */"
        for offset, line in enumerate(comment.split("\n")):
            yield from reminders(name, number + offset, line)


def reminders(name, number, text):
    found = REMINDER.search(text)
    if found:
        yield name, number, f"{found.group(1)}: do it, or write 'NEEDSWORK:' and the open decision"


def check(root):
    for name in common.files(root, C_TOPS, [".c", ".h"]):
        if not name.startswith("tests/data/"):
            yield from check_c(root, name)
    for name in common.files(root, SCRIPT_TOPS, [".c", ".h"] + SCRIPTS):
        if name.startswith(("tests/data/", "tests/fuzz/")) and "/corpus/" in name:
            continue
        for number, line in enumerate(common.read(root, name).split("\n"), 1):
            if "\t" in line:
                yield name, number, "tab; indent with spaces, write \\t in a literal"
            if not name.endswith((".c", ".h")): # there only comments count: a literal may hold the word
                yield from reminders(name, number, LITERAL.sub("", line))


if __name__ == "__main__":
    common.main(check)
