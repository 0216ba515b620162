// What goes wrong around the program: work that is stopped, killed or drained while it runs, data that is lost or
// damaged, callers who try what they may not.
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { test } from "node:test";
import { cli, start, tempDir, tempTree, waitFor } from "./harness.mjs";

const TREE = {
  "a.py": 'def alpha_decay(rate):\n    """Computes the decay of alpha particles."""\n    return rate * 2\n',
  "docs/guide.md": "# Guide\n\nThe particle guide explains decay in depth.\n",
};
const PROMPT_MS = 500; // "at once" on a loaded machine; the promise is 100 ms

const user = (content) => [{ role: "user", content }];
const ask = (repo_url) => ({ repo_url, messages: user("How does alpha decay work?") });
const indexFiles = (dataDir) => fs.readdirSync(path.join(dataDir, "index"));

// A symbol program that never answers: indexing any code takes as long as it is given.
function slowCtags() {
  const dir = tempDir("bin");
  fs.writeFileSync(path.join(dir, "ctags"), "#!/bin/sh\nexec sleep 60\n", { mode: 0o755 });
  return { PATH: `${dir}:${process.env.PATH}` };
}

const childrenOf = (pid) =>
  fs.readdirSync(`/proc/${pid}/task`).flatMap((t) => {
    try {
      return fs.readFileSync(`/proc/${pid}/task/${t}/children`, "utf8").trim().split(" ").filter(Boolean);
    } catch {
      return [];
    }
  });

async function events(server, id) {
  const { events: stream } = await server.sse(`/v1/streams/${id}/events`);
  const all = [];
  for await (const e of stream) all.push({ event: e.event, data: JSON.parse(e.data) });
  return all;
}

async function answer(server, source) {
  const { stream_id } = (await server.http("POST", "/v1/answers", { json: ask(source) })).json;
  return events(server, stream_id);
}

async function indexNow(server, source, more = {}) {
  const { events: stream } = await server.sse("/v1/sources", { method: "POST", json: { source, ...more } });
  const all = [];
  for await (const e of stream) all.push({ event: e.event, data: JSON.parse(e.data) });
  return all;
}

// Starts the indexing of a source and waits until its symbol program runs.
async function indexingStarted(server, source) {
  const { stream_id } = (await server.http("POST", "/v1/sources", { json: { source } })).json;
  await waitFor(() => childrenOf(server.pid).length > 0, { what: "the symbol program" });
  return stream_id;
}

test("a stopped answer ends at once while the index job that it waits for goes on", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo], env: slowCtags() });
  const job = await indexingStarted(server, repo);
  const { stream_id } = (await server.http("POST", "/v1/answers", { json: ask(repo) })).json;
  const other = (await server.http("POST", "/v1/answers", { json: ask(repo) })).json.stream_id;
  await new Promise((r) => setTimeout(r, 200));
  const began = Date.now();
  assert.equal((await server.http("POST", `/v1/streams/${stream_id}/stop`)).status, 200);
  const all = await events(server, stream_id);
  assert.ok(Date.now() - began < PROMPT_MS, `took ${Date.now() - began} ms`);
  assert.equal(all.at(-1).data.reason, "cancelled");
  assert.equal((await server.http("POST", `/v1/streams/${other}/stop`)).status, 200, "the other answer still ran");
  assert.equal((await server.http("POST", `/v1/streams/${job}/stop`)).status, 200, "the job still ran");
  assert.equal((await server.stop()).code, 0);
});

