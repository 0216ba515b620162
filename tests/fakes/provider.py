#!/usr/bin/python3
"""A scriptable chat provider on loopback: OpenAI, Anthropic, Gemini and Ollama streams, and every way they fail.

    provider.py [--port N]      prints "port N" when it listens; ends when its standard input does

The first segment of the path is the script, settings joined by '+': http://127.0.0.1:N/tokens=20+pace=0.01/v1 … The rest of the
path decides the format, as it does with the real ones. Settings:

    tokens=N       words "w0 " … "w<N-1> " (5)            pace=S      seconds between them (0)
    slow=S         before the first                       key=K       any other key is answered with 401
    status=N       answers with it                        retry=N     Retry-After of that answer, seconds
    words=W        message of that answer                 nousage=1   no token figures
    echo=1         error messages repeat the key          cached=N    tokens of the prompt that were in a cache
    cut=N          connection closed after N tokens       trunc=N     body ends well after N tokens, answer does not
    stall=N        silent after N tokens                  bad=N       a malformed chunk after N tokens
    error=N        the format's error event after N       comments=S  a comment each S seconds while silent (SSE)
    times=N        what fails, fails N times per script and run name (run=X); then all is well

GET /_log: list of requests in order: path, format, model, key, prompt, tokens sent, done, closed (by the client), closed_at, began_at
(Unix seconds). POST /_reset forgets them.
"""
import argparse
import asyncio
import json
import sys
import time
import urllib.parse

FAILURES = {"status", "cut", "trunc", "stall", "bad", "error", "slow"}
seen = []
failed = {}


def script_of(path):
    """Settings of the first segment, and the rest of the path."""
    segment, _, rest = path.lstrip("/").partition("/")
    settings = dict(urllib.parse.unquote(part).split("=", 1) for part in segment.split("+") if "=" in part)
    if "times" in settings:
        failed[segment] = failed.get(segment, 0) + 1
        if failed[segment] > int(settings["times"]):
            settings = {k: v for k, v in settings.items() if k not in FAILURES}
    return settings, "/" + rest


def format_of(path):
    if ":streamGenerateContent" in path:
        return "gemini"
    if path.endswith("/api/chat"):
        return "ollama"
    if path.endswith("/messages"):
        return "anthropic"
    return "openai"


def key_of(headers):
    bearer = headers.get("authorization", "")
    return (bearer[7:] if bearer.startswith("Bearer ") else "") or headers.get("x-api-key", "") \
        or headers.get("api-key", "") or headers.get("x-goog-api-key", "")


def prompt_of(format_name, body):
    if format_name == "gemini":
        return "".join(p.get("text", "") for c in body.get("contents", []) for p in c.get("parts", []))
    content = body.get("messages", [{}])[0].get("content", "")
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


def sse(value, event=None):
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()


def line(value):
    return (json.dumps(value) + "\n").encode()


class OpenAI:
    def __init__(self, settings, key):
        self.usage = "nousage" not in settings
        self.cached = int(settings.get("cached", 0))
        self.words = settings.get("words", "").replace("_", " ")
        if "echo" in settings:
            self.words = f"{self.words or 'refused'}: your key is {key}, yes, {key}"

    def refusal(self, status):
        """The body of an answer that is none."""
        return {"error": {"message": self.words or "no"}}

    def start(self):
        return b""

    def token(self, text):
        return sse({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]})

    def end(self, prompt, done):
        last = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if self.usage:
            usage = {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done}
            if self.cached:
                usage["prompt_tokens_details"] = {"cached_tokens": self.cached}
            last += sse({"choices": [], "usage": usage})
        return last + sse("[DONE]")

    def error(self):
        return sse({"error": {"message": self.words or "The server is overloaded", "type": "server_error", "code": None}})

    def bad(self):
        return b"data: {\"choices\":[{\"delta\":\n\n"


class Anthropic(OpenAI):
    def refusal(self, status):
        kinds = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
        kind = kinds.get(status, "api_error" if status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": self.words or "no"}}

    def start(self):
        usage = {"input_tokens": 11 - self.cached, "output_tokens": 1} if self.usage else {}
        if usage and self.cached:
            usage["cache_read_input_tokens"] = self.cached
        return sse({"type": "message_start", "message": {"role": "assistant", "content": [], "usage": usage}},
                   "message_start") + sse({"type": "content_block_start", "index": 0,
                                           "content_block": {"type": "text", "text": ""}}, "content_block_start")

    def token(self, text):
        return sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                   "content_block_delta")

    def end(self, prompt, done):
        usage = {"output_tokens": done} if self.usage else {}
        return sse({"type": "content_block_stop", "index": 0}, "content_block_stop") + sse(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}, "message_delta") + sse(
                {"type": "message_stop"}, "message_stop")

    def error(self):
        return sse({"type": "error", "error": {"type": "overloaded_error", "message": self.words or "Overloaded"}}, "error")


