// Vectors through the whole program, from the fake provider on loopback: off unless asked for; every format from the index to a cited
// passage that shares no word with the question; faults that cost nothing but time; a kill in the middle; an embedder that is not there.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { ROOT, cli, start, tempTree, waitFor } from "./harness.mjs";

let fake, port;
const TREE = {
  "docs/harbour.md": "# Harbour\n\nThe ferry leaves the northern quay every morning and carries parcels over the sound.\n",
  "src/sorting.py": "def order(values):\n    \"\"\"Puts numbers into ascending order.\"\"\"\n    return sorted(values)\n",
  "src/colours.py": "def mix(a, b):\n    \"\"\"Blends two paints on a palette.\"\"\"\n    return (a + b) / 2\n",
};

before(async () => {
  fake = spawn("/usr/bin/python3", [path.join(ROOT, "tests/fakes/provider.py")], { stdio: ["pipe", "pipe", "inherit"] });
  let out = "";
  fake.stdout.setEncoding("utf8").on("data", (d) => (out += d));
  port = Number(await waitFor(() => /port (\d+)\n/.exec(out)?.[1], { what: "the fake provider" }));
});
after(() => fake.stdin.end());

const base = (script) => `http://127.0.0.1:${port}/${script}`;
const log = async (script) => (await (await fetch(`http://127.0.0.1:${port}/_log`)).json()).filter((r) => r.path.startsWith(`/${script}/`));
const openai = (script, more) => ({ OPENAI_API_KEY: "sk-test-embed", OPENAI_BASE_URL: base(`${script}/v1`), DEEPWIKI_EMBEDDER_TYPE: "openai", ...more });

async function serving(env, tree, work, args = []) {
  const repo = tempTree(tree);
  const server = await start({ args: ["--allow-path", repo, ...args], env });
  try {
    await work(server, repo);
  } finally {
    await server.stop();
  }
}
const sourceOf = async (server) => (await server.http("GET", "/v1/sources")).json.sources[0];
async function index(server, repo) {
  const { events } = await server.sse("/v1/sources", { method: "POST", json: { source: repo } });
  for await (const e of events) if (e.event === "done") return JSON.parse(e.data);
}
const embedded = (server, state = "ready") =>
  waitFor(async () => { const s = await sourceOf(server); return s?.vectors?.state === state && s; }, { what: `vectors that are ${state}`, ms: 20000 });
async function answer(server, repo, content, more = {}) {
  const ws = await server.ws("/ws/chat", { protocols: ["headwater.v1"] });
  ws.send({ repo_url: repo, messages: [{ role: "user", content }], provider: "local", ...more });
  return (await ws.untilClose()).frames.map((f) => JSON.parse(f.data));
}
const cited = (events) => events.filter((e) => e.event === "citation").map((e) => e.data.path);
const said = (events) => events.filter((e) => e.event === "status").map((e) => e.data.message).join("\n");

test("a chat key alone contacts no embedding route", () =>
  serving({ OPENAI_API_KEY: "sk-test", OPENAI_BASE_URL: base("run=chatkey/v1"), OPENAI_EMBEDDING_MODEL: "text-embedding-3-small" }, TREE, async (server, repo) => {
    await index(server, repo);
    await answer(server, repo, "where are numbers sorted?");
    await answer(server, repo, "where are numbers sorted?", { provider: "openai" });
    const requests = await log("run=chatkey");
    assert.ok(requests.length >= 1, "the chat model was asked");
    assert.deepEqual(requests.filter((r) => r.format === "embed"), []);
    assert.equal((await sourceOf(server)).vectors, null);
  }));