test("stopping an index job ends its symbol program, tells who waited, and leaves no file", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo], env: slowCtags() });
  const job = await indexingStarted(server, repo);
  const { stream_id } = (await server.http("POST", "/v1/answers", { json: ask(repo) })).json;
  await new Promise((r) => setTimeout(r, 200));
  assert.equal((await server.http("GET", "/v1/sources")).json.sources[0].state, "indexing");
  const began = Date.now();
  await server.http("POST", `/v1/streams/${job}/stop`);
  assert.equal((await events(server, job)).at(-1).data.reason, "cancelled");
  assert.ok(Date.now() - began < PROMPT_MS, `took ${Date.now() - began} ms`);
  const waited = await events(server, stream_id);
  assert.equal(waited.at(-1).data.reason, "error", "the answer itself was not stopped");
  assert.match(waited.find((e) => e.event === "error").data.message, /indexing of this source was stopped/);
  await waitFor(() => childrenOf(server.pid).length === 0, { what: "the symbol program's end" });
  await waitFor(() => indexFiles(server.dataDir).length === 0, { what: "an empty index folder" });
  assert.equal((await server.stop()).code, 0);
});

test("a job that is still queued can be stopped: it is over at once", async () => {
  const repos = Array.from({ length: 12 }, () => tempTree(TREE));
  const server = await start({ args: repos.flatMap((r) => ["--allow-path", r]), env: slowCtags() });
  await indexingStarted(server, repos[0]);
  let last;
  for (const r of repos.slice(1)) last = (await server.http("POST", "/v1/sources", { json: { source: r } })).json.stream_id;
  const { stream_id } = (await server.http("POST", "/v1/answers", { json: ask(repos.at(-1)) })).json;
  await new Promise((r) => setTimeout(r, 200));
  const began = Date.now();
  await server.http("POST", `/v1/streams/${last}/stop`);
  assert.equal((await events(server, last)).at(-1).data.reason, "cancelled");
  assert.equal((await events(server, stream_id)).at(-1).data.reason, "error");
  assert.ok(Date.now() - began < PROMPT_MS, `took ${Date.now() - began} ms`);
  assert.equal((await server.stop()).code, 0);
});

test("searches that wait for indexing hold up nobody, and end with their clients", async () => {
  const ready = tempTree(TREE);
  const slow = tempTree(TREE);
  fs.rmSync(path.join(ready, "a.py")); // prose only: needs no symbol program
  const server = await start({ args: ["--allow-path", ready, "--allow-path", slow], env: slowCtags() });
  await indexNow(server, ready, { name: "ready" });
  const leave = new AbortController();
  const waiting = Array.from({ length: 64 }, () =>
    server.stream("POST", "/v1/search", { json: { source: slow, query: "decay" }, signal: leave.signal }).catch((e) => e.name),
  );
  await waitFor(() => childrenOf(server.pid).length > 0, { what: "the symbol program" });
  const began = Date.now();
  const hits = (await server.http("POST", "/v1/search", { json: { source: "ready", query: "guide" }, timeout: 5000 })).json.hits;
  assert.ok(Date.now() - began < 1000, `took ${Date.now() - began} ms`);
  assert.equal(hits[0].path, "docs/guide.md");
  leave.abort();
  for (const w of await Promise.all(waiting)) assert.equal(w, "AbortError");
  assert.equal((await server.stop()).code, 0);
});

test("a search that waited gets its hits", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo] });
  const all = await Promise.all(
    Array.from({ length: 20 }, () => server.http("POST", "/v1/search", { json: { source: repo, query: "alpha decay" } })),
  );
  for (const r of all) assert.equal(r.json.hits?.[0].path, "a.py", r.text);
  assert.equal((await server.http("GET", "/v1/sources")).json.sources.length, 1, "one source, however many came at once");
  assert.equal((await server.stop()).code, 0);
});

test("whoever asks after a job's end gets a job of his own", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo] });
  const ids = new Set();
  for (let i = 0; i < 20; i++) {
    const response = await server.stream("POST", "/v1/sources", {
      json: { source: repo, force: true },
      headers: { accept: "text/event-stream" },
    });
    ids.add(response.headers.get("x-stream-id"));
    assert.match(await response.text(), /"reason":"stop"/);
  }
  assert.equal(ids.size, 20);
  await server.stop();
});

