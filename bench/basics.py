#!/usr/bin/env python3
"""Start, memory and indexing of the real program, each as a figure with its command.

    bench/basics.py [--bin build/headwater] [--sockets 10000] [--repo DIR]...

cold start      from exec to 'listening on', median of 9, empty data directory and one with an indexed repository
idle memory     resident set after the start, and after one answer
idle socket     resident bytes a WebSocket that is open and quiet (upgraded on /ws/chat), kernel memory not counted
index           text bytes per CPU second of the program alone and of its helper processes
first token     from the request to the first byte of text of an indexed repository, median of 50
"""
import argparse
import base64
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SAMPLE = "share/sample/tidewatch"


def start(binary, data):
    began = time.monotonic()
    child = subprocess.Popen([binary, "serve", "--listen", "127.0.0.1:0", "--data", data, "--log-level", "warn"],
                             stdout=subprocess.PIPE, text=True)
    line = child.stdout.readline()
    return child, int(line.rsplit(":", 1)[1]), (time.monotonic() - began) * 1000


def stop(child):
    child.terminate()
    child.wait()


def rss_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def upgraded(port):
    s = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(f"GET /ws/chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += s.recv(4096)
    assert head.startswith(b"HTTP/1.1 101"), head
    return s


def ask(port, source, question):
    body = json.dumps({"repo_url": source, "messages": [{"role": "user", "content": question}]}).encode()
    s = socket.create_connection(("127.0.0.1", port))
    began = time.monotonic()
    s.sendall(b"POST /chat/completions/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n" % len(body) + body)
    got = s.recv(65536)
    while b"\r\n\r\n" not in got or not got.split(b"\r\n\r\n", 1)[1]:
        got += s.recv(65536)
    first = (time.monotonic() - began) * 1000
    while s.recv(65536):
        pass
    s.close()
    return first


def measure_index(binary, repo):
    with tempfile.TemporaryDirectory() as data:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        out = subprocess.run([binary, "index", repo, "--json", "--data", data], check=True, capture_output=True, text=True)
        wall = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        sources = json.loads(subprocess.run([binary, "sources", "--json", "--data", data], check=True, capture_output=True,
                                            text=True).stdout)["sources"][0]
        size = sum(os.path.getsize(os.path.join(data, "index", f)) for f in os.listdir(os.path.join(data, "index")))
        mb = sources["bytes"] / 1e6
        print(f"index {repo}: {sources['files']} files, {sources['chunks']} chunks, {mb:.1f} MB in {wall:.2f} s, {cpu:.2f} CPU-s with "
              f"helpers: {mb / cpu:.1f} MB per CPU-s, index file {size / 1e6:.1f} MB, "
              f"peak resident {after.ru_maxrss / 1024:.0f} MB")
        return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", default="build/headwater")
    p.add_argument("--sockets", type=int, default=10000)
    p.add_argument("--repo", action="append", default=[])
    a = p.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets = min(a.sockets, hard - 200)
    print("#", time.strftime("%Y-%m-%d"), os.uname().release, os.cpu_count(), "cores:", " ".join(sys.argv))

    with tempfile.TemporaryDirectory() as data:
        times = []
        for _ in range(9):
            child, _, ms = start(a.bin, data)
            times.append(ms)
            stop(child)
        print(f"cold start, empty: median {statistics.median(times):.1f} ms (max {max(times):.1f})")
        subprocess.run([a.bin, "index", SAMPLE, "--data", data, "--quiet"], check=True)
        times = []
        for _ in range(9):
            child, port, ms = start(a.bin, data)
            times.append(ms)
            stop(child)
        print(f"cold start, with an indexed repository: median {statistics.median(times):.1f} ms (max {max(times):.1f})")
        child, port, _ = start(a.bin, data)
        print(f"idle resident memory: {rss_kb(child.pid) / 1024:.1f} MB")
        firsts = [ask(port, "tidewatch", "How are failed gauge readings retried?") for _ in range(50)]
        print(f"first text of an answer: median {statistics.median(firsts):.2f} ms (max {max(firsts):.2f})")
        print(f"resident memory after 50 answers: {rss_kb(child.pid) / 1024:.1f} MB")
        stop(child)
        child, port, _ = start(a.bin, data)
        warm = [upgraded(port) for _ in range(200)]
        before = rss_kb(child.pid)
        held = [upgraded(port) for _ in range(sockets)]
        time.sleep(1)
        after = rss_kb(child.pid)
        print(f"idle WebSocket: {(after - before) * 1024 / len(held):.0f} resident bytes each, {len(held)} held")
        for s in warm + held:
            s.close()
        stop(child)
    for repo in a.repo:
        measure_index(a.bin, repo)


if __name__ == "__main__":
    main()
