#!/usr/bin/env python3
"""Tokens from a provider through the server to its clients, against the direct path of the same run.

    bench/relay.py [--build build-rel] [--rounds 5] [--seconds 4] [--streams 1,100,1000] [--rate 50] [--bytes 48]
                   [--mode ws-native] [--server-core 0] [--client-core 1] [--json FILE]

One round is, for each number of streams: the client straight on the fake provider (direct), through a relay that only passes
bytes on (floor: bench_floor), and through headwater with its log on disk (relay). Rounds repeat and the paths alternate, so that
whatever else the machine does meets all three. Every token of every stream is checked. Server and floor run on one core, provider
and client on another; the server has one loop then. Latency is from the stamp a token got when it was sent to its arrival at the
client; CPU is user + system time of all threads of the server in the measured time.

Prints, for each number of streams and path, medians over the rounds with [least, most], and the bars of docs/performance:
relay's p50 at most 0.15 ms and p99 at most 2 ms above direct's (medians of the rounds' differences), at most 15 CPU seconds a
million tokens, at the largest number of streams. Exit: 0 bars met, 1 missed, 2 could not run or a stream was not whole.

    ninja -C build-rel src/app/headwater bench/bench_provider bench/bench_load bench/bench_floor
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SAMPLE = "share/sample/tidewatch"
QUESTION = "How are failed gauge readings retried?"
BAR_P50_MS, BAR_P99_MS, BAR_CPU_S = 0.15, 2.0, 15.0
RAMP_S = 3  # the streams of a round begin over this time; the measured time is when all of them run
FIGURES = ("p50_ms", "p99_ms", "p999_ms", "max_ms", "cpu_s_per_million")


def pinned(core, *command, **more):
    tool = ["taskset", "-c", str(core)] if core >= 0 and shutil.which("taskset") else []
    return subprocess.Popen([*tool, *map(str, command)], stdout=subprocess.PIPE, text=True, **more)


def port_of(child):
    line = child.stdout.readline()
    found = re.search(r"(\d+)\s*$", line)
    if not found:
        sys.exit(f"relay.py: '{child.args}' did not start: {line}")
    return int(found.group(1))


def stop(child):
    child.terminate()
    return child.communicate()[0]


def load(a, port, streams, mode, pid):
    tokens = int(a.rate * (RAMP_S + a.seconds + 2))
    command = [f"{a.build}/bench/bench_load", "--port", port, "--mode", mode, "--streams", streams, "--tokens", tokens, "--bytes",
               a.bytes, "--rate", a.rate, "--connect-rate", max(1, streams // RAMP_S), "--seconds", a.seconds, "--source",
               "tidewatch", "--question", QUESTION]
    child = pinned(a.client_core, *command, *(["--pid", pid] if pid else []))
    out = json.loads(child.communicate()[0])
    if out["faults"]:
        sys.exit(f"relay.py: {mode}, {streams} streams: {out['faults']} were not whole; {out['first_fault']}")
    return out


def run_path(a, path, streams, data):
    provider = pinned(a.client_core, f"{a.build}/bench/bench_provider")
    port, server = port_of(provider), None
    if path == "floor":
        server = pinned(a.server_core, f"{a.build}/bench/bench_floor", port)
        port = port_of(server)
    elif path == "relay":
        env = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        env |= {"OPENAI_API_KEY": "bench", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
        server = pinned(a.server_core, f"{a.build}/src/app/headwater", "serve", "--listen", "127.0.0.1:0", "--data", data,
                        "--log-level", "warn", env=env)
        port = port_of(server)
    try:
        out = load(a, port, streams, a.mode if path == "relay" else "openai", server.pid if server else None)
    finally:
        for child in filter(None, (server, provider)):
            stop(child)
    return out


def show(values):
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def bar(name, value, limit, unit):
    print(f"{name} {value:.3f} {unit} (bar {limit}: {'met' if value <= limit else 'MISSED'})")
    return value <= limit


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default="build-rel")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=4)
    p.add_argument("--streams", default="1,100,1000")
    p.add_argument("--rate", type=int, default=50)
    p.add_argument("--bytes", type=int, default=48)
    p.add_argument("--mode", default="ws-native", choices=["ws-text", "ws-native", "http-text", "sse-native"])
    p.add_argument("--server-core", type=int, default=0, help="-1 = any")
    p.add_argument("--client-core", type=int, default=1, help="-1 = any")
    p.add_argument("--json", help="all figures of all rounds into this file")
    a = p.parse_args()
    sizes = [int(n) for n in a.streams.split(",")]
    print("#", time.strftime("%Y-%m-%d"), os.uname().release, os.cpu_count(), "cores:", " ".join(sys.argv))
    got = {(n, path): [] for n in sizes for path in ("direct", "floor", "relay")}
    with tempfile.TemporaryDirectory() as data:
        subprocess.run([f"{a.build}/src/app/headwater", "index", SAMPLE, "--data", data, "--quiet"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for r in range(a.rounds):
            for (n, path), results in got.items():
                results.append(run_path(a, path, n, data))
            print(f"# round {r + 1} of {a.rounds}, load average {os.getloadavg()[0]:.1f}", flush=True)
    print(f"{'streams':>7} {'path':7}" + "".join(f"{name:>28}" for name in FIGURES))
    for (n, path), results in got.items():
        print(f"{n:7} {path:7}" + "".join(f"{show([x[name] for x in results]):>28}" for name in FIGURES))
    if a.json:
        with open(a.json, "w", encoding="utf-8") as f:
            json.dump([{"streams": n, "path": path, "rounds": results} for (n, path), results in got.items()], f, indent=1)
    n = max(sizes)
    direct, relay = got[n, "direct"], got[n, "relay"]
    above = {q: statistics.median(y[q] - x[q] for x, y in zip(direct, relay)) for q in ("p50_ms", "p99_ms")}
    met = [bar(f"relay_{n}_p50_above_direct", above["p50_ms"], BAR_P50_MS, "ms"),
           bar(f"relay_{n}_p99_above_direct", above["p99_ms"], BAR_P99_MS, "ms"),
           bar(f"relay_{n}_cpu", statistics.median(x["cpu_s_per_million"] for x in relay), BAR_CPU_S, "s_per_million_tokens")]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
