"""Scripts parse (bash -n, Python's ast), and what starts with #! can be executed, and the other way round."""
import ast
import os
import subprocess

import common

SKIPPED = ("tests/data/", "tests/fuzz/")


def check(root):
    for name in common.all_files(root):
        full = os.path.join(root, name)
        if name.startswith(SKIPPED) or os.path.islink(full):
            continue
        with open(full, "rb") as f:
            head = f.read(200).split(b"\n")[0]
        executable = os.access(full, os.X_OK)
        if head.startswith(b"#!") and not executable:
            yield name, 1, "starts with #! but is not executable"
        if executable and not head.startswith(b"#!"):
            yield name, 1, "is executable but does not start with #!"
        if head.startswith(b"#!") and head.endswith((b"/bash", b"/sh")):
            shell = head[2:].decode().split("/")[-1]
            done = subprocess.run([shell, "-n", full], capture_output=True, text=True)
            if done.returncode != 0:
                yield name, 1, "does not parse: " + done.stderr.strip().replace(full, name)[:200]
        if name.endswith(".py"):
            try:
                ast.parse(common.read(root, name))
            except SyntaxError as error:
                yield name, error.lineno or 1, f"does not parse: {error.msg}"


if __name__ == "__main__":
    common.main(check)
