// Repositories of other machines: the real program against git's own http-backend, and against servers that misbehave.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { git, gitHost, Repo } from "./githost.mjs";
import { cli, start, tempDir, waitFor } from "./harness.mjs";

const TOKEN = "gt_S3cr3t/with+odd=chars%and:colon";
const FILES = {
  "README.md": "# Tide gauges\n\nReadings are retried three times.\n",
  "src/retry.py": "def retry_reading(gauge):\n    \"\"\"Reads a gauge again after a failure.\"\"\"\n    return gauge.read()\n",
};
const NO_TOKENS = { GITHUB_TOKEN: "", GITLAB_TOKEN: "", BITBUCKET_TOKEN: "", AZURE_DEVOPS_TOKEN: "", GITEA_TOKEN: "" };

let host, closed, server;
before(async () => {
  host = await gitHost();
  closed = await gitHost({ password: TOKEN });
  server = await serve();
});
after(async () => {
  await server?.stop();
  await host?.close();
  await closed?.close();
});

function serve({ args = [], env = {}, ...more } = {}) {
  return start({
    args: ["--allow-private-host", host.host, "--allow-private-host", closed.host, "--refresh-interval", "0", ...args],
    env: { ...NO_TOKENS, ...env },
    ...more,
  });
}

async function events(to, target, json) {
  const { response, events: stream } = await to.sse(target, { method: "POST", json });
  if (response.status !== 200) return [{ event: "refused", data: await response.json().catch(() => ({})) }];
  const all = [];
  for await (const e of stream) all.push({ event: e.event, data: JSON.parse(e.data) });
  return all;
}

// → { reason, error, status: [messages], all }
async function index(source, more = {}, to = server) {
  const all = await events(to, "/v1/sources", { source, ...more });
  const error = all.find((e) => e.event === "error" || e.event === "refused")?.data;
  return { all, error, reason: all.at(-1).data.reason, status: all.filter((e) => e.event === "status").map((e) => e.data.message) };
}

async function row(match, to = server) {
  const { sources } = (await to.http("GET", "/v1/sources")).json;
  return sources.find((s) => s.location === match || s.name === match || s.id === match);
}

async function search(source, query, to = server, more = {}) {
  return (await to.http("POST", "/v1/search", { json: { source, query, ...more } })).json;
}

async function skipped(source, to = server) {
  const { id } = await row(source, to);
  const { skipped: list } = (await to.http("GET", `/v1/sources/${id}/skipped`)).json;
  return Object.fromEntries(list.map((s) => [s.path, s.reason]));
}

function text(error) {
  return `${error?.message || error?.detail || error?.title || ""} ${error?.hint || ""}`;
}

test("a repository is fetched, indexed, cited at its revision, and looked at again without a transfer", async () => {
  const repo = host.repo("acme/demo");
  const id = repo.commit(FILES);
  const first = await index(repo.url);
  assert.equal(first.reason, "stop", JSON.stringify(first.error));
  assert.ok(first.all.some((e) => e.data.stage === "fetching"));
  const source = await row(repo.url);
  assert.equal(source.kind, "git");
  assert.equal(source.revision, id);
  assert.equal(source.state, "ready");
  assert.equal((await search(repo.url, "retry_reading")).hits[0].path, "src/retry.py");
  const fetches = host.fetches;
  const again = await index(repo.url);
  assert.match(again.status.at(-1), /Nothing has changed/);
  assert.equal(host.fetches, fetches);
  const answer = await events(server, "/v1/answers", { repo_url: repo.url, messages: [{ role: "user", content: "How are gauges retried?" }] });
  const cited = answer.filter((e) => e.event === "citation").map((e) => e.data);
  assert.ok(cited.length > 0);
  assert.ok(cited.every((c) => c.revision === id && c.state === "verified"));
});

