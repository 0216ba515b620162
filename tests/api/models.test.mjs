// Answers of models, from the fake provider on loopback, through the whole program: text, citations, usage, errors in the protocol's
// words, stopping, failing over, and a server that is killed in between.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";
import { ROOT, cli, start, tempTree, waitFor } from "./harness.mjs";

const user = (content) => [{ role: "user", content }];
let fake, port, repo;

before(async () => {
  repo = tempTree({ "src/retry.py": "def should_retry(n):\n    \"\"\"Decides whether to try again.\"\"\"\n    return n < 5\n", "README.md": "# Ferry\n\nFerry carries parcels.\n" });
  fake = spawn("/usr/bin/python3", [path.join(ROOT, "tests/fakes/provider.py")], { stdio: ["pipe", "pipe", "inherit"] });
  let out = "";
  fake.stdout.setEncoding("utf8").on("data", (d) => (out += d));
  port = Number(await waitFor(() => /port (\d+)\n/.exec(out)?.[1], { what: "the fake provider" }));
});
after(() => fake.stdin.end());

const base = (script) => `http://127.0.0.1:${port}/${script}`;
const log = async (script) => (await (await fetch(`http://127.0.0.1:${port}/_log`)).json()).filter((r) => r.path.startsWith(`/${script}/`));

async function serving(env, work) {
  const server = await start({ args: ["--allow-path", repo], env });
  try {
    await work(server);
  } finally {
    await server.stop();
  }
}
async function ask(server, body, options) {
  const ws = await server.ws("/ws/chat", options);
  ws.send({ repo_url: repo, messages: user("where are retries decided?"), ...body });
  return { ws, ...(await ws.untilClose()) };
}
const native = async (server, body) => (await ask(server, body, { protocols: ["headwater.v1"] })).frames.map((f) => JSON.parse(f.data));
const words = (n) => Array.from({ length: n }, (_, i) => `w${i} `).join("");
const textOf = (events) => events.filter((e) => e.event === "token").map((e) => e.data.text).join("");

const PROVIDERS = [
  ["openai", (s) => ({ OPENAI_API_KEY: "sk-test-1", OPENAI_BASE_URL: base(`${s}/v1`) })],
  ["openrouter", (s) => ({ OPENROUTER_API_KEY: "sk-test-2", OPENROUTER_BASE_URL: base(`${s}/v1`) })],
  ["ollama", (s) => ({ OLLAMA_HOST: base(s) })],
  ["azure_anthropic", (s) => ({ AZURE_ANTHROPIC_API_KEY: "sk-test-3", AZURE_ANTHROPIC_ENDPOINT: base(s) })],
];
for (const [provider, env] of PROVIDERS) {
  test(`${provider}: streams over WebSocket and HTTP, the same bytes, one frame and more, 1000`, () =>
    serving(env(`tokens=8+run=${provider}`), async (server) => {
      const { text, code, frames } = await ask(server, { provider });
      assert.equal(text, words(8));
      assert.equal(code, 1000);
      assert.ok(frames.length >= 1);
      const http = await server.http("POST", "/chat/completions/stream", { json: { repo_url: repo, messages: user("where are retries decided?"), provider } });
      assert.equal(http.status, 200);
      assert.equal(http.text, words(8));
      const [request] = await log(`tokens=8+run=${provider}`);
      assert.ok(request.model, "the model is never null");
      assert.match(request.prompt, /<START_OF_CONTEXT>[\s\S]*## File Path: src\/retry\.py/);
      assert.match(request.prompt, /<query>\nwhere are retries decided\?\n<\/query>/);
    }));
}

test("the first provider with a key is the default; without one it is local; local stays available", () =>
  serving({ OPENAI_API_KEY: "sk-test", OPENAI_BASE_URL: base("tokens=3+run=default/v1") }, async (server) => {
    assert.equal((await ask(server, {})).text, words(3));
    assert.match((await ask(server, { provider: "local" })).text, /src\/retry\.py#L/);
    const models = (await server.http("GET", "/models/config")).json;
    assert.equal(models.defaultProvider, "openai");
    assert.ok(models.providers.some((p) => p.id === "local"));
    assert.ok(!JSON.stringify(models).includes("sk-test"));
  }));

test("usage comes from the provider, else it is estimated and said to be", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=9+run=usage/v1") }, async (server) => {
    const events = await native(server, { provider: "openai" });
    const usage = events.find((e) => e.event === "usage").data;
    assert.equal(usage.completion_tokens, 9);
    assert.equal(usage.is_estimate, false);
    const done = events.at(-1).data;
    assert.deepEqual([done.reason, done.provider], ["stop", "openai"]);
  }));

test("a missing key, a wrong one and an unknown provider are told in the protocol's words", async () => {
  await serving({}, async (server) => {
    const { text } = await ask(server, { provider: "openai" });
    assert.equal(text, "Error preparing retriever: Environment variable OPENAI_API_KEY must be set");
    const http = await server.http("POST", "/chat/completions/stream", { json: { repo_url: repo, messages: user("x"), provider: "openai" } });
    assert.deepEqual([http.status, http.json], [500, { detail: text }]);
  });
  await serving({ OPENAI_API_KEY: "sk-hidden-77", OPENAI_BASE_URL: base("key=right+run=auth/v1") }, async (server) => {
    const { text, code } = await ask(server, { provider: "openai" });
    assert.match(text, /^\nError with Openai API: [\s\S]+\n\nPlease check that you have set the OPENAI_API_KEY environment variable with a valid API key\.$/);
    assert.equal(code, 1000);
    const http = await server.http("POST", "/chat/completions/stream", { json: { repo_url: repo, messages: user("x"), provider: "openai" } });
    assert.equal(http.status, 200);
    assert.match(http.text, /\nError with Openai API: /);
    assert.ok(!server.stderr().includes("sk-hidden-77"), "no key in the log");
  });
});

