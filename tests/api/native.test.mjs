// Sources, search, files and the command line against the real program.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { BIN, ROOT, cli, start, tempDir, tempTree } from "./harness.mjs";

const TREE = {
  "a.py": "def alpha_decay(rate):\n    \"\"\"Computes the decay of alpha particles.\"\"\"\n    return rate * 2\n",
  "docs/guide.md": "# Guide\n\nThe particle guide explains decay in depth.\n\n## Install\n\nRun `pip install particles`.\n",
  ".gitignore": "secret.txt\nout/\n",
  "secret.txt": "hidden words\n",
  "out/gen.py": "generated = 1\n",
  "photo.dat": Buffer.from([0, 1, 2, 3, 0, 255]),
};
let server, repo;
before(async () => {
  repo = tempTree(TREE);
  server = await start({ args: ["--allow-path", repo] });
});
after(() => server.stop());

async function indexNow(source, more = {}) {
  const { events } = await server.sse("/v1/sources", { method: "POST", json: { source, ...more } });
  const all = [];
  for await (const e of events) all.push({ event: e.event, data: JSON.parse(e.data) });
  return all;
}

test("indexing is a stream with progress and a summary, and nothing is done twice", async () => {
  const first = await indexNow(repo, { name: "particles" });
  assert.equal(first.at(-1).data.reason, "stop");
  assert.ok(first.some((e) => e.event === "status" && e.data.stage === "ready"));
  const again = await indexNow("particles");
  assert.match(again.find((e) => e.event === "status").data.message, /Nothing has changed/);
  const { sources } = (await server.http("GET", "/v1/sources")).json;
  assert.equal(sources.length, 1);
  assert.equal(sources[0].name, "particles");
  assert.equal(sources[0].state, "ready");
  assert.equal(sources[0].location, fs.realpathSync(repo));
  assert.ok(sources[0].files >= 2);
});

test("what was left out is listed with its reason", async () => {
  const { skipped, total } = (await server.http("GET", "/v1/sources/particles/skipped")).json;
  const reason = (p) => skipped.find((s) => s.path.startsWith(p))?.reason || "";
  assert.ok(total >= 3);
  assert.match(reason("photo.dat"), /binary/i);
  assert.match(reason("secret.txt"), /ignore/i);
});

test("search finds by word and by identifier, says which lines, and explains itself", async () => {
  const find = async (query, more = {}) => (await server.http("POST", "/v1/search", { json: { source: "particles", query, ...more } })).json;
  const byName = await find("alpha decay", { explain: true });
  assert.equal(byName.hits[0].path, "a.py");
  assert.equal(byName.hits[0].start, 1);
  assert.ok(byName.hits[0].terms.some((t) => t.term === "alpha" && t.weight > 0));
  const scores = byName.hits.map((h) => h.score);
  assert.deepEqual(scores, [...scores].sort((a, b) => b - a));
  const prose = await find("how to install");
  assert.equal(prose.hits[0].path, "docs/guide.md");
  const none = await find("zzyzx qwrt");
  assert.equal(none.hits.length, 0);
  assert.ok(none.note.length > 10);
  assert.ok((await find("hidden words")).hits.every((h) => h.path !== "secret.txt"));
});

test("a file's lines come with the hash of their bytes", async () => {
  const { json } = await server.http("GET", "/v1/sources/particles/file?path=docs%2Fguide.md&start=5&end=7");
  assert.equal(json.text, "## Install\n\nRun `pip install particles`.\n");
  assert.equal(json.total_lines, 7);
  assert.match(json.hash, /^[0-9a-f]{64}$/);
  for (const p of ["../../etc/passwd", "/etc/passwd", "secret.txt"]) {
    const no = await server.http("GET", `/v1/sources/particles/file?path=${encodeURIComponent(p)}`);
    assert.equal(no.status, 404);
  }
});