const ALIKE = "dims=64+alike=vessel~ferry";
const FORMATS = [
  ["openai", (s) => openai(s), /\/v1\/embeddings$/],
  ["openai with numbers", (s) => openai(`float=1+${s}`), /\/v1\/embeddings$/],
  ["google", (s) => ({ GOOGLE_API_KEY: "g", GOOGLE_BASE_URL: base(`${s}/v1beta`), DEEPWIKI_EMBEDDER_TYPE: "google" }), /models\/gemini-embedding-001:batchEmbedContents$/],
  ["ollama", (s) => ({ OLLAMA_HOST: base(s), HEADWATER_EMBEDDER: "ollama:nomic-embed-text" }), /\/api\/embed$/],
  ["an old ollama", (s) => ({ OLLAMA_HOST: base(`old=1+${s}`), HEADWATER_EMBEDDER: "ollama:m" }), /\/api\/embed(dings)?$/],
  ["azure", (s) => ({ AZURE_OPENAI_API_KEY: "a", AZURE_OPENAI_ENDPOINT: base(s), AZURE_OPENAI_VERSION: "2024-10-21", DEEPWIKI_EMBEDDER_TYPE: "azure" }),
    /\/openai\/deployments\/text-embedding-3-large\/embeddings\?api-version=2024-10-21$/],
];
for (const [name, env, route] of FORMATS)
  test(`${name}: a passage that shares only its meaning with the question is found and cited`, () => {
    const script = `${ALIKE}+run=${name.replaceAll(" ", "_")}`;
    const full = name === "openai with numbers" ? `float=1+${script}` : name === "an old ollama" ? `old=1+${script}` : script;
    return serving(env(script), TREE, async (server, repo) => {
      await index(server, repo);
      const { vectors } = await embedded(server);
      assert.equal(vectors.covered, vectors.total);
      assert.ok(vectors.total >= 3);
      const { hits } = (await server.http("POST", "/v1/search", { json: { source: repo, query: "vessel" } })).json;
      assert.equal(hits[0]?.path, "docs/harbour.md");
      assert.ok(cited(await answer(server, repo, "vessel")).includes("docs/harbour.md"));
      const requests = await log(full);
      assert.ok(requests.length && requests.every((r) => route.test(r.path)), JSON.stringify(requests.map((r) => r.path)));
      assert.equal(requests.flatMap((r) => r.texts).filter((t) => t.includes("vessel")).length - (name === "an old ollama" ? 1 : 0), 1, "one question is embedded once");
    });
  });

test("without the embedder the same question finds nothing", () =>
  serving({}, TREE, async (server, repo) => {
    await index(server, repo);
    const { hits } = (await server.http("POST", "/v1/search", { json: { source: repo, query: "vessel" } })).json;
    assert.deepEqual(hits, []);
  }));

const many = (n, words = 12) => Object.fromEntries(Array.from({ length: n }, (_, i) =>
  [`notes/n${i}.md`, `# Note ${i}\n\nword${i} ${Array.from({ length: words }, (_, j) => `filler${(i * 7 + j) % 97}`).join(" ")}.\n`]));

test("what is too long is sent in halves, then cut; a text that the server breaks on is listed and the rest is there", () =>
  serving(openai("dims=8+most=700+batch=5+die=poisoned+run=long"), { ...many(30), "notes/long.md": `# Long\n\n${"many words in one line ".repeat(90)}\n`, "notes/bad.md": "# Bad\n\npoisoned words\n" }, async (server, repo) => {
    await index(server, repo);
    const { vectors, name } = await embedded(server);
    assert.equal(vectors.failed, 1);
    assert.equal(vectors.covered, vectors.total - 1);
    const { skipped, total } = (await server.http("GET", `/v1/sources/${name}/skipped`)).json;
    const bad = skipped.find((s) => s.path.startsWith("notes/bad.md#L"));
    assert.match(bad.reason, /^not embedded: .*NaN/);
    assert.equal(total, skipped.length);
    const sizes = (await log("dims=8+most=700+batch=5+die=poisoned+run=long")).filter((r) => r.tokens).map((r) => r.texts.length);
    assert.ok(Math.max(...sizes) <= 5);
  }));

test("a vector of other dimensions is asked for once more", () =>
  serving(openai("dims=8+odd1=word3+run=odd"), many(10), async (server, repo) => {
    await index(server, repo);
    const { vectors } = await embedded(server);
    assert.deepEqual([vectors.failed, vectors.covered], [0, vectors.total]);
    const asked = (await log("dims=8+odd1=word3+run=odd")).flatMap((r) => r.texts).filter((t) => /word3\b/.test(t));
    assert.equal(asked.length, 2);
  }));

test("a rate limit is waited for, and seen", () =>
  serving(openai("dims=8+status=429+retry=1+times=1+run=rate"), many(5), async (server, repo) => {
    await index(server, repo);
    const { vectors } = await embedded(server);
    assert.equal(vectors.covered, vectors.total);
    const { events } = await server.sse(`/v1/streams/${vectors.stream}/events`);
    const all = [];
    for await (const e of events) { all.push(e); if (e.event === "done") break; }
    assert.match(JSON.stringify(all), /the provider asked for it/);
    assert.equal((await log("dims=8+status=429+retry=1+times=1+run=rate")).length, 2);
  }));

test("a refused key stops the queue with a clear word and fails no index", () =>
  serving(openai("key=other+run=key"), TREE, async (server, repo) => {
    assert.equal((await index(server, repo)).reason, "stop");
    const source = await embedded(server, "stopped");
    assert.equal(source.state, "ready");
    assert.match(source.vectors.why, /refuses.*HTTP 401/);
    assert.ok(!JSON.stringify(source).includes("sk-test-embed"));
    assert.ok(cited(await answer(server, repo, "where are numbers put into ascending order?")).includes("src/sorting.py"));
  }));

