#!/usr/bin/python3
"""A scriptable chat provider on loopback: OpenAI, Azure (classic and v1), Anthropic, Gemini, Ollama and Bedrock
ConverseStream, and every way they fail.

    provider.py [--port N]      prints "port N" when it listens; ends when its standard input does

The first segment of the path is the script, settings joined by '+': http://127.0.0.1:N/tokens=20+pace=0.01/v1 … The rest of the
path decides the format, as it does with the real ones. Settings:

    tokens=N       words "w0 " … "w<N-1> " (5)            pace=S      seconds between them (0)
    slow=S         before the first                       key=K       any other key is answered with 401
    status=N       answers with it                        retry=N     Retry-After of that answer, seconds
    words=W        message of that answer                 nousage=1   no token figures
    refuse=1       the format's refusal of a prompt by    finish=F    how a whole answer ends: stop, length, filter (stop)
                   its content filter                     think=1     a piece of thinking before the first word
    after=W        once all events are out, last one included: cut (the connection is reset) or stall (the body has no end)
    echo=1         error messages repeat the key          cached=N    tokens of the prompt that were in a cache
    cut=N          connection closed after N tokens       trunc=N     body ends well after N tokens, answer does not
    stall=N        silent after N tokens                  bad=N       a malformed chunk after N tokens
    error=N        the format's error event after N       comments=S  a comment each S seconds while silent (SSE)
    times=N        what fails, fails N times per script and run name (run=X); then all is well

Embeddings (/embeddings, :batchEmbedContents, /api/embed, /api/embeddings, /invoke) take status, retry, words, key, slow, times
and of their own:

    dims=N         numbers of a vector (16)               most=N      characters of a text; more of it is "too long"
    batch=N        texts of a request; more are too many  old=1       Ollama without /api/embed
    odd=W          a text with the word W gets one        null=W      … gets null
                   number more; odd1=W only once          die=W       … and the answer is 500
    float=1        numbers although base64 was asked for  alike=A~B   the words A and B mean the same

A vector counts the words of its text by their stems' hashes, so that texts that share words are alike. The log has "texts".

GET /_log: list of requests in order: path, query, format ("embed" for embeddings), headers, model, key, role, prompt, stream, signature (what is
wrong with it, or null), tokens sent, done (as scripted), cut, closed (by the client), closed_at, began_at (Unix seconds).
POST /_reset forgets them.

Bedrock requests are accepted with a bearer token, or signed with the key pair of the provider's own documentation, which
is no secret: AKIDEXAMPLE / wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY. The signature is computed anew from the request as
it arrived (AWS Signature Version 4); one that differs is answered with 403, as the service does. Azure requests without
api-version (classic), model (v1) or api-key are refused.
"""
import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import re
import struct
import sys
import time
import urllib.parse
import zlib

EMBEDDINGS = {"embeddings", "batchEmbedContents", "embed", "invoke"}
FAILURES = {"status", "cut", "trunc", "stall", "bad", "error", "slow", "refuse", "after"}
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
    """Whose requests and errors these are, for chats and for embeddings."""
    path = path.partition("?")[0]
    if path.endswith((":streamGenerateContent", ":batchEmbedContents")):
        return "gemini"
    if path.endswith(("/converse-stream", "/invoke")):
        return "bedrock"
    if path.endswith(("/openai/v1/chat/completions", "/openai/v1/embeddings")):
        return "azure_v1"
    if "/openai/deployments/" in path:
        return "azure"
    if path.endswith(("/api/chat", "/api/embed", "/api/embeddings")):
        return "ollama"
    if path.endswith("/messages"):
        return "anthropic"
    return "openai"


def is_embedding(path):
    return path.partition("?")[0].rpartition("/")[2].rpartition(":")[2] in EMBEDDINGS


def key_of(headers):
    bearer = headers.get("authorization", "")
    return (bearer[7:] if bearer.startswith("Bearer ") else "") or headers.get("x-api-key", "") \
        or headers.get("api-key", "") or headers.get("x-goog-api-key", "")