test("one repository under many names is one source; equal names on two hosts are two", async () => {
  const repo = host.repo("same/name", FILES);
  closed.repo("same/name", { "other.md": "# Other words entirely\n" });
  await index(repo.url);
  for (const other of [repo.url.replace(/\.git$/, ""), `${repo.url}/`, repo.url.replace("http://", "HTTP://")]) await index(other);
  await index(`${closed.url}/same/name.git`, { token: TOKEN });
  const { sources } = (await server.http("GET", "/v1/sources")).json;
  const mine = sources.filter((s) => s.location.includes("/same/name"));
  assert.equal(mine.length, 2);
  assert.notEqual(mine[0].name, mine[1].name);
});

test("what cannot or must not be followed is left out by name, and the rest is indexed", async () => {
  const repo = host.repo("acme/odd");
  const sub = "1234567890123456789012345678901234567890";
  const files = {
    ...FILES,
    link: { mode: "120000", id: repo.blob("/etc/passwd") },
    "src/up": { mode: "120000", id: repo.blob("../../../..") },
    "vendor/lib": { mode: "160000", id: sub },
    "model.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n",
    "big.txt": "tide ".repeat(600_000),
    "Case.md": "# Upper kittiwake\n",
    "case.md": "# Lower guillemot\n",
    "name with spaces é.md": "# Spaces puffin\n",
  };
  repo.commit(files);
  for (const filter of ["false", "true"]) {
    git(repo.dir, ["config", "uploadpack.allowFilter", filter]);
    const r = await index(repo.url, { force: true });
    assert.equal(r.reason, "stop", JSON.stringify(r.error));
    const why = await skipped(repo.url);
    assert.match(why.link, /symbolic link/);
    assert.match(why["src/up"], /symbolic link/);
    assert.match(why["vendor/lib"], /submodule/);
    assert.match(why["model.bin"], /LFS/);
    assert.match(why["big.txt"], /larger than 2 MB/);
    assert.equal((await search(repo.url, "kittiwake")).hits[0].path, "Case.md");
    assert.equal((await search(repo.url, "guillemot")).hits[0].path, "case.md");
    assert.equal((await search(repo.url, "puffin")).hits[0].path, "name with spaces é.md");
    repo.commit({ ...files, "more.md": "# More\n" });
  }
});

test("a tree that names paths outside of itself writes nothing there, and fails nothing else", async () => {
  const repo = host.repo("evil/paths");
  const blob = repo.blob("# Evil cormorant\n");
  const inner = repo.rawTree([["100644", "blob", blob, "escaped.md"]]);
  const up = repo.rawTree([["40000", "tree", inner, ".."]]);
  const tree = repo.rawTree([
    ["40000", "tree", inner, ".."],
    ["40000", "tree", inner, ".git"],
    ["40000", "tree", inner, ".GIT"],
    ["100644", "blob", blob, "../../flat.md"],
    ["100644", "blob", blob, "/tmp/headwater-absolute.md"],
    ["120000", "blob", repo.blob(".."), "a"],
    ["40000", "tree", inner, "a"],
    ["100644", "blob", repo.blob("# Good cormorant in a harbour\n"), "good.md"],
    ["40000", "tree", up, "sub"],
  ]);
  repo.commitTree(tree);
  const r = await index(repo.url);
  assert.equal(r.reason, "stop", JSON.stringify(r.error));
  const why = await skipped(repo.url);
  for (const bad of ["../escaped.md", ".git/escaped.md", ".GIT/escaped.md", "../../flat.md", "sub/../escaped.md"]) assert.match(why[bad] || "", /leads out/, bad);
  assert.equal((await search(repo.url, "cormorant")).hits.length, 2); // good.md and a/escaped.md
  const found = [];
  for (const entry of fs.readdirSync(server.dataDir, { recursive: true })) if (/flat\.md|escaped\.md/.test(entry)) found.push(entry);
  assert.ok(found.every((f) => /\/tree\/a\/escaped\.md$/.test(f)), found.join());
  assert.ok(!fs.existsSync("/tmp/headwater-absolute.md"));
});

