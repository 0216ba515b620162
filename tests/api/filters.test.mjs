// Which files a request wants: DeepWiki's lists, patterns of /v1 and of the command line, each set with an index of its own.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cli, start, tempDir, tempTree } from "./harness.mjs";

const about = (what) => `def ${what}_retry(attempt):\n    """Decides in ${what} whether a crossing is retried."""\n    return attempt < 5\n`;
const TREE = {
  "README.md": "# Ferry\n\nFerry decides whether a crossing is retried.\n",
  "src/core.py": about("core"),
  "src/build/made.py": about("made"),
  "build/other.py": about("other"),
  "web/app.min.js": "// decides whether a crossing is retried\nfunction a() { return 1; }\n",
  "web/page.js": "// Decides whether a crossing is retried on the page.\nfunction pageRetry(attempt) {\n  return attempt < 5;\n}\n",
  ".gitignore": "web/app.min.js\nlocal/\n",
  ".headwaterignore": "!local/\n",
  "local/taken.py": about("taken"),
};
const QUESTION = "where is decided whether a crossing is retried?";
let server, repo;

before(async () => {
  repo = tempTree(TREE);
  server = await start({ args: ["--allow-path", repo] });
});
after(async () => {
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
});

const body = (filters) => ({ repo_url: repo, messages: [{ role: "user", content: QUESTION }], ...filters });
const cited = (text) => [...new Set([...text.matchAll(/\b([\w/.-]+\.(?:py|js|md))#L/g)].map((m) => m[1]))].sort();
async function ws(filters) {
  const socket = await server.ws("/ws/chat");
  socket.send(body(filters));
  const { code, text } = await socket.untilClose();
  assert.equal(code, 1000, text);
  return cited(text);
}
async function http(filters) {
  const { status, text } = await server.http("POST", "/chat/completions/stream", { json: body(filters) });
  assert.equal(status, 200, text);
  return cited(text);
}
async function search(filters) {
  const { status, json, text } = await server.http("POST", "/v1/search", { json: { source: repo, query: QUESTION, k: 50, ...filters } });
  assert.equal(status, 200, text);
  return [...new Set(json.hits.map((h) => h.path))].sort();
}
const sources = async () => (await server.http("GET", "/v1/sources")).json.sources;

test("without filters everything but what is ignored is read, and .headwaterignore takes back in", async () => {
  assert.deepEqual(await search({}), ["README.md", "build/other.py", "local/taken.py", "src/build/made.py", "src/core.py", "web/page.js"]);
});

test("two chats with different filters see different files at the same time", async () => {
  const [first, second] = await Promise.all([ws({ included_dirs: "src" }), http({ included_dirs: "web\nlocal" })]);
  assert.ok(first.length && first.every((p) => p.startsWith("src/")), first.join(" "));
  assert.ok(second.length && second.every((p) => /^(web|local)\//.test(p)), second.join(" "));
});

test("a chat reads only what is included", async () => {
  assert.deepEqual(await ws({ included_files: ".md" }), ["README.md"]);
  assert.deepEqual(await http({ included_files: ".md" }), ["README.md"]);
});

test("excluded_dirs: a name anywhere, a path at the root of the repository", async () => {
  assert.ok(!(await ws({ excluded_dirs: "src\nbuild\nlocal\nweb" })).some((p) => /\.(py|js)$/.test(p)));
  assert.deepEqual(await search({ exclude: ["src/build/"] }), ["README.md", "build/other.py", "local/taken.py", "src/core.py", "web/page.js"]);
  assert.deepEqual(await search({ exclude: ["build/", "/local"] }), ["README.md", "src/core.py", "web/page.js"]);
});

test("globs choose files: *.js, src/**/*.py", async () => {
  assert.deepEqual(await search({ exclude: ["*.min.js", "*.py"] }), ["README.md", "web/page.js"]);
  assert.deepEqual(await search({ include: ["src/**/*.py"] }), ["src/build/made.py", "src/core.py"]);
});

test("one filter written in four ways is one index", async () => {
  for (const filters of [
    { excluded_dirs: "local\nsrc/build", excluded_files: "*.md" },
    { excluded_dirs: " ./src/build/ , local/ ,local", excluded_files: "%2A.md" },
    { excluded_dirs: "src%2Fbuild\r\n\r\nlocal\r\n", excluded_files: "\n*.md\n" },
  ])
    await ws(filters);
  await search({ exclude: ["local/", "/src/build/", "*.md"] });
  const same = (await sources()).filter((s) => s.filters.join(" ") === "-*.md -/src/build/ -local/");
  assert.equal(same.length, 1);
  assert.equal(same[0].location, repo);
  assert.match(same[0].name, /~[0-9a-f]{8}$/);
});

test("a source with filters can be asked by its name, and keeps them over a restart", async () => {
  await search({ include: ["web/"] });
  const row = (await sources()).find((s) => s.filters.join(" ") === "+web/");
  await server.restart();
  const { json } = await server.http("POST", "/v1/search", { json: { source: row.name, query: QUESTION } });
  assert.deepEqual([...new Set(json.hits.map((h) => h.path))], ["web/page.js"]);
});

test("bad filters are refused with the reason", async () => {
  for (const filters of [{ include: "src" }, { exclude: [1] }, { exclude: [""] }, { include: ["a\nb"] }]) {
    const { status, json } = await server.http("POST", "/v1/search", { json: { source: repo, query: "x", ...filters } });
    assert.equal(status, 400);
    assert.match(JSON.stringify(json), /include|exclude|filter/);
  }
  const { status } = await server.http("POST", "/chat/completions/stream", { json: body({ excluded_dirs: 5 }) });
  assert.equal(status, 422);
});

test("a server's own filters hold for requests that bring none", async () => {
  const other = await start({ args: ["--allow-path", repo, "--include", "*.md", "--include", "web/"] });
  const find = async (filters) => {
    const { json } = await other.http("POST", "/v1/search", { json: { source: repo, query: QUESTION, k: 50, ...filters } });
    return [...new Set(json.hits.map((h) => h.path))].sort();
  };
  assert.deepEqual(await find({}), ["README.md", "web/page.js"]);
  assert.deepEqual(await find({ include: ["src/"] }), ["src/build/made.py", "src/core.py"]);
  await other.stop();
});

test("the command line: --include and --exclude, given several times", async () => {
  const data = tempDir();
  const run = async (...args) => {
    const r = await cli([...args, "--json", "--data", data]);
    assert.equal(r.code, 0, r.stderr);
    return r.json;
  };
  const indexed = await run("index", repo, "--include", "src/", "--exclude", "src/build/");
  assert.equal(indexed.source.files, 1);
  assert.deepEqual(indexed.source.filters, ["+src/", "-/src/build/"]);
  const found = await run("search", repo, QUESTION, "--exclude", "*.py", "--exclude", "README.md");
  assert.deepEqual([...new Set(found.hits.map((h) => h.path))], ["web/page.js"]);
  assert.match((await cli(["index", repo, "--include", "[", "--data", data])).stdout, /^note: no file is left to search; check the filters$/m);
  const answer = await run("ask", repo, QUESTION, "--include", "local");
  assert.deepEqual([...new Set(answer.citations.map((c) => c.path))], ["local/taken.py"]);
});