test("SIGTERM while indexing, with clients that wait: over within the drain's time", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo, "--drain-timeout", "2s"], env: slowCtags() });
  const job = await indexingStarted(server, repo);
  const read = server.stream("GET", `/v1/streams/${job}/events`).then((r) => r.text()).catch(() => "cut");
  const search = server.stream("POST", "/v1/search", { json: { source: repo, query: "decay" } }).catch(() => "cut");
  await new Promise((r) => setTimeout(r, 200));
  const began = Date.now();
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  assert.ok(Date.now() - began < 2500, `took ${Date.now() - began} ms`);
  await Promise.all([read, search]);
  assert.deepEqual(indexFiles(server.dataDir), []);
  await server.restart({ env: {} });
  assert.equal((await server.http("GET", "/v1/sources")).json.sources[0].state, "new");
  assert.equal((await answer(server, repo)).at(-1).data.reason, "stop");
  await server.stop();
});

test("kill -9 while indexing: nothing is left over and the next question is answered", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo], env: slowCtags() });
  const job = await indexingStarted(server, repo);
  const orphans = childrenOf(server.pid);
  await server.kill9();
  for (const pid of orphans) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // it has ended with its parent
    }
  }
  for (const name of ["aaaaaaaaaaaaaaaa-bbbbbbbb.hwi", "aaaaaaaaaaaaaaaa.hwm", "aaaaaaaaaaaaaaaa-cccccccc.hwi.partial"])
    fs.writeFileSync(path.join(server.dataDir, "index", name), "nobody's");
  fs.writeFileSync(path.join(server.dataDir, "index", "notes.txt"), "a person's");
  await server.restart({ env: {} });
  assert.deepEqual(indexFiles(server.dataDir), ["notes.txt"]);
  assert.equal((await events(server, job)).at(-1).data.reason, "interrupted");
  assert.equal((await server.http("GET", "/v1/sources")).json.sources[0].state, "new");
  assert.equal((await answer(server, repo)).at(-1).data.reason, "stop");
  await server.stop();
});

test("an index that is damaged or gone is built again, and the answer says so", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo] });
  await indexNow(server, repo);
  const spoil = [
    (file) => {
      const bytes = fs.readFileSync(file);
      bytes[bytes.indexOf("Computes the decay")] ^= 1;
      fs.writeFileSync(file, bytes);
    },
    (file) => fs.truncateSync(file, 100),
    (file) => fs.rmSync(file),
  ];
  for (const harm of spoil) {
    await server.stop();
    const [file] = indexFiles(server.dataDir).filter((f) => f.endsWith(".hwi"));
    harm(path.join(server.dataDir, "index", file));
    await server.restart();
    const all = await answer(server, repo);
    assert.equal(all.at(-1).data.reason, "stop");
    assert.ok(all.some((e) => e.event === "status" && /cannot be used and is built again/.test(e.data.message)), JSON.stringify(all));
    assert.ok(all.some((e) => e.event === "citation" && e.data.path === "a.py" && e.data.state === "verified"));
    assert.equal(indexFiles(server.dataDir).filter((f) => f.endsWith(".hwi")).length, 1);
    assert.equal(indexFiles(server.dataDir).filter((f) => f.endsWith(".hwm")).length, 1);
  }
  await server.stop();
});

test("a folder that was deleted: answers and hits come from the last index, and say so", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo] });
  await indexNow(server, repo, { name: "gone" });
  await server.restart();
  fs.rmSync(repo, { recursive: true });
  const all = await answer(server, "gone");
  assert.equal(all.at(-1).data.reason, "stop");
  assert.ok(all.some((e) => e.event === "status" && /answering from the last index/.test(e.data.message)));
  assert.ok(all.some((e) => e.event === "citation"));
  const { sources } = (await server.http("GET", "/v1/sources")).json;
  assert.equal(sources[0].state, "ready");
  assert.match(sources[0].error, /cannot be read/);
  const shell = await cli(["search", "gone", "alpha decay", "--data", server.dataDir]);
  assert.equal(shell.code, 0, shell.stderr);
  assert.match(shell.stdout + shell.stderr, /from the last index/);
  await server.stop();
});

