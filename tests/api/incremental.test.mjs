// What happens to an index when files change: only what changed is done, what is asked is answered from the newest,
// and no kill or damage costs more than the files it hit.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { cli, start, tempDir, tempTree } from "./harness.mjs";

const N = 120;
const text = (i, word = "") =>
  `// Module ${i} ${word}\nint compute_${i}(int a)\n{\n    return a + ${i};\n}\n\n` + `int spare_${i};\n`.repeat(40);
const makeTree = () => tempTree(Object.fromEntries(Array.from({ length: N }, (_, i) => [`src/m${i}.c`, text(i)])));
const indexDir = (server) => path.join(server.dataDir, "index");
const files = (server, ending) => fs.readdirSync(indexDir(server)).filter((f) => f.endsWith(ending));

async function indexNow(server, source, more = {}) {
  const { events } = await server.sse("/v1/sources", { method: "POST", json: { source, ...more } });
  const all = [];
  for await (const e of events) all.push({ event: e.event, data: JSON.parse(e.data) });
  assert.equal(all.at(-1).data.reason, "stop", JSON.stringify(all.slice(-3)));
  return all.filter((e) => e.event === "status").map((e) => e.data.message);
}

async function search(server, source, query, k = 3) {
  const { json } = await server.http("POST", "/v1/search", { json: { source, query, k } });
  return json.hits;
}

// The search's index may be renewed behind it: asks until the index says that nothing has changed.
async function settled(server, source) {
  for (;;) {
    const said = await indexNow(server, source);
    if (/Nothing has changed/.test(said.at(-1))) return;
  }
}

test("an index run says what it did, and does no more than that", async () => {
  const repo = makeTree();
  const server = await start({ args: ["--allow-path", repo] });
  assert.match((await indexNow(server, repo)).at(-1), /^Indexed 120 files \(0 left out\) in /);
  await settled(server, repo);
  fs.writeFileSync(path.join(repo, "src/m7.c"), text(7, "zanzibar"));
  fs.rmSync(path.join(repo, "src/m8.c"));
  assert.match((await indexNow(server, repo)).at(-1), /^1 file changed, 1 removed, 118 unchanged \(0 left out\) in /);
  assert.equal((await search(server, repo, "zanzibar"))[0].path, "src/m7.c");
  assert.ok(!(await search(server, repo, "compute_8", 10)).some((h) => h.path === "src/m8.c"));
  fs.renameSync(path.join(repo, "src/m9.c"), path.join(repo, "src/moved.c"));
  fs.utimesSync(path.join(repo, "src/m10.c"), new Date(), new Date());
  assert.match((await indexNow(server, repo)).at(-1), /^1 file added, 1 removed, 118 unchanged/);
  assert.equal((await search(server, repo, "compute_9"))[0].path, "src/moved.c");
  assert.match((await indexNow(server, repo, { force: true })).at(-1), /^Indexed 119 files/);
  assert.equal(files(server, ".hwi").length, 1);
  await server.stop();
});

test("hits and scores after many changes are those of an index made anew", async () => {
  const repo = makeTree();
  const server = await start({ args: ["--allow-path", repo] });
  await indexNow(server, repo);
  for (let round = 0; round < 12; round++) {
    fs.writeFileSync(path.join(repo, `src/m${round * 3}.c`), text(round * 3, `tundra ${"steppe ".repeat(round)}`));
    if (round % 3 === 0) fs.rmSync(path.join(repo, `src/m${round + 60}.c`));
    await indexNow(server, repo);
  }
  const questions = ["tundra", "steppe module", "compute_9 spare", "return a"];
  const before = [];
  for (const q of questions) before.push(await search(server, repo, q, 20));
  await indexNow(server, repo, { force: true });
  for (const [i, q] of questions.entries()) assert.deepEqual(await search(server, repo, q, 20), before[i], q);
  assert.ok(files(server, ".hwi").length <= 9);
  await server.stop();
});

test("kill -9 at any moment: the next start answers, from the newest files", async () => {
  const repo = makeTree();
  const server = await start({ args: ["--allow-path", repo] });
  await indexNow(server, repo);
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 20; i++) fs.writeFileSync(path.join(repo, `src/m${i}.c`), text(i, `round${round}x`));
    const job = indexNow(server, repo).catch(() => "cut");
    await new Promise((r) => setTimeout(r, round * 12));
    await server.kill9();
    await job;
    await server.restart();
    assert.deepEqual(files(server, ".partial"), []);
    const said = await indexNow(server, repo);
    assert.ok(!said.some((m) => /damaged|cannot be used/.test(m)), said.join("\n"));
    assert.match((await search(server, repo, `round${round}x`))[0].text, new RegExp(`round${round}x`));
    assert.equal((await server.http("GET", "/v1/sources")).json.sources[0].files, N);
  }
  await server.stop();
});

test("a damaged segment costs its files only, and the run says so", async () => {
  const repo = makeTree();
  const server = await start({ args: ["--allow-path", repo] });
  await indexNow(server, repo);
  const base = files(server, ".hwi")[0];
  for (const i of [1, 2, 3]) fs.writeFileSync(path.join(repo, `src/m${i}.c`), text(i, "savanna"));
  await indexNow(server, repo);
  await settled(server, repo);
  const [delta] = files(server, ".hwi").filter((f) => f !== base);
  await server.stop();
  const file = path.join(indexDir(server), delta);
  const bytes = fs.readFileSync(file);
  bytes[bytes.indexOf("savanna")] ^= 1;
  fs.writeFileSync(file, bytes);
  await server.restart();
  const said = await indexNow(server, repo);
  assert.ok(said.some((m) => /damaged part .* set aside; its files are indexed again/.test(m)), said.join("\n"));
  assert.match(said.at(-1), /^3 files added, 117 unchanged/);
  assert.equal((await search(server, repo, "savanna")).length, 3);
  assert.equal(fs.readdirSync(indexDir(server)).filter((f) => /\.damaged-1$/.test(f)).length, 1);
  await server.stop();
});

test("a file that is left out is not counted as indexed, nor is one file files", async () => {
  const dir = tempTree({ "empty.py": "", "one.py": "print(1)\n" });
  const empty = await cli(["index", path.join(dir, "empty.py"), "--data", tempDir()]);
  assert.match(empty.stderr, /Indexed 0 files \(1 left out\)/);
  assert.match(empty.stdout, /^note: there is nothing to search in it$/m);
  assert.match((await cli(["index", dir, "--data", tempDir()])).stderr, /Indexed 1 file \(1 left out\)/);
});