test("a private repository: without a token, with a wrong one, and with the right one", async () => {
  const repo = closed.repo("corp/private", FILES);
  const none = await index(repo.url);
  assert.equal(none.reason, "error");
  assert.match(text(none.error), /does not exist or is private.*401.*token/s);
  const wrong = await index(repo.url, { token: "wr0ng-token" });
  assert.match(text(wrong.error), /token is wrong, expired or not allowed/);
  assert.ok(!JSON.stringify(wrong.all).includes("wr0ng-token"));
  const right = await index(repo.url, { token: TOKEN });
  assert.equal(right.reason, "stop", JSON.stringify(right.error));
  assert.equal((await search(repo.url, "retry_reading", server, { token: TOKEN })).hits[0].path, "src/retry.py");
});

test("a token in the URL lets in and is kept nowhere", async () => {
  const repo = closed.repo("corp/inline", FILES);
  const url = repo.url.replace("http://", `http://${encodeURIComponent(TOKEN)}@`);
  const r = await index(url);
  assert.equal(r.reason, "stop", JSON.stringify(r.error));
  assert.equal((await row(repo.url)).location, repo.url);
  const answer = await events(server, "/v1/answers", { repo_url: url, messages: [{ role: "user", content: "gauges?" }] });
  assert.equal(answer.at(-1).data.reason, "stop");
  assert.ok(!JSON.stringify([r.all, answer]).includes("S3cr3t"));
});

// Every file below a directory, as bytes.
function* contents(dir) {
  for (const entry of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath || entry.path, entry.name);
    if (entry.isFile()) yield [file, fs.readFileSync(file)];
  }
}

test("a token is never in an argument, an environment, a log, a file or a message", async () => {
  const repo = closed.repo("corp/quiet", FILES);
  const one = await serve({ args: ["--log-level", "debug"] });
  const forms = [TOKEN, encodeURIComponent(TOKEN), Buffer.from(`oauth2:${TOKEN}`).toString("base64"), "S3cr3t"].map((f) => Buffer.from(f));
  const seen = { git: 0, leaks: [] };
  // git has to wait for its answers, so that it can be looked at.
  closed.intercept = (request, response, body) => {
    if (!request.headers.authorization || !request.url.includes("corp/quiet")) return false;
    setTimeout(() => {
      closed.backend(request, body, (status, headers, out) => {
        response.writeHead(status, headers);
        response.end(out);
      });
    }, 150);
    return true;
  };
  let over = false;
  const watch = (async () => {
    while (!over) {
      for (const pid of fs.readdirSync("/proc").filter((p) => /^\d+$/.test(p) && Number(p) !== process.pid)) {
        for (const name of ["cmdline", "environ"]) {
          try {
            const bytes = fs.readFileSync(`/proc/${pid}/${name}`);
            if (name === "cmdline" && bytes.includes("corp/quiet")) seen.git++;
            if (forms.some((f) => bytes.includes(f))) seen.leaks.push(`${name}: ${bytes.toString().replaceAll("\0", " ").slice(0, 200)}`);
          } catch {
            // it has ended, or is another user's
          }
        }
      }
      await new Promise((r) => setTimeout(r, 5));
    }
  })();
  const good = await index(repo.url, { token: TOKEN }, one);
  over = true;
  await watch;
  closed.intercept = null;
  assert.equal(good.reason, "stop", JSON.stringify(good.error));
  assert.ok(seen.git > 0, "git was never seen running");
  assert.deepEqual(seen.leaks, []);
  closed.intercept = (request, response) => {
    response.writeHead(500);
    response.end(`bad ${request.headers.authorization}\n`);
    return true;
  };
  const bad = await index(repo.url, { token: TOKEN }, one);
  closed.intercept = null;
  await one.stop();
  for (const all of [good.all, bad.all]) assert.ok(!forms.some((f) => Buffer.from(JSON.stringify(all)).includes(f)));
  assert.ok(!forms.some((f) => Buffer.from(one.stderr() + one.stdout()).includes(f)));
  for (const [file, bytes] of contents(one.dataDir)) assert.ok(!forms.some((f) => bytes.includes(f)), file);
});

