"""A module includes only what src/LAYERS allows it, and never another module's *_priv.h."""
import os
import re

import common

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"')


def table(root):
    allowed = {}
    for number, line in enumerate(common.read(root, "src/LAYERS").split("\n"), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        module, _, rest = line.partition(":")
        if not _:
            raise ValueError(f"src/LAYERS:{number}: expected 'module: modules'")
        allowed[module.strip()] = rest.split()
    return allowed


def rank_findings(allowed):
    """A module may only name modules above it in the file: then the table has no cycle."""
    seen = set()
    for module, uses in allowed.items():
        for use in uses:
            if use not in seen:
                yield "src/LAYERS", 1, f"'{module}' names '{use}', which is not listed before it"
        seen.add(module)


def check(root):
    allowed = table(root)
    yield from rank_findings(allowed)
    unknown = set()
    for name in common.files(root, ["src"], [".c", ".h"]):
        parts = name.split("/")
        if len(parts) < 3:
            yield name, 1, "source files live in a module's folder"
            continue
        module = parts[1]
        if module not in allowed:
            if module not in unknown:
                yield name, 1, f"module '{module}' is not in src/LAYERS"
            unknown.add(module)
            continue
        for number, line in enumerate(common.read(root, name).split("\n"), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            target = found.group(1)
            if "/" not in target or target.startswith("."):
                beside = os.path.normpath(os.path.join(os.path.dirname(name), target))
                if not beside.startswith(f"src/{module}/"):
                    yield name, number, f'"{target}" leaves the module: include it as "module/file.h"'
                continue
            other = target.split("/")[0]
            if other not in allowed:
                if not os.path.exists(os.path.join(root, os.path.dirname(name), target)):
                    yield name, number, f"'{other}' is not a module of src/LAYERS"
            elif other != module and other not in allowed[module]:
                yield name, number, f"'{module}' may not include '{other}' (src/LAYERS)"
            elif other != module and target.endswith("_priv.h"):
                yield name, number, f'"{target}" is private to \'{other}\''


if __name__ == "__main__":
    common.main(check)
