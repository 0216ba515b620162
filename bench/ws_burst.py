#!/usr/bin/env python3
"""Server CPU seconds per million 64-byte tokens sent to WebSocket readers, replayed from the log and live.

    bench/ws_burst.py [--bin build/headwater] [--connections 64] [--tokens 200000] [--bytes 64] [--rounds 3]

replay native   a finished stream, resumed from its first event by every connection on /ws/chat with headwater.v1
replay text     the same in the plain dialect
live text       every connection reads one answer as it is made (rate 0): the first asks, the others have joined; the
                making and logging of it is counted too
one text        the same with the asking connection alone: what of `live` is not sending

CPU is user + system time of the server's threads over the measured span, from /proc. Frames are counted on one connection;
fewer than tokens where the text of a reader that is behind came in larger frames.
"""
import argparse
import base64
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):  # nanoseconds, where stat has hundredths
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def peak_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024


class Reader:
    def __init__(self, port, keep, native=False):
        self.socket = socket.create_connection(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        protocol = "Sec-WebSocket-Protocol: headwater.v1\r\n" if native else ""
        self.socket.sendall(f"GET /ws/chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{protocol}"
                            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:  # no byte more: what follows belongs to the frames
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.stream = next((line.split(": ")[1] for line in head.decode().split("\r\n")
                            if line.lower().startswith("x-stream-id")), None)
        self.received, self.tail, self.kept, self.is_over = 0, b"", [] if keep else None, False
        self.socket.setblocking(False)

    def ask(self, request):
        data = json.dumps(request).encode()
        head = bytes([0x81, 0x80 | len(data)]) if len(data) < 126 else struct.pack("!BBH", 0x81, 0x80 | 126, len(data))
        self.socket.sendall(head + bytes(4) + data)

    def read(self, scratch):
        try:
            n = self.socket.recv_into(scratch)
        except BlockingIOError:
            return
        self.received += n
        if self.kept is not None:
            self.kept.append(bytes(scratch[:n]))
        self.tail = (self.tail + bytes(scratch[max(0, n - 4):n]))[-4:]
        self.is_over = n == 0 or self.tail == b"\x88\x02\x03\xe8"  # close 1000

    def frames(self):
        data, at, count = b"".join(self.kept), 0, 0
        while at + 2 <= len(data):
            op, n = data[at] & 15, data[at + 1]
            at += 2
            if n == 126:
                n, at = struct.unpack_from("!H", data, at)[0], at + 2
            elif n == 127:
                n, at = struct.unpack_from("!Q", data, at)[0], at + 8
            at += n
            count += op == 1
        return count


def drain(readers):
    chosen = selectors.DefaultSelector()
    scratch = memoryview(bytearray(1 << 20))
    for r in readers:
        chosen.register(r.socket, selectors.EVENT_READ, r)
    while chosen.get_map():
        for key, _ in chosen.select():
            key.data.read(scratch)
            if key.data.is_over:
                chosen.unregister(key.fileobj)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", default="build/headwater")
    p.add_argument("--connections", type=int, default=64)
    p.add_argument("--tokens", type=int, default=200000)
    p.add_argument("--bytes", type=int, default=64)
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    ask = {"repo_url": "-", "messages": [{"role": "user", "content": "go"}], "provider": "bench",
           "model": f"{a.tokens}:{a.bytes}:0"}
    print("#", time.strftime("%Y-%m-%d"), os.uname().release, os.cpu_count(), "cores:", " ".join(sys.argv))
    with tempfile.TemporaryDirectory() as data:
        child = subprocess.Popen([a.bin, "serve", "--listen", "127.0.0.1:0", "--data", data, "--bench-source", "--log-level", "warn"],
                                 stdout=subprocess.PIPE, text=True)
        port = int(child.stdout.readline().rsplit(":", 1)[1])

        def measured(name, readers, begin):
            cpu, wall = cpu_s(child.pid), time.monotonic()
            begin()
            drain(readers)
            cpu, wall = cpu_s(child.pid) - cpu, time.monotonic() - wall
            sent = a.tokens * len(readers) / 1e6
            size = sum(r.received for r in readers) / 1e6
            assert size >= sent * a.bytes, f"{name}: {size} MB of {sent * a.bytes} came"
            print(f"{name}: {cpu / sent:.3f} CPU-s per million tokens ({len(readers)} connections, {sent:.1f} million tokens, {size:.0f} MB in "
                  f"{wall:.2f} s, {cpu:.2f} CPU-s; {readers[0].frames()} frames each; peak resident {peak_mb(child.pid):.0f} MB)", flush=True)
            for r in readers:
                r.socket.close()

        def make():
            first = Reader(port, True)
            measured("one text", [first], lambda: first.ask(ask))
            time.sleep(0.5)  # the log is written behind
            return first.stream

        for _ in range(a.rounds):
            stream = make()
            for name, native in (("replay native", True), ("replay text", False)):
                readers = [Reader(port, not i, native) for i in range(a.connections)]
                measured(name, readers, lambda them=readers: [r.ask({"stream_id": stream}) for r in them])
            live = [Reader(port, not i) for i in range(a.connections)]
            measured("live text", live, lambda: [live[0].ask(ask)] + [r.ask({"stream_id": live[0].stream}) for r in live[1:]])
        child.terminate()
        child.wait()


if __name__ == "__main__":
    main()