test("the owner's variable is used for exactly the host it is for", async () => {
  const repo = closed.repo("corp/owners", FILES);
  const open = host.repo("corp/owners", FILES);
  const one = await serve({ env: { GITEA_TOKEN: TOKEN, GITEA_HOST: closed.host } });
  assert.equal((await index(repo.url, {}, one)).reason, "stop");
  host.requests.length = 0;
  assert.equal((await index(open.url, {}, one)).reason, "stop");
  assert.ok(host.requests.length > 0 && host.requests.every((r) => !r.authorization));
  await one.stop();
});

test("404, a server that is no git, and a host that is not there say so", async () => {
  const gone = await index(`${host.url}/no/such.git`);
  assert.match(text(gone.error), /does not exist or is private.*404/s);
  host.intercept = (request, response) => {
    if (!request.url.startsWith("/web/")) return false;
    response.writeHead(200, { "content-type": "text/html" });
    response.end("<html>hello</html>");
    return true;
  };
  const web = await index(`${host.url}/web/page`);
  host.intercept = null;
  assert.match(text(web.error), /no git repository/);
  const unknown = await index("https://git.example.invalid/a/b");
  assert.match(text(unknown.error), /does not fetch from 'git.example.invalid'/);
  const one = await serve({ args: ["--allow-host", "*"] });
  const none = await index("https://git.example.invalid/a/b", {}, one);
  assert.match(text(none.error), /host 'git.example.invalid' is not known/);
  await one.stop();
});

test("clients may name only hosts that are allowed, and no private address", async () => {
  const inside = await gitHost();
  inside.repo("a/b", FILES);
  const one = await serve({ args: ["--allow-host", `localhost:${inside.port}`, "--allow-host", `*:${inside.port}`] });
  for (const name of ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", "2130706433", "127.1"]) {
    const r = await index(`http://${name}:${inside.port}/a/b.git`, {}, one);
    assert.match(text(r.error), /private address|not known/, name);
  }
  const other = await index(`http://127.0.0.1:${inside.port + 1}/a/b.git`, {}, one);
  assert.match(text(other.error), /does not fetch from/);
  const ssh = await index(`ssh://git@127.0.0.1:${inside.port}/c/d.git`, {}, one);
  assert.match(text(ssh.error), /over ssh/);
  const file = await index(`file://${path.join(inside.root, "a/b.git")}`, {}, one);
  assert.match(text(file.error), /outside the allowed paths/);
  assert.equal(inside.requests.length, 0);
  await one.stop();
  await inside.close();
});

test("a redirect is followed to the repository's new name, without the token to another host, and in no circle", async () => {
  const repo = host.repo("new/place", FILES);
  const redirect = (status, to) => (request, response) => {
    if (!request.url.startsWith("/old/")) return false;
    response.writeHead(status, { location: to(request.url) });
    response.end();
    return true;
  };
  host.intercept = redirect(301, (u) => u.replace("/old/", "/new/"));
  assert.equal((await index(`${host.url}/old/place.git`)).reason, "stop");
  host.intercept = redirect(302, (u) => u);
  assert.match(text((await index(`${host.url}/old/circle.git`)).error), /redirects more than/);
  host.intercept = redirect(302, () => "/users/sign_in");
  assert.match(text((await index(`${host.url}/old/login.git`)).error), /private/);
  closed.intercept = redirect(307, () => `${repo.url}/info/refs?service=git-upload-pack`);
  host.intercept = null;
  host.requests.length = 0;
  const away = await index(`${closed.url}/old/away.git`, { token: TOKEN });
  closed.intercept = null;
  assert.equal(away.reason, "stop", JSON.stringify(away.error));
  assert.ok(host.requests.length > 0 && host.requests.every((r) => !r.authorization));
});