test("an embedder that is not there: the answer comes, by words; the queue waits", () =>
  serving({ OLLAMA_HOST: "http://127.0.0.1:9", DEEPWIKI_EMBEDDER_TYPE: "ollama" }, TREE, async (server, repo) => {
    await index(server, repo);
    const events = await answer(server, repo, "where are numbers put into ascending order?");
    assert.ok(cited(events).includes("src/sorting.py"));
    assert.equal(events.at(-1).data.reason, "stop");
  }));

test("an embedder that goes away after the index: said in a status, answered by words", async () => {
  const script = "dims=8+run=gone";
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo], env: openai(script) });
  await index(server, repo);
  await embedded(server);
  await server.restart({ env: openai("slow=30+dims=8+run=gone2") });
  await embedded(server);
  const began = Date.now();
  const events = await answer(server, repo, "where are numbers put into ascending order?");
  assert.ok(cited(events).includes("src/sorting.py"));
  assert.match(said(events), /Searching by words only: the question has no vector/);
  assert.ok(Date.now() - began < 20000);
  await server.stop();
});

test("kill -9 in the middle and restart: what was stored is not sent again", async () => {
  const script = "dims=8+slow=0.3+run=kill";
  const repo = tempTree(many(300));
  const env = { OLLAMA_HOST: base(script), HEADWATER_EMBEDDER: "ollama:m" };
  const server = await start({ args: ["--allow-path", repo], env });
  await index(server, repo);
  const before = await waitFor(async () => { const s = await sourceOf(server); return s.vectors?.covered >= 64 && s.vectors; }, { what: "some vectors", ms: 20000 });
  await server.kill9();
  assert.ok(before.covered < before.total);
  const stored = (await log(script)).filter((r) => r.done).flatMap((r) => r.texts).slice(0, before.covered);
  await fetch(`http://127.0.0.1:${port}/_reset`, { method: "POST" });
  await server.restart({ env: { OLLAMA_HOST: base("dims=8+run=kill"), HEADWATER_EMBEDDER: "ollama:m" } });
  const { vectors } = await embedded(server); // nobody asked: the queue goes on by itself
  assert.equal(vectors.covered, vectors.total);
  const again = new Set((await log("dims=8+run=kill")).flatMap((r) => r.texts));
  assert.equal(stored.filter((t) => again.has(t)).length, 0);
  assert.ok(again.size >= vectors.total - before.covered - 64 && again.size <= vectors.total - before.covered);
  await server.stop();
});

test("an orderly stop in the middle: what was answered is kept; a command without a server searches by it", async () => {
  const repo = tempTree({ ...many(200), ...TREE });
  const env = { OLLAMA_HOST: base("dims=64+alike=vessel~ferry+slow=0.2+run=term"), HEADWATER_EMBEDDER: "ollama:m" };
  const server = await start({ args: ["--allow-path", repo], env });
  await index(server, repo);
  const { covered } = await waitFor(async () => { const s = await sourceOf(server); return s.vectors?.covered >= 64 && s.vectors; }, { what: "some vectors", ms: 20000 });
  const { code } = await server.stop();
  assert.equal(code, 0);
  await server.restart({ env: { ...env, OLLAMA_HOST: base("dims=64+alike=vessel~ferry+run=term2") } });
  const { vectors } = await embedded(server);
  const again = (await log("dims=64+alike=vessel~ferry+run=term2")).flatMap((r) => r.texts).length;
  assert.ok(again <= vectors.total - covered, `${again} of ${vectors.total}, ${covered} were there`);
  await server.stop();
  const args = ["search", repo, "vessel", "--json", "--data", server.dataDir];
  const { json } = await cli(args, { env: { OLLAMA_HOST: base("dims=64+alike=vessel~ferry+run=term3"), HEADWATER_EMBEDDER: "ollama:m" } });
  assert.equal(json.hits[0].path, "docs/harbour.md");
  assert.equal((await log("dims=64+alike=vessel~ferry+run=term3")).flatMap((r) => r.texts).length, 1, "the question, no passage");
  assert.deepEqual((await cli(args)).json.hits, []);
});

