"""Relative links in Markdown lead to files that exist, and #anchors to headings that exist."""
import os
import re
import urllib.parse

import common

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s{0,3}\[[^\]^]+\]:\s+(\S+)")
FENCE = re.compile(r"^\s*(```+|~~~+)")
OUTSIDE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.I)


def prose(text):
    """(line number, line) outside fenced code, with code spans blanked."""
    fence = None
    for number, line in enumerate(text.split("\n"), 1):
        found = FENCE.match(line)
        if found:
            if fence is None:
                fence = found.group(1)[0] * 3
            elif found.group(1).startswith(fence):
                fence = None
            continue
        if fence is None:
            yield number, re.sub(r"`[^`]*`", lambda m: " " * len(m.group()), line)


def anchors(text):
    """The ids GitHub gives the headings, and ids written as HTML."""
    found, counts = set(re.findall(r"(?:id|name)=\"([^\"]+)\"", text)), {}
    fence = False
    for line in text.split("\n"):
        if FENCE.match(line):
            fence = not fence
        heading = None if fence else re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if heading:
            title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower()
            slug = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
            n = counts.get(slug, 0)
            counts[slug] = n + 1
            found.add(slug if n == 0 else f"{slug}-{n}")
    return found


def check(root):
    for name in common.files(root, [""], [".md"]):
        if name.startswith("tests/data/") or "/corpus/" in name:
            continue
        text = common.read(root, name)
        for number, line in prose(text):
            targets = LINK.findall(line) + REFERENCE.findall(line)
            for target in targets:
                if OUTSIDE.match(target) or target.startswith("//"):
                    continue
                path, _, anchor = urllib.parse.unquote(target).partition("#")
                path = path.split("?")[0]
                base = "" if path.startswith("/") else os.path.dirname(name)
                full = os.path.normpath(os.path.join(base, path.lstrip("/"))) if path else name
                if full.startswith(".."):
                    yield name, number, f"'{target}' leads out of the checkout"
                elif not os.path.exists(os.path.join(root, full)):
                    yield name, number, f"'{target}' does not exist"
                elif anchor and full.endswith(".md") and not re.match(r"L\d+", anchor) \
                        and anchor.lower() not in anchors(common.read(root, full)):
                    yield name, number, f"no heading '#{anchor}' in {full}"


if __name__ == "__main__":
    common.main(check)
