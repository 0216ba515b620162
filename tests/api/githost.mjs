// A git server for tests: git's own http-backend behind Node's HTTP server, and hooks to let it misbehave.
//
//   const host = await gitHost({ password: "secret" });   // any user, that password; without: open
//   const repo = host.repo("acme/demo", { "a.py": "…" }); // repo.commit({ … }), repo.url
//   host.intercept = (request, response) => …;            // true: answered here
//   await host.close();
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { tempDir } from "./harness.mjs";

const BACKEND = path.join(execFileSync("git", ["--exec-path"], { encoding: "utf8" }).trim(), "git-http-backend");
const ENV = {
  PATH: process.env.PATH,
  HOME: "/nonexistent",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "a",
  GIT_AUTHOR_EMAIL: "a@example.org",
  GIT_COMMITTER_NAME: "a",
  GIT_COMMITTER_EMAIL: "a@example.org",
};

export function git(dir, args, { input, env = {} } = {}) {
  return execFileSync("git", ["-C", dir, ...args], { encoding: "utf8", input, env: { ...ENV, ...env }, stdio: ["pipe", "pipe", "pipe"] }).trim();
}

// A bare repository whose commits are made from objects: any tree can be, also ones git would not check in.
export class Repo {
  constructor(dir, url) {
    this.dir = dir;
    this.url = url;
    fs.mkdirSync(dir, { recursive: true });
    git(dir, ["init", "-q", "--bare", "-b", "main"]);
  }

  blob(content) {
    return git(this.dir, ["hash-object", "-w", "--stdin"], { input: content });
  }

  // [[mode, type, id, name], …] as they are: no order, no check of names.
  rawTree(entries) {
    const parts = entries.flatMap(([mode, , id, name]) => [Buffer.from(`${mode.replace(/^0/, "")} ${name}\0`), Buffer.from(id, "hex")]);
    return git(this.dir, ["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], { input: Buffer.concat(parts) });
  }

  // { "dir/name": text | { mode, id } } → id
  tree(files) {
    const here = new Map();
    for (const [name, content] of Object.entries(files)) {
      const [first, ...rest] = name.split("/");
      if (!rest.length) here.set(first, content);
      else here.set(first, { ...(here.get(first)?.files ? here.get(first) : {}), files: { ...(here.get(first)?.files || {}), [rest.join("/")]: content } });
    }
    const entries = [...here].map(([name, value]) => {
      if (value.files) return ["40000", "tree", this.tree(value.files), name];
      if (value.mode) return [value.mode, "", value.id, name];
      return ["100644", "blob", this.blob(value), name];
    });
    const key = ([mode, , , name]) => Buffer.from(mode === "40000" ? name + "/" : name);
    entries.sort((a, b) => Buffer.compare(key(a), key(b)));
    return this.rawTree(entries);
  }

  commitTree(tree, { branch = "main", parents = [], message = "change" } = {}) {
    const id = git(this.dir, ["commit-tree", tree, ...parents.flatMap((p) => ["-p", p]), "-m", message]);
    git(this.dir, ["update-ref", `refs/heads/${branch}`, id]);
    return id;
  }

  commit(files, options) {
    return this.commitTree(this.tree(files), options);
  }
}

class Host {
  constructor({ password, address = "127.0.0.1" }) {
    this.root = tempDir("git");
    this.password = password;
    this.address = address;
    this.requests = []; // { method, url, authorization, git }
    this.fetches = 0; // requests that asked for objects
    this.server = http.createServer((request, response) => this.handle(request, response));
  }

  async listen() {
    await new Promise((resolve) => this.server.listen(0, this.address, resolve));
    this.port = this.server.address().port;
    this.host = `${this.address}:${this.port}`;
    this.url = `http://${this.host}`;
    return this;
  }

  repo(name, files) {
    const repo = new Repo(path.join(this.root, `${name}.git`), `${this.url}/${name}.git`);
    if (files) repo.commit(files);
    return repo;
  }

  handle(request, response) {
    const pieces = [];
    this.requests.push({ method: request.method, url: request.url, authorization: request.headers.authorization, agent: request.headers["user-agent"] || "" });
    request.on("data", (d) => pieces.push(d));
    request.on("end", () => {
      const body = Buffer.concat(pieces);
      request.isFetch = request.method === "POST" && body.includes("command=fetch");
      if (request.isFetch) this.fetches++;
      if (this.intercept?.(request, response, body)) return;
      if (this.password !== undefined) {
        const given = Buffer.from((request.headers.authorization || "").replace(/^Basic /, ""), "base64").toString();
        if (given.slice(given.indexOf(":") + 1) !== this.password || !given.includes(":")) {
          response.writeHead(401, { "www-authenticate": 'Basic realm="git"' });
          response.end("no\n");
          return;
        }
      }
      this.backend(request, body, (status, headers, out) => {
        response.writeHead(status, headers);
        response.end(out);
      });
    });
  }

  // Runs the CGI program to its end.
  backend(request, body, answer) {
    const url = new URL(request.url, "http://x");
    const child = spawn(BACKEND, [], {
      env: {
        ...ENV,
        GIT_PROJECT_ROOT: this.root,
        GIT_HTTP_EXPORT_ALL: "1",
        PATH_INFO: decodeURIComponent(url.pathname),
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method,
        CONTENT_TYPE: request.headers["content-type"] || "",
        CONTENT_LENGTH: String(body.length),
        HTTP_CONTENT_ENCODING: request.headers["content-encoding"] || "",
        GIT_PROTOCOL: request.headers["git-protocol"] || "",
        GIT_CONFIG_COUNT: "1",
        GIT_CONFIG_KEY_0: "safe.directory",
        GIT_CONFIG_VALUE_0: "*",
      },
      stdio: ["pipe", "pipe", "ignore"],
    });
    const pieces = [];
    child.stdin.on("error", () => {});
    child.stdin.end(body);
    child.stdout.on("data", (d) => pieces.push(d));
    child.on("close", () => {
      const all = Buffer.concat(pieces);
      const end = all.indexOf("\r\n\r\n");
      let status = 200;
      const headers = {};
      for (const line of all.subarray(0, Math.max(end, 0)).toString().split("\r\n")) {
        const [name, ...value] = line.split(": ");
        if (name === "Status") status = Number(value.join(": ").slice(0, 3));
        else if (name) headers[name] = value.join(": ");
      }
      answer(end < 0 ? 500 : status, headers, end < 0 ? all : all.subarray(end + 4));
    });
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

export function gitHost(options = {}) {
  return new Host(options).listen();
}