test("a folder that became a link to elsewhere is not read", async () => {
  const parent = tempDir("allowed");
  const elsewhere = tempTree({ "secret.md": "# Secret\n\nThe launch code is 0000.\n" });
  const repo = path.join(parent, "repo");
  fs.mkdirSync(repo);
  fs.writeFileSync(path.join(repo, "a.md"), "# Alpha\n\nAlpha decay explained.\n");
  const server = await start({ args: ["--allow-path", parent] });
  await indexNow(server, repo, { name: "repo" });
  fs.rmSync(repo, { recursive: true });
  fs.symlinkSync(elsewhere, repo);
  const again = await indexNow(server, "repo", { force: true });
  assert.match(again.find((e) => e.event === "error").data.message, /become a link/);
  const { hits } = (await server.http("POST", "/v1/search", { json: { source: "repo", query: "launch code" } })).json;
  assert.deepEqual(hits, []);
  const direct = await server.http("POST", "/v1/sources", { json: { source: elsewhere } });
  assert.equal(direct.status, 403);
  await server.stop();
});

test("names that could be taken for something else are refused, and clients do not rename", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo] });
  for (const name of ["/etc", "../x", ".hidden", "~root", "-x", "https://h/r", "git@h:r", "a\nb", "a//b", "a/../b", " a", "x".repeat(129), "a\\b"]) {
    const no = await server.http("POST", "/v1/sources", { json: { source: repo, name } });
    assert.equal(no.status, 400, name);
    assert.match(no.json.hint, /plain name/);
  }
  await indexNow(server, repo, { name: "owner/repo" });
  const other = await server.http("POST", "/v1/sources", { json: { source: "owner/repo", name: "mine" } });
  assert.equal(other.status, 403);
  // The command line may, and the name outlives the next index job.
  const shell = await cli(["index", repo, "--name", "renamed", "--data", server.dataDir]);
  assert.equal(shell.code, 0, shell.stderr);
  fs.writeFileSync(path.join(repo, "b.md"), "# B\n");
  await indexNow(server, "renamed", { force: true });
  await server.restart();
  assert.deepEqual((await server.http("GET", "/v1/sources")).json.sources.map((s) => s.name), ["renamed"]);
  await server.stop();
});

test("clients cannot find out what exists outside the allowed paths", async () => {
  const server = await start({ args: ["--allow-path", tempTree(TREE)] });
  const outside = tempDir("outside");
  const told = async (p) => {
    const r = await server.http("POST", "/v1/sources", { json: { source: p } });
    return { status: r.status, text: r.text.replaceAll(p, "PATH") };
  };
  const exists = await told(outside);
  assert.equal(exists.status, 403);
  assert.deepEqual(await told(`${outside}/no/such`), exists);
  assert.deepEqual(await told("/etc/shadow"), exists);
  assert.deepEqual(await told("/proc/self/fd/0"), exists);
  await server.stop();
});

test("the empty provider is a name that is not configured; no provider is the default", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo] });
  const empty = await server.http("POST", "/chat/completions/stream", { json: { ...ask(repo), provider: "" } });
  assert.equal(empty.status, 500);
  assert.deepEqual(empty.json, { detail: "Error preparing retriever: Configuration for provider '' not found" });
  const none = await server.http("POST", "/chat/completions/stream", { json: { ...ask(repo), provider: null } });
  assert.equal(none.status, 200);
  await server.stop();
});

test("error texts are valid UTF-8 however long what they quote is", async () => {
  const server = await start();
  for (const [field, value] of [["provider", `${"x".repeat(63)}ü`], ["repo_url", `/${"ü".repeat(1500)}`], ["repo_url", `/x${"ü".repeat(1500)}`]]) {
    const ws = await server.ws("/ws/chat");
    ws.send({ repo_url: "x", messages: user("hi"), [field]: value });
    const { code, text } = await ws.untilClose();
    assert.equal(code, 1000); // the client checks each text frame
    assert.match(text, /^Error preparing retriever: /);
    assert.ok(!text.includes("\ufffd"));
  }
  await server.stop();
});

