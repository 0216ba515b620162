#!/usr/bin/env python3
"""What a change costs: indexes a copy of a folder, changes one file, and so on, through the program.

    bench/incremental.py --bin build-rel/src/app/headwater [--bin OTHER] --repo DIR

Prints, for each program and step, wall time and CPU seconds (the program with its helpers).
"""
import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time


def start(binary, data, tree):
    child = subprocess.Popen([binary, "serve", "--listen", "127.0.0.1:0", "--data", data, "--allow-path", tree],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return child, int(child.stdout.readline().rsplit(":", 1)[1].strip(" /\n"))


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(int(x) for x in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return [int(line.split()[1]) // 1024 for line in f if line.startswith("VmHWM")][0]


def index(port, tree):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    c.request("POST", "/v1/sources", json.dumps({"source": tree}),
              {"content-type": "application/json", "accept": "text/event-stream"})
    said = [json.loads(line[5:]) for line in c.getresponse().read().decode().splitlines() if line.startswith("data:")]
    return [e["message"] for e in said if "message" in e][-1]


def step(name, child, port, tree):
    before, began = cpu(child.pid), time.monotonic()
    said = index(port, tree)
    wall = time.monotonic() - began
    used = cpu(child.pid) - before
    print(f"  {name}: {wall * 1000:.0f} ms, {used:.2f} CPU-s; \"{said}\"")
    time.sleep(2.5)  # past the interval in which the tree is not looked at again


def measure(binary, tree, changed):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(tree)) as data:
        child, port = start(binary, data, tree)
        print(binary)
        step("first", child, port, tree)
        print(f"  peak resident {rss_mb(child.pid)} MB, index "
              f"{sum(f.stat().st_size for f in os.scandir(data + '/index')) / 1e6:.0f} MB")
        step("nothing changed", child, port, tree)
        for i in range(3):
            with open(changed, "a", encoding="utf-8") as f:
                f.write(f"\n/* change {i} */\n")
            time.sleep(0.02)
            step("one file changed", child, port, tree)
        os.utime(changed)
        time.sleep(0.02)
        step("one file touched", child, port, tree)
        os.rename(changed, changed + ".c")
        time.sleep(0.02)
        step("one file renamed", child, port, tree)
        os.rename(changed + ".c", changed)
        child.send_signal(signal.SIGTERM)
        child.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", action="append", required=True)
    p.add_argument("--repo", required=True)
    a = p.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as work:
        tree = os.path.abspath(os.path.join(work, "tree"))
        shutil.copytree(a.repo, tree, symlinks=True)
        sources = sorted(os.path.join(d, f) for d, _, fs in os.walk(tree) for f in fs if f.endswith((".c", ".h", ".py")))
        time.sleep(0.1)
        for binary in a.bin:
            measure(os.path.abspath(binary), tree, sources[len(sources) // 2])


if __name__ == "__main__":
    main()