test("a rate limit and a server error are waited out; the answer is whole and single", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=6+status=429+retry=1+times=1+run=rate/v1") }, async (server) => {
    const events = await native(server, { provider: "openai" });
    assert.equal(textOf(events), words(6));
    assert.ok(!events.some((e) => e.event === "reset"));
    assert.equal(events.filter((e) => e.event === "done").length, 1);
  }));

test("a cut in mid-answer: what came stays, the error is told, one end", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=9+cut=4+run=cut/v1") }, async (server) => {
    const events = await native(server, { provider: "openai" });
    assert.ok(textOf(events).startsWith(words(4)));
    assert.equal(events.at(-1).data.reason, "error");
    assert.equal(events.filter((e) => e.event === "error").length, 1);
    assert.ok(events.find((e) => e.event === "usage").data.completion_tokens > 0);
  }));

test("failing over after the first word: a reset event, nothing doubled", () =>
  serving({ OPENAI_API_KEY: "k1,k2", OPENAI_BASE_URL: `${base("tokens=9+cut=4+run=over1/v1")},${base("tokens=9+run=over2/v1")}` }, async (server) => {
    const events = await native(server, { provider: "openai" });
    const at = events.findIndex((e) => e.event === "reset");
    assert.ok(at > 0);
    assert.equal(textOf(events.slice(at)), words(9));
    assert.equal(events.at(-1).data.reason, "stop");
  }));

test("a prompt that is too long is asked again without context, then 1000 within a second", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=5+status=400+words=maximum%20context%20length%20exceeded+times=1+run=long/v1") }, async (server) => {
    const { text, code } = await ask(server, { provider: "openai" });
    assert.equal(text, words(5));
    assert.equal(code, 1000);
    const requests = await log("tokens=5+status=400+words=maximum%20context%20length%20exceeded+times=1+run=long").catch(() => []);
    if (requests.length) assert.doesNotMatch(requests.at(-1).prompt, /<START_OF_CONTEXT>/);
  }));

test("stop reaches the provider within 100 ms, and the text so far is kept", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=10000+pace=0.02+run=stop/v1") }, async (server) => {
    const ws = await server.ws("/ws/chat", { protocols: ["headwater.v1"] });
    ws.send({ repo_url: repo, messages: user("go"), provider: "openai" });
    while ((await ws.nextJson()).event !== "token");
    await new Promise((r) => setTimeout(r, 200));
    const asked = Date.now() / 1000;
    ws.send({ type: "stop" });
    const { frames } = await ws.untilClose();
    const events = frames.map((f) => JSON.parse(f.data));
    assert.equal(events.at(-1).data.reason, "cancelled");
    assert.equal(events.at(-2).event, "usage");
    const request = await waitFor(async () => (await log("tokens=10000+pace=0.02+run=stop")).find((r) => r.closed), { what: "the provider to see the close" });
    assert.ok(request.closed_at - asked < 0.5, `${request.closed_at - asked} s`);
    console.error(`stop seen by the provider after ${((request.closed_at - asked) * 1000).toFixed(0)} ms`);
  }));

test("a reader that leaves stops nothing", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=40+pace=0.02+run=leave/v1") }, async (server) => {
    const ws = await server.ws("/ws/chat");
    const id = ws.headers["x-stream-id"];
    ws.send({ repo_url: repo, messages: user("go"), provider: "openai" });
    await ws.next();
    ws.socket.terminate();
    const again = await server.ws("/ws/chat");
    again.send({ stream_id: id });
    assert.equal((await again.untilClose()).text, words(40));
  }));

test("kill -9 in mid-answer: what was seen is kept, then interrupted", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=10000+pace=0.01+run=kill/v1") }, async (server) => {
    const ws = await server.ws("/ws/chat");
    const id = ws.headers["x-stream-id"];
    ws.send({ repo_url: repo, messages: user("go"), provider: "openai" });
    while (ws.frames.length < 20) await ws.next();
    await server.kill9();
    await ws.closed;
    const seen = ws.frames.map((f) => f.data).join("");
    await server.restart();
    const { events } = await server.sse(`/v1/streams/${id}/events`);
    const all = [];
    for await (const e of events) all.push({ event: e.event, data: JSON.parse(e.data) });
    assert.ok(textOf(all).startsWith(seen));
    assert.equal(all.at(-1).data.reason, "interrupted");
  }));

test("fifty answers of a model at once, all exact", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=30+pace=0.005+run=fifty/v1") }, async (server) => {
    const all = await Promise.all(Array.from({ length: 50 }, () => ask(server, { provider: "openai" })));
    for (const { text, code } of all) assert.deepEqual([text, code], [words(30), 1000]);
  }));

test("the command line uses a model too, and says so", async () => {
  const { dataDir } = await start().then(async (s) => (await s.stop(), s));
  const run = await cli(["ask", repo, "where?", "--provider", "openai", "--json", "--data", dataDir], { env: { OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=4+run=cli/v1") } });
  assert.equal(run.code, 0, run.stderr);
  assert.equal(run.json.answer.trim(), words(4).trim());
  assert.equal(run.json.provider, "openai");
});