test("a redirect to a private address is not followed, by us or by git", async () => {
  const inside = await gitHost();
  inside.repo("a/b", FILES);
  for (const to of ["127.0.0.1", "localhost"]) {
    for (const late of [false, true]) {
      host.repo(`hop/${to}-${late}`, FILES);
      host.intercept = (request, response) => {
        // late: only once git itself asks, after our own look
        if (!request.url.startsWith(`/hop/${to}-${late}`) || (late && request.headers["user-agent"]?.startsWith("headwater"))) return false;
        response.writeHead(302, { location: `http://${to}:${inside.port}/a/b.git/info/refs?service=git-upload-pack` });
        response.end();
        return true;
      };
      const r = await index(`${host.url}/hop/${to}-${late}.git`);
      assert.equal(r.reason, "error");
      if (!late) assert.match(text(r.error), /does not fetch from/);
    }
  }
  host.intercept = null;
  assert.equal(inside.requests.length, 0);
  await inside.close();
});

// Answers the first `times` transfers with a part of the pack.
function cut(name, times) {
  return (request, response, body) => {
    if (!request.isFetch || !request.url.includes(name) || times-- <= 0) return false;
    host.backend(request, body, (status, headers, out) => {
      response.writeHead(status, { ...headers, "content-length": out.length });
      response.write(out.subarray(0, Math.floor(out.length * 0.7)), () => response.destroy());
    });
    return true;
  };
}

test("a transfer that is cut off is tried once more; then it is said, and the old state stays", async () => {
  const repo = host.repo("acme/cut", FILES);
  host.intercept = cut("acme/cut", 1);
  assert.equal((await index(repo.url)).reason, "stop");
  const before = await row(repo.url);
  repo.commit({ ...FILES, "new.md": "# Brandnew razorbill\n" });
  host.intercept = cut("acme/cut", 99);
  const r = await index(repo.url);
  assert.equal(r.reason, "error");
  assert.match(text(r.error), /cut off|broken|could not fetch/);
  const kept = await row(repo.url);
  assert.equal(kept.revision, before.revision);
  assert.equal(kept.state, "ready");
  assert.match(kept.error, /cannot fetch|could not fetch/);
  assert.equal((await search(repo.url, "retry_reading")).hits[0].path, "src/retry.py");
  const answer = await events(server, "/v1/answers", { repo_url: repo.url, messages: [{ role: "user", content: "How are gauges retried?" }] });
  assert.ok(answer.some((e) => e.event === "status" && /answering from the last index/.test(e.data.message)));
  host.intercept = null;
  assert.equal((await index(repo.url)).reason, "stop");
  assert.equal((await search(repo.url, "razorbill")).hits[0].path, "new.md");
  assert.equal((await row(repo.url)).error, null);
});

test("a branch that was pushed over is followed, and what it lost is gone", async () => {
  const repo = host.repo("acme/forced");
  const first = repo.commit({ ...FILES, "gone/deep.md": "# Fulmar\n", "x.md": "# Petrel one\n" });
  await index(repo.url);
  assert.equal((await search(repo.url, "fulmar")).hits.length, 1);
  // no parent: another history; a file becomes a folder
  const second = repo.commit({ ...FILES, "x.md/now.md": "# Petrel two\n" });
  assert.notEqual(first, second);
  assert.equal((await index(repo.url)).reason, "stop");
  assert.equal((await row(repo.url)).revision, second);
  assert.equal((await search(repo.url, "fulmar")).hits.length, 0);
  assert.equal((await search(repo.url, "petrel")).hits[0].path, "x.md/now.md");
});