test("the queue can be stopped, and a new index goes on with it", () =>
  serving({ OLLAMA_HOST: base("dims=8+slow=0.2+run=stop"), HEADWATER_EMBEDDER: "ollama:m" }, many(300), async (server, repo) => {
    await index(server, repo);
    const { vectors } = await embedded(server, "embedding");
    const { status } = await server.http("POST", `/v1/streams/${vectors.stream}/stop`);
    assert.ok(status < 300, String(status));
    const stopped = await embedded(server, "stopped");
    assert.match(stopped.vectors.why, /stopped on request/);
    assert.ok(stopped.vectors.covered < stopped.vectors.total);
  }));

test("a change is searched by vectors again, only what is new was sent, and --explain says who found what", () => {
  const script = "dims=64+alike=vessel~ferry+run=change";
  return serving(openai(script), TREE, async (server, repo) => {
    await index(server, repo);
    await embedded(server);
    const first = (await log(script)).flatMap((r) => r.texts).length;
    for (let i = 0; i < 12; i++) { // segments pile up and are merged on the way
      fs.writeFileSync(path.join(repo, `src/more${i}.py`), `def more${i}(x):\n    """Turns the wheel number ${i}."""\n    return x * ${i}\n`);
      await index(server, repo);
    }
    const searched = () => server.http("POST", "/v1/search", { json: { source: repo, query: "vessel", explain: true } });
    const hit = await waitFor(async () => (await searched()).json.hits.find((h) => h.path === "docs/harbour.md"), { what: "a hit by vectors", ms: 20000 });
    assert.deepEqual([hit.word_rank, hit.vector_rank], [null, 1]);
    const merges = /headwater_index_merges_total (\d+)/.exec(await (await fetch(`${server.url}/metrics`)).text());
    assert.ok(Number(merges?.[1]) > 0, "segments were merged");
    const { vectors } = await embedded(server);
    assert.equal(vectors.covered, vectors.total);
    const texts = (await log(script)).flatMap((r) => r.texts).filter((text) => text !== "vessel");
    assert.equal(new Set(texts).size, texts.length, "no text is sent twice");
    assert.equal(texts.length, vectors.total);
    assert.ok(first < texts.length);
  });
});

const vectorFiles = (dir) => fs.readdirSync(path.join(dir, "index")).filter((f) => f.endsWith(".hwv"));

test("a source that is removed takes its vectors along, also while they are made; a file without a source is swept", async () => {
  const data = { HEADWATER_EMBEDDER: "ollama:m" };
  const repo = tempTree(many(300));
  const server = await start({ args: ["--allow-path", repo], env: { ...data, OLLAMA_HOST: base("dims=8+slow=0.3+run=remove") } });
  await index(server, repo);
  const source = await waitFor(async () => { const s = await sourceOf(server); return s.vectors?.covered > 0 && s; }, { what: "some vectors", ms: 20000 });
  assert.equal(source.vectors.state, "embedding");
  assert.equal(vectorFiles(server.dataDir).length, 1);
  const { code, stderr } = await cli(["sources", "--remove", source.name, "--data", server.dataDir]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(vectorFiles(server.dataDir), []);
  const { events } = await server.sse(`/v1/streams/${source.vectors.stream}/events`);
  let done;
  for await (const e of events) if (e.event === "done") { done = JSON.parse(e.data); break; }
  assert.equal(done.reason, "cancelled");
  assert.deepEqual(vectorFiles(server.dataDir), []);
  fs.writeFileSync(path.join(server.dataDir, "index", "0123456789abcdef-01234567.hwv"), "left behind");
  await server.restart({ env: { ...data, OLLAMA_HOST: base("dims=8+run=remove2") } });
  assert.deepEqual(vectorFiles(server.dataDir), []);
  await index(server, repo);
  await embedded(server);
  const kept = vectorFiles(server.dataDir);
  assert.equal(kept.length, 1);
  await server.restart({ env: { ...data, OLLAMA_HOST: base("dims=8+run=remove3") } });
  await embedded(server);
  assert.deepEqual(vectorFiles(server.dataDir), kept);
  assert.deepEqual(await log("dims=8+run=remove3"), [], "what is there is not sent again");
  await server.stop();
});

test("doctor says which embedder is configured and what it would contact", async () => {
  const { stdout } = await cli(["doctor"], { env: openai("run=doctor") });
  assert.match(stdout, /embedder +openai text-embedding-3-small; passages and questions are sent to http:\/\/127\.0\.0\.1:/);
  assert.match((await cli(["doctor"], { env: { OPENAI_API_KEY: "k" } })).stdout, /embedder +none; no passage is sent anywhere/);
  assert.match((await cli(["doctor"], { env: { DEEPWIKI_EMBEDDER_TYPE: "openai" } })).stdout, /fail +embedder +.*OPENAI_API_KEY must be set/);
});
