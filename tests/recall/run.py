#!/usr/bin/env python3
"""How often the right file is named first, or among the first three, by search and by an answer.

    tests/recall/run.py [-v] [REPO…]        # of questions.jsonl; all of them without a name

Needs build/headwater (or HEADWATER_BIN) and the repositories of tools/real_repos.sh in .cache/real. The
questions were written from reading the code, before any result was looked at; `files` are those that
answer them. -v prints each question that has not got the right file first.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAM = os.environ.get("HEADWATER_BIN", os.path.join(ROOT, "build/headwater"))


def own_tree(scratch):
    """This repository as git has it, without these questions: they would find themselves."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    target = os.path.join(scratch, "headwater")
    for name in names.stdout.split("\0"):
        if name and not name.startswith(("tests/recall/", "tests/api/")):
            os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), os.path.join(target, name))
    return target


def folder_of(repo, scratch):
    if repo == "tidewatch":
        return os.path.join(ROOT, "share/sample/tidewatch")
    return own_tree(scratch) if repo == "headwater" else os.path.join(ROOT, ".cache/real", repo)


def call(data, *arguments):
    done = subprocess.run([PROGRAM, *arguments, "--json", "--data", data], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout)


def ranks(item, folder, data):
    """The files that search and an answer name, in their order."""
    found = call(data, "search", folder, item["question"], "-k", "10")
    answer = call(data, "ask", folder, item["question"])
    hits = found["hits"]
    return [h["path"] for h in hits], [c["path"] for c in answer["citations"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-v", action="store_true")
    parser.add_argument("--questions", default=os.path.join(HERE, "questions.jsonl"))
    parser.add_argument("repos", nargs="*")
    options = parser.parse_args()
    with open(options.questions, encoding="utf-8") as lines:
        items = [json.loads(line) for line in lines]
    table, folders = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for item in items:
            repo = item["repo"]
            if options.repos and repo not in options.repos:
                continue
            if repo not in folders:
                folders[repo] = folder_of(repo, scratch)
                call(os.path.join(scratch, "data"), "index", folders[repo])
            both = ranks(item, folders[repo], os.path.join(scratch, "data"))
            row = table.setdefault(repo, [0, 0, 0, 0, 0])
            row[0] += 1
            for i, paths in enumerate(both):
                row[1 + 2 * i] += any(p in item["files"] for p in paths[:1])
                row[2 + 2 * i] += any(p in item["files"] for p in paths[:3])
            if options.v and not any(p in item["files"] for p in both[1][:1]):
                print(f"{repo}: {item['question']}\n    search: {both[0][:5]}\n    answer: {both[1][:5]}")
    table["all"] = [sum(column) for column in zip(*table.values())]
    print(f"{'':12}{'questions':>10}{'search@1':>10}{'search@3':>10}{'cited@1':>10}{'cited@3':>10}")
    for repo, row in table.items():
        print(f"{repo:12}" + "".join(f"{value:10}" for value in row))


if __name__ == "__main__":
    main()
