"""No file ties the project to one machine: no package-registry host names, no absolute path of a checkout,
no lock file with the address that a package came from (.npmrc: omit-lockfile-registry-resolved)."""
import os
import re

import common

# In pieces, so that this file passes its own check.
HOSTS = [("npm" "js", "org"), ("yarn" "pkg", "com"), ("py" "pi", "org"), ("python" "hosted", "org"),
         ("proxy.golang", "org"), ("sum.golang", "org"), ("crates", "io"), ("ruby" "gems", "org"), ("npm" "mirror", "com"),
         ("repo1.maven", "org"), ("registry-1.docker", "io")]
HOST = re.compile(r"(?<![\w-])(?:[\w-]+\.)*(?:" + "|".join(re.escape(".".join(h)) for h in HOSTS) + r")\b", re.I)
RESOLVED = re.compile(r'^\s*"resolved"\s*:|^\s*resolved\s+"?https?:')
LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml")


def own_path(root):
    """Matches the checkout's place. One of a single component (/src, /app) is too short to be told apart."""
    if root.count("/") < 2:
        return re.compile(r"(?!)")
    return re.compile(r"(?<![\w.-])" + re.escape(root) + r"(?![\w.-])")


def check(root):
    own = own_path(root)
    for name in common.all_files(root):
        if not common.is_text(root, name):
            continue
        is_lock = os.path.basename(name) in LOCKS
        for number, line in enumerate(common.read(root, name).split("\n"), 1):
            found = HOST.search(line)
            if found:
                yield name, number, f"names a package registry: {found.group()}"
            if own.search(line):
                yield name, number, f"absolute path of this checkout: {root}"
            if is_lock and RESOLVED.match(line):
                yield name, number, "lock file with 'resolved'; see tests/api/.npmrc"


if __name__ == "__main__":
    common.main(check)