test("a branch or a tag is a source of its own, and one that is not there is named", async () => {
  const repo = host.repo("acme/branches", FILES);
  const next = repo.commit({ "next.md": "# Skua\n" }, { branch: "feature/next" });
  git(repo.dir, ["tag", "-a", "v1", "-m", "one", next]);
  assert.equal((await index(repo.url, { branch: "feature/next" })).reason, "stop");
  assert.equal((await index(`${repo.url}#v1`)).reason, "stop");
  assert.equal((await row(`${repo.url}#v1`)).revision, next);
  assert.equal((await search(`${repo.url}#feature/next`, "skua")).hits[0].path, "next.md");
  await index(repo.url);
  assert.equal((await search(repo.url, "skua")).hits.length, 0);
  const none = await index(repo.url, { branch: "no/such" });
  assert.match(text(none.error), /has no branch or tag 'no\/such'/);
  const odd = await index(repo.url, { branch: "--upload-pack=x" });
  assert.match(text(odd.error), /cannot be the name of a branch/);
  assert.match(text((await index(host.repo("acme/empty").url)).error), /empty/);
});

test("a repository past the size limit is refused while it arrives", async () => {
  const repo = host.repo("acme/huge");
  const files = {};
  for (let i = 0; i < 40; i++) files[`f${i}.txt`] = Array.from({ length: 12000 }, () => Math.random().toString(36)).join("\n");
  repo.commit(files);
  const one = await serve({ args: ["--max-clone-size", "1M"] });
  const r = await index(repo.url, {}, one);
  assert.match(text(r.error), /larger than 1 MB.*--max-clone-size/s);
  await one.stop();
});

function running(word) {
  return fs.readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && fs.readFileSync(`/proc/${pid}/cmdline`).includes(word);
    } catch {
      return false;
    }
  });
}

test("a stopped job ends git at once, and the next one begins again", async () => {
  const repo = host.repo("acme/slow", FILES);
  host.intercept = (request) => request.isFetch && request.url.includes("acme/slow"); // never answered
  const { response, events: stream } = await server.sse("/v1/sources", { method: "POST", json: { source: repo.url } });
  const id = response.headers.get("x-stream-id");
  await waitFor(() => running("acme/slow").length > 0, { what: "git" });
  await server.http("POST", `/v1/streams/${id}/stop`);
  let last;
  for await (const e of stream) last = JSON.parse(e.data);
  assert.equal(last.reason, "cancelled");
  assert.deepEqual(running("acme/slow"), []);
  host.intercept = null;
  assert.equal((await index(repo.url)).reason, "stop");
});

test("a clone that a kill cut short is mended by the next run, and git does not outlive us", async () => {
  const repo = host.repo("acme/killed", FILES);
  const one = await serve();
  assert.equal((await index(repo.url, {}, one)).reason, "stop");
  repo.commit({ ...FILES, "new.md": "# Shearwater\n" });
  host.intercept = (request) => request.isFetch && request.url.includes("acme/killed");
  void index(repo.url, {}, one).catch(() => {});
  await waitFor(() => running("acme/killed").length > 0 && host.requests.some((r) => r.method === "POST" && r.url.includes("acme/killed")), { what: "git" });
  await one.kill9();
  await waitFor(() => running("git-upload-pack\0acme/killed").length === 0, { what: "the end of git" });
  host.intercept = null;
  const clones = path.join(one.dataDir, "repos");
  const dir = path.join(clones, fs.readdirSync(clones)[0]);
  fs.writeFileSync(path.join(dir, "git/shallow.lock"), "");
  fs.writeFileSync(path.join(dir, "git/refs/headwater/tip.lock"), "");
  fs.writeFileSync(path.join(dir, "git/objects/pack/tmp_pack_x"), "half");
  fs.rmSync(path.join(dir, "manifest"));
  await one.launch();
  assert.equal((await index(repo.url, {}, one)).reason, "stop");
  assert.equal((await search(repo.url, "shearwater", one)).hits[0].path, "new.md");
  assert.ok(!fs.existsSync(path.join(dir, "git/objects/pack/tmp_pack_x")));
  fs.rmSync(path.join(dir, "git/objects"), { recursive: true }); // a damaged clone
  repo.commit({ ...FILES, "newer.md": "# Dunlin\n" });
  assert.equal((await index(repo.url, {}, one)).reason, "stop");
  assert.equal((await search(repo.url, "dunlin", one)).hits[0].path, "newer.md");
  await one.stop();
});

