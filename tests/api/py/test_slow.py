"""Two hundred readers that take a kilobyte a second of one burst answer: the server keeps no queue for them."""
import base64
import json
import os
import select
import socket
import struct
import time
import unittest

from harness import ServerTest

READERS, TOKENS, BYTES = 200, 200000, 64
SLOW_S = 8
GROWTH_MB = 24  # of the resident set with all of them waiting: 13 measured; a queue each would be 2,600
DRIFT_MB = 2    # while they go on reading slowly


class Reader:
    """A WebSocket by hand, with a small receive buffer, so that the kernel hides little."""

    def __init__(self, port):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET /ws/chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.stream = next(line.split(": ")[1] for line in head.decode().split("\r\n") if line.lower().startswith("x-stream-id"))
        self.bytes = bytearray(head.split(b"\r\n\r\n", 1)[1])

    def ask(self, request):
        data = json.dumps(request).encode()
        head = bytes([0x81, 0x80 | len(data)]) if len(data) < 126 else struct.pack("!BBH", 0x81, 0x80 | 126, len(data))
        self.socket.sendall(head + bytes(4) + data)  # a mask of zeros

    def sip(self, size):
        """At most `size` bytes, if there are any."""
        if select.select([self.socket], [], [], 0)[0]:
            self.bytes += self.socket.recv(size)

    def drain(self):
        """The rest: (text, close code)."""
        while piece := self.socket.recv(1 << 20):
            self.bytes += piece
            if self.bytes[-4:-2] == b"\x88\x02":
                break
        text, at = [], 0
        while at < len(self.bytes):
            op, n = self.bytes[at] & 15, self.bytes[at + 1]
            at += 2
            if n == 126:
                n, at = struct.unpack_from("!H", self.bytes, at)[0], at + 2
            elif n == 127:
                n, at = struct.unpack_from("!Q", self.bytes, at)[0], at + 8
            payload = bytes(self.bytes[at:at + n])
            at += n
            if op == 1:
                text.append(payload)
            elif op == 8:
                return b"".join(text), struct.unpack("!H", payload[:2])[0]
        return b"".join(text), None


class Slow(ServerTest):
    server_args = ("--bench-source",)

    def resident_mb(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024

    def check_text(self, text):
        self.assertEqual(len(text), TOKENS * BYTES)
        for n in range(TOKENS):
            if not text.startswith(b"%d " % n, n * BYTES):
                self.fail(f"token {n} is not in its place: {text[n * BYTES:n * BYTES + 16]}")

    def test_two_hundred_slow_readers_cost_no_memory_and_lose_nothing(self):
        request = {"repo_url": "-", "messages": [{"role": "user", "content": "go"}], "provider": "bench",
                   "model": f"{TOKENS}:{BYTES}:0"}
        first = Reader(self.server.port)
        first.ask(request)  # the same once before: what any answer of this size leaves in the allocator
        self.check_text(first.drain()[0])
        first.socket.close()
        readers = [Reader(self.server.port) for _ in range(READERS)]
        before = self.resident_mb()
        readers[0].ask(request)
        for r in readers[1:]:
            r.ask({"stream_id": readers[0].stream})
        samples = []
        for _ in range(SLOW_S):
            time.sleep(1)
            for r in readers:
                r.sip(1024)
            samples.append(self.resident_mb())
        print(f"resident: {before:.1f} MB before, then {' '.join(f'{s:.1f}' for s in samples)}", flush=True)
        self.assertLess(max(samples) - before, GROWTH_MB)
        self.assertLess(max(samples[2:]) - samples[2], DRIFT_MB, "flat")
        for sampled in (readers[0], readers[97]):  # the one that asked and one that joined
            text, code = sampled.drain()
            self.assertEqual(code, 1000)
            self.check_text(text)
        for r in readers:
            r.socket.close()


if __name__ == "__main__":
    unittest.main()
