"""Runs every lint on this checkout and the tests of the lints; one line each, then "lint: N passed, N failed".

    run.py [NAME...]     only these lints"""
import importlib
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common

LINTS = ["layers", "headers", "banned", "length", "format", "links", "hosts", "licence", "operations",
         "scripts", "spelling"]


def main(only):
    passed = failed = 0
    for name in LINTS:
        if only and name not in only:
            continue
        good = common.report(importlib.import_module(name).check, common.ROOT)
        print(f"{'ok  ' if good else 'FAIL'} lint {name}", flush=True)
        passed, failed = passed + good, failed + (not good)
    if not only:
        result = unittest.TextTestRunner(verbosity=0, stream=sys.stdout).run(
            unittest.defaultTestLoader.loadTestsFromName("test_lints"))
        bad = len(result.failures) + len(result.errors)
        passed, failed = passed + result.testsRun - bad, failed + bad
    print(f"lint: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