test("DeepWiki clients name a repository with type and token, and read its failures in its words", async () => {
  const repo = closed.repo("wiki/demo", FILES);
  const ask = (more) => server.http("POST", "/chat/completions/stream", { json: { repo_url: repo.url, messages: [{ role: "user", content: "How are gauges retried?" }], ...more } });
  const bad = await ask({ type: "gitlab", token: "wr0ng" });
  assert.match(bad.json?.detail || bad.text, /Error preparing retriever: Error during cloning: .*token is wrong/);
  assert.ok(!bad.text.includes("wr0ng"));
  const good = await ask({ type: "gitlab", token: TOKEN });
  assert.equal(good.status, 200);
  assert.match(good.text, /retr/i);
  const ws = await server.ws("/ws/chat");
  ws.send({ repo_url: "https://not-allowed.example/a/b", type: "github", messages: [{ role: "user", content: "x" }] });
  assert.match((await ws.untilClose()).text, /Error preparing retriever: this server does not fetch from 'not-allowed.example'/);
});

test("what the owner fetched from anywhere is refreshed for clients, who could not have named it", async () => {
  const inside = await gitHost();
  const repo = inside.repo("corp/owners-choice", FILES);
  const one = await serve();
  assert.match(text((await index(repo.url, {}, one)).error), /does not fetch from/);
  assert.equal((await cli(["index", repo.url, "--data", one.dataDir], { env: NO_TOKENS })).code, 0);
  const id = repo.commit({ ...FILES, "news.md": "# Whimbrel\n" });
  const again = await index(repo.url, {}, one);
  assert.equal(again.reason, "stop", JSON.stringify(again.error));
  assert.equal((await row(repo.url, one)).revision, id);
  inside.repo("corp/other", FILES);
  assert.match(text((await index(`${inside.url}/corp/other.git`, {}, one)).error), /does not fetch from/);
  await one.stop();
  await inside.close();
});

test("repositories below an allowed path can be fetched from their folder", async () => {
  const root = tempDir("local");
  const repo = new Repo(path.join(root, "bare.git"), null);
  repo.commit(FILES);
  const one = await serve({ args: ["--allow-path", root] });
  const r = await index(`file://${repo.dir}`, {}, one);
  assert.equal(r.reason, "stop", JSON.stringify(r.error));
  await one.stop();
});

test("the command line fetches from anywhere, finds what it fetched, and removes it with its clone", async () => {
  const repo = closed.repo("cli/demo", FILES);
  const data = tempDir();
  const env = { ...NO_TOKENS, GITEA_TOKEN: TOKEN, GITEA_HOST: closed.host };
  const first = await cli(["index", repo.url, "--data", data], { env });
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /indexed .*cli\/demo: 2 files/);
  const asked = await cli(["ask", repo.url.replace(/\.git$/, ""), "How are gauges retried?", "--data", data], { env });
  assert.equal(asked.code, 0, asked.stderr);
  assert.match(asked.stdout, /README\.md|retry\.py/);
  const { json } = await cli(["sources", "--json", "--data", data], { env });
  assert.equal(json.sources.length, 1);
  assert.equal(fs.readdirSync(path.join(data, "repos")).length, 1);
  const removed = await cli(["sources", "--remove", json.sources[0].name, "--data", data], { env });
  assert.equal(removed.code, 0, removed.stderr);
  assert.equal(fs.readdirSync(path.join(data, "repos")).length, 0);
  assert.deepEqual((await cli(["sources", "--json", "--data", data], { env })).json.sources, []);
  const untrusted = await server.http("DELETE", `/v1/sources/${(await server.http("GET", "/v1/sources")).json.sources[0].id}`);
  assert.equal(untrusted.status, 403);
});
