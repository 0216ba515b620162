"""LICENSE is the Apache License 2.0, whole, and what names a licence names that one."""
import hashlib
import os
import re

import common

# Of the text with every run of white space made one space, so that line ends and indent do not matter.
SHA256 = "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645"


def check(root):
    if not os.path.exists(os.path.join(root, "LICENSE")):
        yield "LICENSE", 1, "missing"
        return
    text = " ".join(common.read(root, "LICENSE").split())
    if hashlib.sha256(text.encode()).hexdigest() != SHA256:
        yield "LICENSE", 1, "is not the unchanged text of the Apache License 2.0"
    for name in common.files(root, [""], ["package.json", "meson.build", "pyproject.toml"]):
        if name.startswith(("tests/data/", "share/")):
            continue
        for number, line in enumerate(common.read(root, name).split("\n"), 1):
            found = re.search(r"^\s*\"?license\"?\s*[:=]\s*['\"]([^'\"]+)['\"]", line)
            if found and found.group(1) != "Apache-2.0":
                yield name, number, f"licence '{found.group(1)}', expected Apache-2.0"


if __name__ == "__main__":
    common.main(check)
