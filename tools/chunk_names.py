#!/usr/bin/env python3
"""How many functions that universal-ctags finds are chunks that bear their name.

    tools/chunk_names.py PROGRAM DIR…        PROGRAM: build/bench/bench_chunk
    tools/chunk_names.py -v PROGRAM DIR…     and the functions that are not

Counted are functions and methods of at least MIN_LINES lines in the languages below, but for those within functions. "inside": the chunk that holds
the line of the name bears the name. "own": and no other such function begins in it, but for those within. Own scanners first, then with ctags as the program uses it.
"""
import json
import os
import subprocess
import sys

KINDS = {"function", "method", "func", "member", "singletonMethod", "generator"}
LANGUAGES = {"C", "C++", "Python", "JavaScript", "TypeScript", "Go", "Java", "Ruby", "PHP"}
MIN_LINES = 3
UNKNOWN_LINE = 1 << 30  # of JavaScript ctags does not say where a function ends


def functions(root):
    listing = subprocess.run(
        ["ctags", "--options=NONE", "-R", "--output-format=json", "--fields=+neKl", "--links=no", "--exclude=.git", "-f", "-", "."],
        cwd=root, capture_output=True, text=True, errors="replace", check=True).stdout
    for line in listing.splitlines():
        tag = json.loads(line)
        kind, language = tag.get("kind"), tag.get("language")
        is_field = kind == "member" and language != "Python"
        nested = tag.get("scopeKind") in KINDS and language != "C++"
        named = not nested and not tag["name"].startswith(("__anon", "Anonymous", "anonymous"))
        if kind in KINDS and not is_field and language in LANGUAGES and named and tag.get("end", tag["line"] + MIN_LINES) - tag["line"] + 1 >= MIN_LINES:
            yield tag["path"].removeprefix("./"), tag["line"], tag.get("end", UNKNOWN_LINE), tag["name"]


def chunks(program, root, mode):
    table = {}
    listing = subprocess.run([program, root, "list", mode], capture_output=True, text=True, errors="replace", check=True)
    for line in listing.stdout.splitlines():
        path, first, last, kind, _, symbol = line.split("\t", 5)
        table.setdefault(path, []).append((int(first), int(last), kind, symbol))
    return table


def last_part(symbol):
    return symbol.rsplit(".", 1)[-1].rsplit("#", 1)[-1].strip()


def bears(symbol, name, source_line):
    """Of a function that a macro makes, ctags says the macro's name and we say the function's."""
    if last_part(symbol) == last_part(name) or symbol.endswith(name):
        return True
    return name.isupper() and bool(symbol) and all(part in source_line for part in symbol.split("."))


def count(root, found, table, verbose):
    inside = own = total = 0
    starts, texts = {}, {}
    for path, line, end, _ in found:
        starts.setdefault(path, []).append(line)
    for path, line, end, name in found:
        if path not in table:
            continue
        if path not in texts:
            with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
                texts[path] = file.read().split("\n")
        total += 1
        holds = [c for c in table[path] if c[0] <= line <= c[1]]
        good = [c for c in holds if bears(c[3], name, texts[path][line - 1])]
        inside += bool(good)
        is_own = any(all(line <= other <= end for other in starts[path] if c[0] <= other <= c[1]) for c in good)
        own += is_own
        if verbose and not is_own:
            print(f"    {path}:{line}-{end} {name}: {holds}")
    return total, inside, own


def main():
    arguments = [a for a in sys.argv[1:] if a != "-v"]
    for root in arguments[1:]:
        found = list(functions(root))
        for mode in ("own", "ctags"):
            total, inside, own = count(root, found, chunks(arguments[0], root, mode), "-v" in sys.argv)
            print(f"{root} {mode}: {total} functions, inside {inside / total:.3f}, own {own / total:.3f}")


if __name__ == "__main__":
    main()