test("an edit is seen by the next answer", async () => {
  fs.writeFileSync(path.join(repo, "new.py"), "def quark_confinement():\n    \"\"\"Keeps quarks together with gluons.\"\"\"\n    return 3\n");
  await new Promise((r) => setTimeout(r, 2100)); // the tree is looked at at most every two seconds
  const { text } = await server.http("POST", "/chat/completions/stream", { json: { repo_url: "particles", messages: [{ role: "user", content: "what does quark confinement do?" }] } });
  assert.match(text, /new\.py#L\d+/);
});

test("bad requests say what is wrong", async () => {
  for (const [method, target, json, status, words] of [
    ["POST", "/v1/search", { source: "particles" }, 400, /query is missing/],
    ["POST", "/v1/search", { source: "particles", query: "x", k: 0 }, 400, /k must be/],
    ["POST", "/v1/search", { source: "nope", query: "x" }, 403, /not a source of this server/],
    ["POST", "/v1/sources", {}, 400, /source is missing/],
    ["POST", "/v1/sources", { source: "https://example.org/a/b" }, 403, /does not fetch from/],
    ["POST", "/v1/answers", { repo_url: "x", messages: [] }, 400, /last message/],
    ["POST", "/v1/answers", { messages: [] }, 400, /repo_url: Field required/],
  ]) {
    const r = await server.http(method, target, { json });
    assert.equal(r.status, status, `${target} ${JSON.stringify(json)} ${r.text}`);
    assert.match(r.headers.get("content-type"), /^application\/problem\+json/);
    assert.match(r.json.detail, words);
    assert.ok(r.json.code);
  }
});

test("the command line alone: ask, ask --json, search, sources, index --report", async () => {
  const data = tempDir();
  const ask = await cli(["ask", repo, "what computes alpha decay?", "--data", data]);
  assert.equal(ask.code, 0, ask.stderr);
  assert.match(ask.stdout, /a\.py#L\d+/);
  const json = await cli(["ask", repo, "what computes alpha decay?", "--json", "--data", data]);
  assert.equal(json.json.provider, "local");
  assert.ok(json.json.answer.includes("a.py#L"));
  for (const c of json.json.citations) {
    assert.deepEqual(Object.keys(c).slice(0, 5), ["path", "start", "end", "revision", "state"]);
    assert.equal(c.state, "verified");
  }
  assert.ok(json.json.usage.completion_tokens > 0);
  const search = await cli(["search", repo, "alpha decay", "-k", "1", "--json", "--data", data]);
  assert.equal(search.json.hits[0].path, "a.py");
  const sources = await cli(["sources", "--json", "--data", data]);
  assert.equal(sources.json.sources.length, 1);
  const report = await cli(["index", repo, "--report", "--data", data]);
  assert.match(report.stdout + report.stderr, /photo\.dat/);
});

test("wrong command lines end with 2 and a hint, failures with 1", async () => {
  const typo = await cli(["asq"]);
  assert.equal(typo.code, 2);
  assert.match(typo.stderr, /ask/);
  assert.equal((await cli(["ask", "--no-such-flag"])).code, 2);
  const missing = await cli(["ask", "/no/such/folder", "hi", "--data", tempDir()]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /\/no\/such\/folder/);
  const open = await cli(["serve", "--listen", "0.0.0.0:0", "--data", tempDir()]);
  assert.equal(open.code, 2);
  assert.match(open.stderr, /insecure/);
});

test("help, manual, completion and doctor work", async () => {
  for (const args of [["--help"], ["ask", "--help"], ["help", "--man"], ["completion", "bash"], ["--version"]]) {
    const r = await cli(args);
    assert.equal(r.code, 0, args.join(" "));
    assert.ok(r.stdout.length > 10);
  }
  const doctor = await cli(["doctor", "--json", "--data", tempDir()]);
  assert.ok(doctor.json);
});

test("two servers cannot share a data directory; the second says who holds it", async () => {
  const second = await cli(["serve", "--listen", "127.0.0.1:0", "--data", server.dataDir]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /in use|held|another/i);
});

test("the sample repository answers the question that dev/run prints", async () => {
  const r = await cli(["ask", path.join(ROOT, "share/sample/tidewatch"), "How are failed gauge readings retried?", "--data", tempDir()]);
  assert.equal(r.code, 0, r.stderr);
  assert.match(r.stdout, /tidewatch\/retry\.py#L\d+/);
  assert.ok(fs.existsSync(BIN));
});