def prompt_of(format_name, body):
    if format_name == "gemini":
        return "".join(p.get("text", "") for c in body.get("contents", []) for p in c.get("parts", []))
    content = body.get("messages", [{}])[0].get("content", "") # Bedrock: blocks of text
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


def texts_of(asked):
    """The texts to embed, in any of the formats."""
    if "requests" in asked:
        return ["".join(p.get("text", "") for p in r["content"]["parts"]) for r in asked["requests"]]
    value = asked.get("input", asked.get("prompt", asked.get("inputText", [])))
    return [value] if isinstance(value, str) else value


def vector_of(text, settings):
    dims = int(settings.get("dims", 16))
    alike = dict([settings["alike"].split("~", 1)] if "alike" in settings else [])
    values = [0.0] * dims
    for word in re.findall(r"[a-z]{3,}", text.lower()):
        values[zlib.crc32(alike.get(word, word).encode()) % dims] += 1.0
    values[zlib.crc32(text.encode()) % dims] += 0.25
    return values


def spoilt(values, text, settings, key):
    if settings.get("null", "\0") in text:
        return None
    if settings.get("odd", "\0") in text:
        return values + [1.0]
    if settings.get("odd1", "\0") in text and not failed.get(key + text):
        failed[key + text] = 1
        return values + [1.0]
    return values


def base64_of(values):
    return values and base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def embeddings(path, asked, vectors, settings):
    """The answer's body in the format of the path."""
    count = sum(len(t.split()) for t in texts_of(asked))
    if path.endswith(":batchEmbedContents"):
        return {"embeddings": [{"values": v} for v in vectors]}
    if path.endswith("/api/embeddings"):
        return {"embedding": vectors[0]}
    if path.endswith("/api/embed"):
        return {"model": asked.get("model"), "embeddings": vectors, "prompt_eval_count": count}
    if path.endswith("/invoke"):
        return {"embedding": vectors[0], "inputTextTokenCount": count}
    is_base64 = asked.get("encoding_format") == "base64" and "float" not in settings
    data = [{"object": "embedding", "index": i, "embedding": base64_of(v) if is_base64 else v}
            for i, v in enumerate(vectors)]
    return {"object": "list", "data": data[::-1], "model": asked.get("model"),
            "usage": {"prompt_tokens": count, "total_tokens": count}}


def sse(value, event=None):
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()


def line(value):
    return (json.dumps(value) + "\n").encode()


class OpenAI:
    kind = "text/event-stream"
    finishes = {"stop": "stop", "length": "length", "filter": "content_filter"}

    def __init__(self, settings, key):
        self.usage = "nousage" not in settings
        self.finish = self.finishes[settings.get("finish", "stop")]
        self.cached = int(settings.get("cached", 0))
        self.words = settings.get("words", "").replace("_", " ")
        if "echo" in settings:
            self.words = f"{self.words or 'refused'}: your key is {key}, yes, {key}"

    def start(self):
        return b""

    def token(self, text):
        return sse({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]})

    def thinking(self, text):
        return sse({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"reasoning_content": text}}]})

    def end(self, prompt, done):
        last = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}]})
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

    def refusal(self):
        """Status, body, more headers: what a prompt that the filter does not let through is answered with."""
        return 400, {"error": {"message": "Invalid prompt: it was flagged by our safety system.", "type": "invalid_request_error",
                               "code": "content_policy_violation"}}, ""

    def problem(self, status, words):
        """Body and more headers of an error answer."""
        return {"error": {"message": words}}, ""


