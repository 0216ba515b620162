// The DeepWiki chat over both transports: the acceptance vectors of its contract, exact texts, order and close codes.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cli, start, tempTree } from "./harness.mjs";

const TREE = {
  "README.md": "# Ferry\n\nFerry carries parcels between harbours. Build it with `make`, run it with `./ferry --port 9000`.\n",
  "src/retry.py":
    '"""Retries of failed crossings."""\n\n\ndef should_retry(attempt, status):\n    """Decides whether a crossing is tried again: at most five attempts, never after a refusal."""\n' +
    "    if status == 403:\n        return False\n    return attempt < 5\n",
  "src/harbour.c": "/* Opens the harbour gate for a ferry that has paid. */\nint harbour_open(int paid)\n{\n    return paid > 0;\n}\n",
};
const user = (content) => [{ role: "user", content }];
let server, repo;

before(async () => {
  repo = tempTree(TREE);
  server = await start({ args: ["--allow-path", repo, "--enable-echo", "--bench-source"] });
});
after(async () => {
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
});

async function ask(body, options) {
  const ws = await server.ws("/ws/chat", options);
  ws.send(body);
  return { ws, ...(await ws.untilClose()) };
}
const post = (json) => server.http("POST", "/chat/completions/stream", { json });

test("ws: an answer streams as text frames that cite lines, then 1000", async () => {
  const { ws, code, text, frames } = await ask({ repo_url: repo, messages: user("where are retries decided?") });
  assert.equal(code, 1000);
  assert.ok(frames.length > 1, "more than one frame");
  assert.match(text, /src\/retry\.py#L\d+/);
  assert.match(ws.headers["x-stream-id"], /^[a-z0-9_]+$/);
  assert.ok(frames.every((f) => !f.binary));
});

test("ws and http give the same bytes, twice", async () => {
  const body = { repo_url: repo, messages: user("where are retries decided?") };
  const first = await ask(body);
  const second = await ask(body);
  const http = await post(body);
  assert.equal(http.status, 200);
  assert.match(http.headers.get("content-type"), /^text\/event-stream/);
  assert.equal(http.text, first.text);
  assert.equal(second.text, first.text);
  assert.ok(http.headers.get("x-stream-id"));
});

const REFUSED = [
  ["empty messages", { repo_url: "x", messages: [] }, 400, "No messages provided"],
  ["last role assistant", { repo_url: "x", messages: [...user("a"), { role: "assistant", content: "b" }] }, 400, "Last message must be from the user"],
  ["unknown provider", { repo_url: "x", messages: user("hi"), provider: "zzz" }, 500, "Configuration for provider 'zzz' not found", "Error preparing retriever: "],
];
for (const [name, body, status, text, prefix = "Error: "] of REFUSED) {
  test(`refused before any work: ${name}`, async () => {
    const ws = await ask(body);
    assert.equal(ws.text, prefix + text);
    assert.equal(ws.frames.length, 1);
    assert.equal(ws.code, 1000);
    const http = await post(body);
    assert.equal(http.status, status);
    assert.equal(http.json.detail, status === 400 ? text : prefix + text);
  });
}

test("a missing field: pydantic's words over ws, 422 over http", async () => {
  const { text, code } = await ask({ repo_url: "x" });
  assert.ok(text.startsWith("Error: 1 validation error for ChatCompletionRequest\nmessages\n  Field required [type=missing, input_value="), text);
  assert.equal(code, 1000);
  const http = await post({ repo_url: "x" });
  assert.equal(http.status, 422);
  assert.deepEqual(http.json, { detail: [{ type: "missing", loc: ["body", "messages"], msg: "Field required", input: { repo_url: "x" } }] });
});

test("several faults are told together, with their places", async () => {
  const body = { repo_url: 7, messages: [{ role: "user" }] };
  const { text } = await ask(body);
  assert.ok(text.startsWith("Error: 2 validation errors for ChatCompletionRequest\nrepo_url\n  Input should be a valid string [type=string_type"), text);
  assert.match(text, /\nmessages\.0\.content\n {2}Field required/);
  const http = await post(body);
  assert.deepEqual(http.json.detail.map((d) => [d.type, d.loc]), [
    ["string_type", ["body", "repo_url"]],
    ["missing", ["body", "messages", 0, "content"]],
  ]);
});

test("bad JSON, a list, a binary frame: one Error frame, 1000", async () => {
  for (const data of ["{bad", "[1]", Buffer.from([1, 2])]) {
    const ws = await server.ws("/ws/chat");
    ws.socket.send(data);
    const { code, text, frames } = await ws.untilClose();
    assert.ok(text.startsWith("Error: "), text);
    assert.equal(frames.length, 1);
    assert.equal(code, 1000);
  }
});

test("http: syntax error, text body and empty body are 422", async () => {
  const bad = await server.http("POST", "/chat/completions/stream", { body: "{bad", headers: { "content-type": "application/json" } });
  assert.equal(bad.status, 422);
  assert.equal(bad.json.detail[0].type, "json_invalid");
  const text = await server.http("POST", "/chat/completions/stream", { body: "hello", headers: { "content-type": "text/plain" } });
  assert.equal(text.status, 422);
  assert.equal(text.json.detail[0].type, "model_attributes_type");
  assert.equal(text.json.detail[0].input, "hello");
  const none = await server.http("POST", "/chat/completions/stream");
  assert.equal(none.status, 422);
  assert.deepEqual(none.json.detail[0], { type: "missing", loc: ["body"], msg: "Field required", input: null });
});

test("unknown WebSocket path is HTTP 403; plain GET on /ws/chat is 404", async () => {
  const ws = await server.ws("/ws/other");
  assert.equal(ws.status, 403);
  const get = await server.http("GET", "/ws/chat");
  assert.equal(get.status, 404);
});

test("a folder outside the allowed paths is refused without telling whether it exists", async () => {
  const answers = await Promise.all(["/etc", "/no/such/place"].map((repo_url) => post({ repo_url, messages: user("hi") })));
  for (const a of answers) {
    assert.equal(a.status, 500);
    assert.match(a.json.detail, /^Error preparing retriever: .*not a source of this server/);
  }
});

test("a message above 16 MiB closes with 1009; http says 413", async () => {
  const ws = await server.ws("/ws/chat");
  ws.socket.send("x".repeat(16 * 1024 * 1024 + 1));
  assert.equal((await ws.untilClose()).code, 1009);
  const http = await server.tcp(`POST /chat/completions/stream HTTP/1.1\r\nHost: x\r\nContent-Length: ${16 * 1024 * 1024 + 1}\r\n\r\n`);
  assert.match(http.text, /^HTTP\/1\.1 413 /);
});

test("deep research: each round opens with its heading, and says its number on both transports", async () => {
  const topic = "[DEEP RESEARCH] how are failed crossings retried?";
  const messages = user(topic);
  const headings = [/^## Research Plan/, /^## Research Update 2/, /^## Research Update 3/, /^## Research Update 4/, /^## Final Conclusion/];
  for (let round = 0; round < headings.length; round++) {
    const { text, code } = await ask({ repo_url: repo, messages });
    assert.equal(code, 1000);
    assert.match(text, headings[round]);
    const http = await post({ repo_url: repo, messages });
    assert.equal(http.text, text);
    messages.push({ role: "assistant", content: text }, { role: "user", content: "[DEEP RESEARCH] Continue the research" });
  }
});

test("filePath brings that file's lines first; unknown fields are ignored", async () => {
  const { text } = await ask({ repo_url: repo, messages: user("what does it do?"), filePath: "src/harbour.c", custom_model: "x" });
  assert.match(text, /src\/harbour\.c#L\d+/);
});

test("languages: fixed words are in the language asked for", async () => {
  const seen = new Set();
  for (const language of ["en", "ja", "zh", "zh-tw", "es", "kr", "vi", "pt-br", "fr", "ru"]) {
    const { text } = await ask({ repo_url: repo, messages: user("where are retries decided?"), language });
    assert.match(text, /src\/retry\.py#L\d+/);
    seen.add(text);
  }
  assert.equal(seen.size, 10);
});

test("subprotocol headwater.v1 gives native events on /ws/chat: status, citation before its text, usage, done", async () => {
  const { ws, frames, code } = await ask({ repo_url: repo, messages: user("where are retries decided?") }, { protocols: ["headwater.v1"] });
  assert.equal(ws.socket.protocol, "headwater.v1");
  assert.equal(code, 1000);
  const events = frames.map((f) => JSON.parse(f.data));
  assert.deepEqual(events.map((e) => e.id), [...events].map((e) => e.id).sort((a, b) => a - b));
  assert.equal(events.at(-1).event, "done");
  assert.equal(events.at(-1).data.reason, "stop");
  assert.ok(events.some((e) => e.event === "status"));
  assert.ok(events.some((e) => e.event === "usage" && e.data.completion_tokens > 0));
  let text = "";
  const cited = new Set();
  for (const e of events) {
    if (e.event === "citation") {
      assert.equal(e.data.state, "verified");
      assert.match(e.data.hash, /^[0-9a-f]{64}$/);
      cited.add(`${e.data.path}#L${e.data.start}`);
    }
    if (e.event !== "token") continue;
    text += e.data.text;
    for (const m of text.matchAll(/([\w./-]+#L\d+)(?=[^\d])/g)) assert.ok(cited.has(m[1]), `${m[1]} cited before it was written`);
  }
  assert.ok(cited.size > 0);
});

test("a client on the plain dialect that asks for other subprotocols gets none", async () => {
  const ws = await server.ws("/ws/chat", { protocols: ["chat"] }).catch((e) => e);
  assert.ok(ws instanceof Error || ws.socket.protocol === "" || ws.error);
});

test("stop: the rest is not written, the end says cancelled", async () => {
  const ws = await server.ws("/ws/chat", { protocols: ["headwater.v1"] });
  ws.send({ repo_url: "-", messages: user("go"), provider: "bench", model: "100000:64:200" });
  const begin = Date.now();
  while ((await ws.nextJson()).event !== "token");
  ws.send({ type: "stop" });
  const { frames, code } = await ws.untilClose();
  assert.equal(JSON.parse(frames.at(-1).data).data.reason, "cancelled");
  assert.equal(code, 1000);
  assert.ok(Date.now() - begin < 5000);
});

test("fifty clients at once each get the whole answer", async () => {
  const alone = await ask({ repo_url: repo, messages: user("who opens the harbour gate?") });
  const all = await Promise.all(Array.from({ length: 50 }, () => ask({ repo_url: repo, messages: user("who opens the harbour gate?") })));
  for (const one of all) {
    assert.equal(one.text, alone.text);
    assert.equal(one.code, 1000);
  }
});

test("echo: text, binary and a fragmented megabyte come back as they were", async () => {
  const ws = await server.ws("/v1/echo");
  ws.socket.send("héllo");
  assert.deepEqual(await ws.next(), { data: "héllo", binary: false });
  ws.socket.send(Buffer.from([0, 255, 1]));
  assert.deepEqual([...(await ws.next()).data], [0, 255, 1]);
  const big = "0123456789abcdef".repeat(65536 / 2);
  for (let i = 0; i < 8; i++) ws.socket.send(big.slice((i * big.length) / 8, ((i + 1) * big.length) / 8), { fin: i === 7 });
  assert.equal((await ws.next()).data, big);
  assert.equal((await ws.close(1000)).code, 1000);
});

test("small endpoints have the contract's shapes", async () => {
  const health = (await server.http("GET", "/health")).json;
  assert.equal(health.status, "healthy");
  assert.equal(health.service, "deepwiki-api");
  assert.equal(health.services.event_log, "operational");
  assert.match(health.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/);
  assert.deepEqual((await server.http("GET", "/auth/status")).json, { auth_required: false });
  const models = (await server.http("GET", "/models/config")).json;
  assert.equal(models.defaultProvider, "local");
  assert.equal(models.providers[0].id, "local");
  assert.ok(models.providers[0].models.some((m) => m.id === models.defaultModel));
  const lang = (await server.http("GET", "/lang/config")).json;
  assert.equal(lang.default, "en");
  assert.deepEqual(Object.keys(lang.supported_languages), ["en", "ja", "zh", "zh-tw", "es", "kr", "vi", "pt-br", "fr", "ru"]);
  const index = (await server.http("GET", "/")).json;
  assert.equal(index.message, "Welcome to Streaming API");
  assert.ok(index.endpoints.Chat.includes("POST /chat/completions/stream"));
  assert.equal((await server.http("GET", "/healthz")).text, "ok\n");
  assert.equal((await server.http("GET", "/readyz")).status, 200);
  assert.match((await server.http("GET", "/metrics")).text, /^headwater_\w+ \d+$/m);
  assert.equal(typeof (await server.http("GET", "/metrics?format=json")).json, "object");
});

test("unowned paths, methods and slashes: 404, 405 with Allow, 307", async () => {
  assert.deepEqual((await server.http("GET", "/nope")).json, { detail: "Not Found" });
  const wrong = await server.http("GET", "/chat/completions/stream");
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.get("allow"), "POST");
  assert.deepEqual(wrong.json, { detail: "Method Not Allowed" });
  for (const [method, path, status] of [["GET", "/v1/nothing", 404], ["GET", "/v1", 404], ["PUT", "/v1/sources", 405]]) {
    const { status: got, headers, json } = await server.http(method, path);
    assert.equal(got, status);
    assert.equal(headers.get("content-type"), "application/problem+json");
    assert.equal(json.status, status);
  }
  const slash = await server.http("GET", "/health/?a=1");
  assert.equal(slash.status, 307);
  assert.equal(slash.headers.get("location"), "/health?a=1");
  const away = await server.tcp("GET //evil.example/health/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  assert.doesNotMatch(away.text, /location: \/\//i);
});

test("security headers are on every answer, the 101 as well", async () => {
  const { headers } = await server.http("GET", "/health");
  const ws = await server.ws("/ws/chat");
  for (const get of [(n) => headers.get(n), (n) => ws.headers[n]]) {
    assert.equal(get("x-content-type-options"), "nosniff");
    assert.equal(get("x-frame-options"), "DENY");
    assert.ok(get("referrer-policy"));
    assert.ok(get("content-security-policy"));
    assert.ok(get("x-xss-protection"));
  }
  await ws.close();
});

test("CORS: simple request, cookie, preflight", async () => {
  const simple = await server.http("GET", "/health", { headers: { origin: "http://a.example" } });
  assert.equal(simple.headers.get("access-control-allow-origin"), "*");
  assert.equal(simple.headers.get("access-control-allow-credentials"), "true");
  const cookie = await server.http("GET", "/health", { headers: { origin: "http://a.example", cookie: "a=b" } });
  assert.equal(cookie.headers.get("access-control-allow-origin"), "http://a.example");
  assert.match(cookie.headers.get("vary"), /origin/i);
  const raw = await server.tcp(
    "OPTIONS /ws/chat HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\nConnection: close\r\n\r\n",
  );
  assert.match(raw.text, /^HTTP\/1\.1 200 /);
  assert.match(raw.text, /access-control-max-age: 600/i);
  assert.match(raw.text, /\r\n\r\nOK$/);
});

test("ask on the command line gives the server's answer through its socket file", async () => {
  const { text } = await ask({ repo_url: repo, messages: user("where are retries decided?") });
  const run = await cli(["ask", repo, "where are retries decided?", "--data", server.dataDir]);
  assert.equal(run.code, 0, run.stderr);
  assert.ok(run.stdout.includes(text.trim()), run.stdout);
});
