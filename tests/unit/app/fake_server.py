"""A server that speaks as much of Headwater's native API as the commands use, and misbehaves on request.

A scenario is chosen by the source's name. Every request is kept in `requests` as (method, path, headers, body).
"""
import http.server
import json
import os
import socketserver
import sys
import threading
import time

SOURCE = {"id": "s1", "name": "demo", "kind": "local", "location": "/demo", "state": "ready",
          "revision": "0123456789abcdef", "files": 12, "chunks": 34, "bytes": 56789, "skipped": 3,
          "indexed_at": "2026-11-21T00:00:00Z", "error": ""}
SKIPPED = [{"path": f"f{i}.bin", "reason": "binary"} for i in range(3)]

ANSWER = [
    ("status", {"stage": "search", "progress": 0.5, "message": "looking"}),
    ("status", {"stage": "answer", "progress": None, "message": ""}),
    ("token", {"text": "It starts in `src/main.c#L1-L9`"}),
    ("token", {"text": ", grüßt\x1b[31m and "}),
    ("token", {"text": "ends."}),
    ("citation", {"n": 1, "path": "src/main.c", "start": 1, "end": 9, "revision": "r1", "state": "verified",
                  "hash": "h", "source": "s1"}),
    ("citation", {"n": 2, "path": "src/old.c", "start": 3, "end": 4, "revision": "r1", "state": "stale",
                  "hash": "h", "source": "s1"}),
    ("usage", {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.0, "is_estimate": True}),
    ("done", {"reason": "stop", "provider": "local", "model": "extractive"}),
]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):
        return "local"

    def reply(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def problem(self, status, title, detail, hint):
        self.reply(status, {"title": title, "status": status, "detail": detail, "code": "c", "hint": hint},
                   "application/problem+json")

    def begin_stream(self, stream_id="st-1"):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        if stream_id:
            self.send_header("X-Stream-Id", stream_id)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def send_events(self, events, first=1, pause=0.0):
        for i, (kind, data) in enumerate(events):
            text = f": keep-alive\nid: {first + i}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
            half = len(text) // 2
            for piece in (text[:half], text[half:]):
                self.wfile.write(piece)
                self.wfile.flush()
            time.sleep(pause)

    def take(self):
        n = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(n)) if n else None
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        return body

    def do_GET(self):
        self.take()
        path = self.path.split("?")[0]
        if path == "/v1/sources":
            self.reply(200, {"sources": self.server.sources})
        elif path == "/v1/sources/s1/skipped":
            query = dict(p.split("=") for p in self.path.split("?")[1].split("&"))
            at = int(query["offset"])
            self.reply(200, {"skipped": SKIPPED[at:at + 2], "total": len(SKIPPED)})
        elif path.startswith("/v1/streams/") and path.endswith("/events"):
            self.resume()
        else:
            self.reply(404, {"detail": "Not Found"})

    def resume(self):
        scenario = self.server.scenario
        after = int(self.headers.get("Last-Event-ID") or 0)
        self.server.resumes += 1
        if scenario == "lost":
            self.close_connection = True
            return
        if scenario == "gone":
            self.problem(404, "no such stream", "it is not kept any more", "ask again")
            return
        if scenario == "flaky" and self.server.resumes == 1:
            self.problem(503, "draining", "the server restarts", "")
            return
        self.begin_stream()
        if scenario == "overlap":
            after = max(0, after - 2)  # a server that repeats: the client must not
        events = ANSWER[after:]
        if scenario in ("cut", "flaky"):
            events = events[:2]  # two a connection
        self.send_events(events, after + 1)

    def do_POST(self):
        body = self.take()
        if self.path == "/v1/answers":
            self.answer(body)
        elif self.path == "/v1/sources":
            self.index(body)
        elif self.path == "/v1/search":
            self.search(body)
        elif self.path.endswith("/stop"):
            self.server.stopped.set()
            self.reply(200, {})
        else:
            self.reply(404, {"detail": "Not Found"})

    def answer(self, body):
        scenario = self.server.scenario = body["repo_url"]
        if scenario == "missing":
            self.problem(404, "no such source", "'missing' is not indexed", "headwater index missing")
        elif scenario == "html":
            self.reply(502, b"<html>bad</html>", "text/html")
        elif scenario == "accepted":
            self.reply(202, {"stream_id": "st-1", "events_url": "/v1/streams/st-1/events"})
        elif scenario in ("cut", "flaky", "lost", "gone", "overlap"):
            self.begin_stream()
            self.send_events(ANSWER[:3])
            self.wfile.write(b"id: 4\nevent: token\ndata: {\"text\":\"HALF")
        elif scenario == "noid":
            self.begin_stream(None)
            self.send_events(ANSWER[:3])
        elif scenario == "hostile":
            self.begin_stream("../x")
            self.send_events(ANSWER[:3])
        elif scenario == "failing":
            self.begin_stream()
            self.send_events(ANSWER[:3] + [
                ("error", {"code": "provider_error", "message": "the provider refused", "hint": "set a key",
                           "status": 502}), ("done", {"reason": "error"})])
        elif scenario in ("slow", "deaf"):
            self.begin_stream()
            self.send_events(ANSWER[:3])
            stopped = scenario == "slow" and self.server.stopped.wait(20)
            if scenario == "deaf":
                self.server.closing.wait(40)
            if stopped:
                self.send_events([("token", {"text": " cut"}), ("done", {"reason": "stopped"})], 4)
        else:
            self.begin_stream()
            self.send_events(ANSWER)

    def index(self, body):
        if body["source"].endswith("bad"):
            self.problem(403, "path not allowed", "the server may not read it", "use --allow-path")
            return
        self.begin_stream()
        self.send_events([("status", {"stage": "read", "progress": 0.25, "message": "3 of 12 files"}),
                          ("status", {"stage": "read", "progress": 0.25, "message": "3 of 12 files"}),
                          ("status", {"stage": "write", "progress": 1, "message": ""}),
                          ("done", {"reason": "stop"})])

    def search(self, body):
        if body["query"] == "none":
            self.reply(200, {"hits": [], "note": "no word of the query occurs"})
        elif body["query"] == "hang":
            self.server.closing.wait(40)
        elif body["query"] == "notjson":
            self.reply(200, b"oops")
        else:
            self.reply(200, {"hits": [{"path": "a.c", "start": 1, "end": 3, "symbol": "main", "score": 0.75,
                                       "text": "int main(void)\n\n{\n", "terms": [
                                           {"term": "main", "weight": 1.5}, {"term": "int", "weight": 0.25}]}],
                             "note": ""})


class Threads(socketserver.ThreadingMixIn):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients that leave are part of the tests
            super().handle_error(request, client_address)


class UnixServer(Threads, socketserver.UnixStreamServer):
    request_queue_size = 64


class TcpServer(Threads, socketserver.TCPServer):
    allow_reuse_address = True


def start(path=None):
    """On the socket file `path`, or on a free port of loopback (server.server_address)."""
    if path and os.path.exists(path):
        os.unlink(path)
    server = UnixServer(path, Handler) if path else TcpServer(("127.0.0.1", 0), Handler)
    server.requests, server.sources, server.resumes, server.scenario = [], [SOURCE], 0, ""
    server.stopped, server.closing = threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def stop(server):
    server.closing.set()
    server.stopped.set()
    server.shutdown()
    server.server_close()
