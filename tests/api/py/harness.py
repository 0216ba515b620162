"""The Python counterpart of ../harness.mjs: starts the real program, and helpers to speak to it.

    class Test(ServerTest):
        def test_x(self):
            status, headers, body = self.server.http("GET", "/health")

Run from the root: /usr/bin/python3 -m unittest discover -v -s tests/api/py -t tests/api/py
"""
import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
from urllib.parse import urlsplit

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BIN = os.path.abspath(os.environ.get("HEADWATER_BIN") or os.path.join(ROOT, "build", "headwater"))
START_S, STOP_S, REQUEST_S = 20, 15, 30
UNWANTED = re.compile(r"(_API_KEY|_PROXY)$|^(HEADWATER|DEEPWIKI|OPENAI|GOOGLE|AZURE|AWS|OLLAMA|OPENROUTER"
                      r"|DASHSCOPE|WADI|LOG)_", re.I)


def clean_env(extra=None):
    env = {k: v for k, v in os.environ.items() if not UNWANTED.search(k)}
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:exitcode=99")
    env.update(extra or {})
    return env


class Server:
    """One `headwater serve` with a data directory that outlives restarts; close() removes both."""

    def __init__(self, args=(), env=None, data_dir=None, listen=("127.0.0.1:0",)):
        self.args, self.env, self.listen = list(args), env, list(listen)
        self.own_dir = data_dir is None
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="headwater-data-")
        self.process = None
        self.urls = []
        self.errors = ""
        try:
            self.start()
        except BaseException:
            self._remove()
            raise

    def start(self):
        argv = [BIN, "serve"]
        for address in self.listen:
            argv += ["--listen", address]
        self.process = subprocess.Popen(argv + ["--data", self.data_dir] + self.args, env=clean_env(self.env),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, errors="replace")
        self.urls = []
        ready = threading.Event()

        def read_out(stream):
            for line in stream:
                found = re.match(r"listening on (https?://\S+)$", line.rstrip())
                if found:
                    self.urls.append(found.group(1).rstrip("/"))
                    if len(self.urls) >= len(self.listen):
                        ready.set()
            ready.set()  # it ended
            stream.close()

        def read_err(stream):
            for line in stream:
                self.errors += line
            stream.close()

        self.readers = [threading.Thread(target=read_out, args=(self.process.stdout,), daemon=True),
                        threading.Thread(target=read_err, args=(self.process.stderr,), daemon=True)]
        for reader in self.readers:
            reader.start()
        if not ready.wait(START_S) or len(self.urls) < len(self.listen):
            self.kill9()
            raise RuntimeError(f"headwater did not start (status {self.process.returncode}):\n{self.errors}")

    @property
    def url(self):
        return self.urls[0]

    @property
    def port(self):
        return urlsplit(self.url).port

    def _wait(self, seconds):
        self.process.wait(seconds)
        for reader in self.readers:
            reader.join(5)
        return self.process.returncode

    def stop(self):
        """Drains; the exit status. A server that does not end is killed, and that is an error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self._wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise RuntimeError(f"headwater did not end {STOP_S} s after SIGTERM:\n{self.errors}") from None

    def kill9(self):
        self.process.kill()
        return self._wait(STOP_S)

    def restart(self):
        if self.process.poll() is None:
            self.stop()
        self.start()

    def close(self):
        try:
            return self.stop()
        finally:
            self._remove()

    def _remove(self):
        if self.own_dir:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def http(self, method, path, json_body=None, body=None, headers=None):
        """(status, headers as a dict with lower-case names, body as bytes)"""
        headers = dict(headers or {})
        if json_body is not None:
            body = json.dumps(json_body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_S)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def tcp(self, data, timeout=5):
        """Sends bytes as they are; everything received until the peer closes or the time is over."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            s.sendall(data)
            try:
                while piece := s.recv(65536):
                    received += piece
            except (TimeoutError, ConnectionResetError):
                pass
        return received

    def ws_talk(self, path, messages=(), timeout=REQUEST_S, **options):
        """Opens a WebSocket, sends the messages, and collects until the peer closes:
        {"frames": [...], "text": str, "code": int, "reason": str}, or {"status": int} when refused."""
        return asyncio.run(asyncio.wait_for(self._ws_talk(path, messages, options), timeout))

    async def _ws_talk(self, path, messages, options):
        import websockets
        options.setdefault("max_size", None)
        options.setdefault("compression", None)
        url = self.url.replace("http", "ws", 1) + path
        frames = []
        try:
            async with websockets.connect(url, **options) as ws:
                for message in messages:
                    await ws.send(message if isinstance(message, (str, bytes)) else json.dumps(message))
                try:
                    while True:
                        frames.append(await ws.recv())
                except websockets.ConnectionClosed:
                    pass
                text = "".join(f for f in frames if isinstance(f, str))
                return {"frames": frames, "text": text, "code": ws.close_code, "reason": ws.close_reason}
        except websockets.InvalidHandshake as refused:
            # The name of the status moved between releases of the library.
            status = getattr(refused, "status_code", None)
            if status is None and getattr(refused, "response", None) is not None:
                status = refused.response.status_code
            return {"status": status, "frames": frames}


def cli(*args, env=None, input_text="", timeout=60):
    """Runs the command line to its end: subprocess.CompletedProcess with text output."""
    return subprocess.run([BIN, *args], env=clean_env(env), input=input_text, capture_output=True,
                          text=True, timeout=timeout)


class ServerTest(unittest.TestCase):
    """One server for the class; options in `server_args` and `server_env`."""

    server_args = ()
    server_env = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.server_args, cls.server_env)

    @classmethod
    def tearDownClass(cls):
        status = cls.server.close()
        if status != 0:
            raise AssertionError(f"headwater ended with status {status}:\n{cls.server.errors}")