class Azure(OpenAI):
    """The OpenAI events, wrapped in what the content filter found."""

    def start(self):
        return sse({"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": [
            {"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]})

    def token(self, text):
        return sse({"object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": {"content": text}, "finish_reason": None, "logprobs": None,
             "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]})

    def refusal(self):
        return 400, {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                                          "management policy.", "type": None, "param": "prompt", "code": "content_filter",
                               "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, ""

    def problem(self, status, words):
        return {"error": {"code": str(status), "message": words}}, ""


class Anthropic(OpenAI):
    finishes = {"stop": "end_turn", "length": "max_tokens", "filter": "refusal"}

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

    def thinking(self, text):
        return sse({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": text}},
                   "content_block_delta")

    def end(self, prompt, done):
        usage = {"output_tokens": max(done, 1)} if self.usage else {} # the end of the turn is a token, too
        return sse({"type": "content_block_stop", "index": 0}, "content_block_stop") + sse(
            {"type": "message_delta", "delta": {"stop_reason": self.finish}, "usage": usage}, "message_delta") + sse(
                {"type": "message_stop"}, "message_stop")

    def error(self):
        return sse({"type": "error", "error": {"type": "overloaded_error", "message": self.words or "Overloaded"}}, "error")

    def problem(self, status, words):
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "invalid_request_error")
        kind = kind if status < 500 else "api_error"
        return {"type": "error", "error": {"type": kind, "message": words}}, ""

    def refusal(self):
        return 400, {"type": "error", "error": {"type": "invalid_request_error",
                                                "message": "Output blocked by content filtering policy"}}, ""


class Gemini(OpenAI):
    finishes = {"stop": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY"}

    def token(self, text):
        return sse({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}]})

    def thinking(self, text):
        return sse({"candidates": [{"content": {"role": "model", "parts": [{"text": text, "thought": True}]}, "index": 0}]})

    def end(self, prompt, done):
        last = {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": self.finish}]}
        if self.usage:
            last["usageMetadata"] = {"promptTokenCount": prompt, "candidatesTokenCount": done,
                                     "totalTokenCount": prompt + done}
            if self.cached:
                last["usageMetadata"]["cachedContentTokenCount"] = self.cached
        return sse(last)

    def error(self):
        return sse({"error": {"code": 503, "message": self.words or "The model is overloaded.", "status": "UNAVAILABLE"}})

    def problem(self, status, words):
        name = {401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}.get(status, "INVALID_ARGUMENT")
        return {"error": {"code": status, "message": words, "status": name}}, ""

    def refusal(self):
        """No error: an answer without candidates."""
        return 200, {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": PROMPT_TOKENS}}, ""


class Ollama(OpenAI):
    kind = "application/x-ndjson"
    finishes = {"stop": "stop", "length": "length", "filter": "stop"} # it has no filter

    def token(self, text):
        return line({"model": "m", "message": {"role": "assistant", "content": text}, "done": False})

    def thinking(self, text):
        return line({"model": "m", "message": {"role": "assistant", "content": "", "thinking": text}, "done": False})

    def end(self, prompt, done):
        last = {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": self.finish}
        if self.usage:
            last.update(prompt_eval_count=prompt, eval_count=done)
        return line(last)

    def error(self):
        return line({"error": self.words or "model runner has unexpectedly stopped"})

    def bad(self):
        return b"<html>not a line of JSON</html>\n"

    def problem(self, status, words):
        return {"error": words}, ""


def message(headers, value):
    """One message of the binary event stream: lengths, checksum, headers (type 7: string), payload, checksum."""
    head = b"".join(struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(text)) + text.encode()
                    for name, text in headers.items())
    payload = json.dumps(value).encode()
    prelude = struct.pack("!II", 12 + len(head) + len(payload) + 4, len(head))
    whole = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return whole + struct.pack("!I", zlib.crc32(whole))


def event(name, value):
    return message({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, value)


class Bedrock(OpenAI):
    kind = "application/vnd.amazon.eventstream"
    finishes = {"stop": "end_turn", "length": "max_tokens", "filter": "guardrail_intervened"}

    def start(self):
        return event("messageStart", {"role": "assistant"})

    def token(self, text):
        return event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})

    def thinking(self, text):
        return event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": text}}})

    def end(self, prompt, done):
        last = event("contentBlockStop", {"contentBlockIndex": 0}) + event("messageStop", {"stopReason": self.finish})
        if self.usage:
            last += event("metadata", {"usage": {"inputTokens": prompt, "outputTokens": done, "totalTokens": prompt + done},
                                       "metrics": {"latencyMs": 1}})
        return last

    def error(self):
        return message({":exception-type": "modelStreamErrorException", ":content-type": "application/json",
                        ":message-type": "exception"}, {"message": "The model had an error while answering"})

    def bad(self):
        """Well formed but for one bit of the payload: the checksum tells."""
        data = bytearray(self.token("never"))
        data[-8] ^= 1
        return bytes(data)

    def problem(self, status, words):
        name = {403: "AccessDeniedException", 429: "ThrottlingException", 500: "InternalServerException",
                503: "ServiceUnavailableException"}.get(status, "ValidationException")
        return {"message": words}, f"x-amzn-ErrorType: {name}\r\n"

    def refusal(self):
        """A guardrail does not fail the call: it answers in the model's place."""
        return None


ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def signature_problem(path, headers, body):
    """None when the request carries a bearer token or a right signature (Version 4), else what is wrong."""
    given = headers.get("authorization", "")
    if given.startswith("Bearer "):
        return None
    if not given.startswith("AWS4-HMAC-SHA256 "):
        return "Missing Authentication Token"
    parts = dict(part.strip().split("=", 1) for part in given[len("AWS4-HMAC-SHA256 "):].split(","))
    key, day, region, service, last = (parts["Credential"].split("/") + [""] * 5)[:5]
    signed = parts["SignedHeaders"].split(";")
    date = headers.get("x-amz-date", "")
    needed = {"host", "x-amz-date"} | {n for n in headers if n == "x-amz-security-token"}
    if key != ACCESS_KEY or service != "bedrock" or last != "aws4_request" or not date.startswith(day):
        return f"The security token included in the request is invalid: {parts['Credential']}"
    if signed != sorted(signed) or needed - set(signed):
        return f"Headers that must be signed are not: {sorted(needed - set(signed))}"
    path, _, query = path.partition("?")
    canonical = "\n".join(["POST", urllib.parse.quote(path, safe="/-_.~"), query,
                           *(f"{name}:{headers.get(name, '')}" for name in signed), "", ";".join(signed),
                           hashlib.sha256(body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", date, f"{day}/{region}/{service}/{last}",
                      hashlib.sha256(canonical.encode()).hexdigest()])
    mac = f"AWS4{SECRET_KEY}".encode()
    for piece in (day, region, service, last, text):
        mac = hmac.digest(mac, piece.encode(), "sha256")
    if mac.hex() != parts["Signature"]:
        return "The request signature we calculated does not match the signature you provided."
    return None


FORMATS = {"openai": OpenAI, "azure": Azure, "azure_v1": Azure, "anthropic": Anthropic, "gemini": Gemini, "ollama": Ollama,
           "bedrock": Bedrock}
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


async def ignore_the_end(settings):
    if "after" in settings:
        await asyncio.sleep(0.05 if settings["after"] == "cut" else 3600) # the events are read by then
        raise Cut


async def stream(writer, settings, form, record):
    await silent(writer, settings, float(settings.get("slow", 0)))
    await send(writer, form.start())
    if "think" in settings:
        await send(writer, form.thinking("Let me think about w0. "))
    count = int(settings.get("tokens", 5))
    for i in range(count):
        if await misbehave(writer, settings, form, i):
            return
        await send(writer, form.token(f"w{i} "))
        record["tokens"] = i + 1
        await asyncio.sleep(float(settings.get("pace", 0)))
    if not await misbehave(writer, settings, form, count):
        await send(writer, form.end(PROMPT_TOKENS, count))
        await ignore_the_end(settings)


def plain(status, body, extra=""):
    data = json.dumps(body).encode()
    return (f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
            f"Connection: close\r\n{extra}\r\n").encode() + data


def refusal(settings, form, record):
    if "key" in settings and record["key"] != settings["key"]:
        body, extra = form.problem(401, f"Incorrect API key provided: {record['key']}")
        return plain(401, body, extra)
    if record["signature"]:
        body, extra = form.problem(403, record["signature"])
        return plain(403, body, extra)
    if record["wire"].startswith("azure") and not record["headers"].get("api-key"):
        return plain(401, {"error": {"code": "401", "message": "Access denied due to missing subscription key."}})
    if (record["wire"] == "azure" and "api-version=" not in record["query"]) \
            or (record["wire"] == "azure_v1" and not record["model"]):
        return plain(404, {"error": {"code": "404", "message": "Resource not found"}})
    if "status" in settings:
        body, extra = form.problem(int(settings["status"]), form.words or "no")
        extra += f"Retry-After: {settings['retry']}\r\n" if "retry" in settings else ""
        return plain(int(settings["status"]), body, extra)
    refused = form.refusal() if "refuse" in settings else None
    return plain(*refused) if refused else None


def model_of(name, path, asked):
    """Where the format says it: in the body, or in the path."""
    path = urllib.parse.unquote(path.partition("?")[0])
    if name == "gemini":
        return path.rpartition("/models/")[2].partition(":")[0]
    if name == "bedrock":
        return path.rpartition("/model/")[2].rpartition("/")[0]
    if name == "azure":
        return path.rpartition("/deployments/")[2].partition("/")[0]
    return asked.get("model")


def record_of(path, headers, asked, body):
    wire, embeds = format_of(path), is_embedding(path)
    first = (asked.get("messages") or asked.get("contents") or [{}])[0]
    record = {"path": path, "query": path.partition("?")[2], "format": "embed" if embeds else wire, "wire": wire,
              "headers": headers, "model": model_of(wire, path, asked), "key": key_of(headers), "role": first.get("role"),
              "prompt": "" if embeds else prompt_of(wire, asked), "stream": asked.get("stream"),
              "signature": signature_problem(path, headers, body) if wire == "bedrock" else None, "tokens": 0,
              "done": False, "cut": False, "closed": False, "closed_at": None, "began_at": time.time()}
    if embeds:
        record.update(texts=texts_of(asked), dimensions=asked.get("dimensions"))
    return record


async def chat(writer, settings, record):
    form = FORMATS[record["wire"]](settings, record["key"])
    refused = refusal(settings, form, record)
    if refused:
        writer.write(refused)
    else:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {form.kind}\r\nTransfer-Encoding: chunked\r\n"
                     "Connection: close\r\n\r\n".encode())
        await stream(writer, settings, form, record)
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    record["done"] = True


def embed_refusal(form, path, settings, texts):
    status, words = 0, ""
    if "old" in settings and path.endswith("/api/embed"):
        return plain(404, "404 page not found")
    if any(len(t) > int(settings.get("most", 1 << 30)) for t in texts):
        status, words = 400, "the input length exceeds the context length"
    elif len(texts) > int(settings.get("batch", 1 << 30)):
        status, words = 413, "batch size exceeds what this server takes"
    elif any(settings.get("die", "\0") in t for t in texts):
        status, words = 500, "json: unsupported value: NaN"
    if not status:
        return None
    body, extra = form.problem(status, words)
    return plain(status, body, extra)


async def embed(writer, settings, record, asked):
    path, texts = record["path"].partition("?")[0], record["texts"]
    form = FORMATS[record["wire"]](settings, record["key"])
    await asyncio.sleep(float(settings.get("slow", 0)))
    answer = refusal(settings, form, record) or embed_refusal(form, path, settings, texts)
    if not answer:
        vectors = [spoilt(vector_of(t, settings), t, settings, path) for t in texts]
        record["tokens"] = len(texts)
        answer = plain(200, embeddings(path, asked, vectors, settings))
    writer.write(answer)
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
    asked = json.loads(body or b"{}")
    record = record_of(path, headers, asked, body)
    seen.append(record)
    embeds = record["format"] == "embed"
    answer = asyncio.create_task(embed(writer, settings, record, asked) if embeds else chat(writer, settings, record))
    gone = asyncio.create_task(reader.read(1))
    await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
    if answer.done():
        gone.cancel()
        record["cut"] = isinstance(answer.exception(), Cut)
        if isinstance(answer.exception(), ConnectionError): # a reset reached the writing side first
            record.update(closed=True, closed_at=time.time())
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