class Gemini(OpenAI):
    def refusal(self, status):
        return {"error": {"code": status, "message": self.words or "no",
                          "status": "UNAUTHENTICATED" if status == 401 else "INVALID_ARGUMENT"}}

    def token(self, text):
        return sse({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}]})

    def end(self, prompt, done):
        last = {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]}
        if self.usage:
            last["usageMetadata"] = {"promptTokenCount": prompt, "candidatesTokenCount": done,
                                     "totalTokenCount": prompt + done}
            if self.cached:
                last["usageMetadata"]["cachedContentTokenCount"] = self.cached
        return sse(last)

    def error(self):
        return sse({"error": {"code": 503, "message": self.words or "The model is overloaded.", "status": "UNAVAILABLE"}})


class Ollama(OpenAI):
    def refusal(self, status):
        return {"error": self.words or "no"}

    def token(self, text):
        return line({"model": "m", "message": {"role": "assistant", "content": text}, "done": False})

    def end(self, prompt, done):
        last = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
        if self.usage:
            last.update(prompt_eval_count=prompt, eval_count=done)
        return line(last)

    def error(self):
        return line({"error": self.words or "model runner has unexpectedly stopped"})

    def bad(self):
        return b"<html>not a line of JSON</html>\n"


FORMATS = {"openai": OpenAI, "anthropic": Anthropic, "gemini": Gemini, "ollama": Ollama}
PROMPT_TOKENS = 11


class Cut(Exception):
    """The connection is closed as a crash would."""


async def send(writer, data):
    if data:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await writer.drain()


async def silent(writer, settings, seconds):
    if "comments" not in settings:
        await asyncio.sleep(seconds)
        return
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await send(writer, b": still here\n\n")
        await asyncio.sleep(float(settings["comments"]))


async def misbehave(writer, settings, form, at):
    if settings.get("stall") == str(at):
        await silent(writer, settings, 3600)
    if settings.get("cut") == str(at):
        raise Cut
    if settings.get("bad") == str(at):
        await send(writer, form.bad())
        await asyncio.sleep(3600)
    if settings.get("error") == str(at):
        await send(writer, form.error())
        await asyncio.sleep(3600)
    return settings.get("trunc") == str(at)


async def stream(writer, settings, form, record):
    await silent(writer, settings, float(settings.get("slow", 0)))
    await send(writer, form.start())
    count = int(settings.get("tokens", 5))
    for i in range(count):
        if await misbehave(writer, settings, form, i):
            return
        await send(writer, form.token(f"w{i} "))
        record["tokens"] = i + 1
        await asyncio.sleep(float(settings.get("pace", 0)))
    if not await misbehave(writer, settings, form, count):
        await send(writer, form.end(PROMPT_TOKENS, count))


def plain(status, body, extra=""):
    data = json.dumps(body).encode()
    return (f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
            f"Connection: close\r\n{extra}\r\n").encode() + data


def refusal(settings, key, form):
    if "key" in settings and key != settings["key"]:
        return plain(401, {"error": {"message": f"Incorrect API key provided: {key}", "type": "invalid_request_error",
                                     "code": "invalid_api_key"}})
    if "status" in settings:
        extra = f"Retry-After: {settings['retry']}\r\n" if "retry" in settings else ""
        return plain(int(settings["status"]), form.refusal(int(settings["status"])), extra)
    return None


def record_of(path, headers, asked):
    name = format_of(path)
    return {"path": path, "format": name, "model": asked.get("model"), "key": key_of(headers),
            "prompt": prompt_of(name, asked), "tokens": 0, "done": False, "closed": False, "closed_at": None,
            "began_at": time.time()}


async def chat(writer, settings, record):
    form = FORMATS[record["format"]](settings, record["key"])
    refused = refusal(settings, record["key"], form)
    if refused:
        writer.write(refused)
    else:
        kind = "application/x-ndjson" if record["format"] == "ollama" else "text/event-stream"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"
                     "Connection: close\r\n\r\n".encode())
        await stream(writer, settings, form, record)
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    record["done"] = True


async def read_request(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {}
    for text in head[1:]:
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return head[0].split(" ")[1], headers, body


async def chat_until_closed(reader, writer, path, headers, body):
    """One request a connection: each close is one run's."""
    settings, _ = script_of(path)
    record = record_of(path, headers, json.loads(body or b"{}"))
    seen.append(record)
    answer = asyncio.create_task(chat(writer, settings, record))
    gone = asyncio.create_task(reader.read(1))
    await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
    if answer.done():
        gone.cancel()
        answer.result() # raises Cut
    else:
        record.update(closed=True, closed_at=time.time())
        answer.cancel()


async def serve(reader, writer):
    try:
        path, headers, body = await read_request(reader)
        if path == "/_log":
            writer.write(plain(200, seen))
        elif path == "/_reset":
            seen.clear()
            failed.clear()
            writer.write(plain(200, {}))
        else:
            await chat_until_closed(reader, writer, path, headers, body)
        await writer.drain()
    except Cut:
        writer.transport.abort()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--port", type=int, default=0)
    server = await asyncio.start_server(serve, "127.0.0.1", options.parse_args().port, limit=32 << 20, backlog=512)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
