"""Questions about a meson build directory's tests, for the shell scripts beside this file.

    meson_tests.py names DIR MODULE...      names of the unit tests of these modules
    meson_tests.py programs DIR MODULE...   what ninja must build to run them
    meson_tests.py fuzz DIR                 one line per fuzz target: program, tab, seed corpus
    meson_tests.py count DIR                "passed failed skipped" of the last `meson test`,
                                            counting cmocka's own tests inside each program
"""
import json
import os
import re
import subprocess
import sys


def tests_of(build):
    out = subprocess.run(["meson", "introspect", "--tests", build], check=True,
                         capture_output=True, text=True).stdout
    return json.loads(out)


def unit_tests(build, modules):
    """By the folder of the test's program, tests/unit/<module>."""
    for test in tests_of(build):
        if any(f"/tests/unit/{module}/" in test["cmd"][0] for module in modules):
            yield test


def count(build):
    passed = failed = skipped = 0
    path = os.path.join(build, "meson-logs", "testlog.json")
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            test = json.loads(line)
            text = (test.get("stdout") or "") + (test.get("stderr") or "")
            inner_passed = sum(int(n) for n in re.findall(r"^\[  PASSED  \] (\d+) test", text, re.M))
            inner_failed = sum(int(n) for n in re.findall(r"^\[  FAILED  \] (\d+) test", text, re.M))
            inner_skipped = sum(int(n) for n in re.findall(r"^\[  SKIPPED \] (\d+) test", text, re.M))
            if test["result"] in ("OK", "EXPECTEDFAIL"):
                passed += inner_passed or 1
                skipped += inner_skipped
            elif test["result"] == "SKIP":
                skipped += 1
            else: # a crash or a time-out leaves no count of its own
                passed += inner_passed
                failed += inner_failed or 1
    print(passed, failed, skipped)


def main(argv):
    if len(argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    what, build, modules = argv[1], argv[2], argv[3:]
    if what == "names":
        for test in unit_tests(build, modules):
            print(test["name"])
    elif what == "programs":
        for test in unit_tests(build, modules):
            print(os.path.relpath(test["cmd"][0], build))
    elif what == "fuzz":
        for test in tests_of(build):
            if any(s.split(":")[-1] == "fuzz" for s in test["suite"]):
                print("\t".join([os.path.relpath(test["cmd"][0], build)] + test["cmd"][1:2]))
    elif what == "count":
        count(build)
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