test("local answers are the same bytes from two data directories", async () => {
  const files = Object.fromEntries(
    Array.from({ length: 60 }, (_, i) => [`m${i % 7}/f${i}.py`, `def alpha_${i}(rate):\n    """Alpha decay number ${i % 5} of the guide."""\n    return rate * ${i}\n`]),
  );
  const repo = tempTree(files);
  const texts = [];
  for (let i = 0; i < 2; i++) {
    const server = await start({ args: ["--allow-path", repo] });
    texts.push((await server.http("POST", "/chat/completions/stream", { json: ask(repo) })).text);
    await server.stop();
  }
  assert.ok(texts[0].length > 200);
  assert.equal(texts[0], texts[1]);
});

test("commands at the same time in a new data directory all succeed", async () => {
  const repo = tempTree(TREE);
  const data = path.join(tempDir(), "new");
  const all = await Promise.all(
    Array.from({ length: 6 }, () => cli(["ask", repo, "How does alpha decay work?", "--json", "--data", data])),
  );
  for (const r of all) {
    assert.equal(r.code, 0, r.stderr);
    assert.equal(r.json.answer, all[0].json.answer);
  }
});

test("a socket file that nobody answers is replaced", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo] });
  await indexNow(server, repo, { name: "kept" });
  await server.kill9();
  const socket = path.join(server.dataDir, "headwater.sock");
  assert.ok(fs.existsSync(socket), "kill -9 leaves it");
  const shell = await cli(["sources", "--json", "--data", server.dataDir]);
  assert.equal(shell.code, 0, shell.stderr);
  assert.equal(shell.json.sources[0].name, "kept");
  assert.ok(!fs.existsSync(socket));
  await server.restart();
  assert.equal((await cli(["sources", "--data", server.dataDir])).code, 0);
  await server.stop();
});

test("a disk that takes nothing more fails the index job in words and keeps the server", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo] });
  await indexNow(server, repo, { name: "kept" });
  const folder = path.join(server.dataDir, "index");
  fs.chmodSync(folder, 0o500);
  if (process.getuid() === 0) {
    // root writes anywhere: a file in the folder's place cannot be written into even so
    fs.renameSync(folder, `${folder}.away`);
    fs.writeFileSync(folder, "");
  }
  const failed = await indexNow(server, "kept", { force: true });
  assert.equal(failed.at(-1).data.reason, "error");
  assert.match(failed.find((e) => e.event === "error").data.message, /cannot create/);
  assert.equal((await answer(server, "kept")).at(-1).data.reason, "stop");
  assert.equal((await server.http("GET", "/v1/sources")).json.sources[0].state, "ready");
  if (process.getuid() === 0) {
    fs.rmSync(folder);
    fs.renameSync(`${folder}.away`, folder);
  }
  fs.chmodSync(folder, 0o700);
  assert.equal((await indexNow(server, "kept", { force: true })).at(-1).data.reason, "stop");
  await server.restart();
  assert.equal((await answer(server, "kept")).at(-1).data.reason, "stop");
  await server.stop();
});

test("clients that leave in the middle of anything leave a server that ends in order", async () => {
  const repo = tempTree(TREE);
  const server = await start({ args: ["--allow-path", repo, "--bench-source"] });
  const bodies = [
    ["/v1/search", { source: repo, query: "alpha" }],
    ["/v1/sources", { source: repo, force: true }],
    ["/v1/answers", ask(repo)],
    ["/chat/completions/stream", ask(repo)],
    ["/chat/completions/stream", { ...ask("-"), provider: "bench", model: "100000:64:200" }],
  ];
  for (let round = 0; round < 60; round++) {
    const [target, json] = bodies[round % bodies.length];
    const body = JSON.stringify(json);
    const socket = net.connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`POST ${target} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await new Promise((r) => setTimeout(r, round % 6));
    socket.destroy();
  }
  assert.equal((await server.http("GET", "/health")).status, 200);
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
});
