// What the whole-program tests share: start the real program on free ports with a data directory of its
// own, speak to it over HTTP, raw TCP, WebSocket and server-sent events, and run the command line.
//
//   const server = await start({ args: ["--enable-echo"], env: { OPENAI_API_KEY: "x" } });
//   const { status, json } = await server.http("POST", "/chat", { json: { … } });
//   await server.kill9(); await server.restart();   // same data directory, new port
//   await server.stop();                            // → { code: 0, signal: null }
//
// Every helper has a time-out, so that a hanging program is a failed test and not a hanging run. Servers
// and directories that a test left behind are removed when the test process ends.
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocket } from "ws";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const BIN = path.resolve(process.env.HEADWATER_BIN || path.join(ROOT, "build/headwater"));

const START_MS = 20000; // sanitizer builds and loaded machines
const STOP_MS = 15000; // the drain's own limit is 10 s
const REQUEST_MS = 30000;

const children = new Set();
const directories = new Set();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  for (const dir of directories) fs.rmSync(dir, { recursive: true, force: true });
});

export function tempDir(name = "data") {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), `headwater-${name}-`));
  directories.add(dir);
  return dir;
}

// Writes { "src/a.py": "text", … } below a new directory and returns it: a repository to index.
export function tempTree(files) {
  const dir = tempDir("tree");
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(dir, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  }
  return dir;
}

// The caller's environment without anything that would make the program reach out or behave otherwise.
function cleanEnv(extra) {
  const env = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (!/(_API_KEY|_PROXY)$|^(HEADWATER|DEEPWIKI|OPENAI|GOOGLE|AZURE|AWS|OLLAMA|OPENROUTER|DASHSCOPE|WADI|LOG)_/i.test(name))
      env[name] = value;
  }
  return { ...env, ASAN_OPTIONS: "detect_leaks=1:exitcode=99", ...extra };
}

export async function waitFor(condition, { ms = 10000, what = "a condition" } = {}) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((r) => setTimeout(r, 10));
  }
}

function withTimeout(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class Server {
  constructor(options) {
    this.options = options;
    this.dataDir = options.dataDir || tempDir();
    this.urls = []; // one per listener, in the order printed
    this.output = "";
    this.errors = "";
  }

  get url() {
    return this.urls[0];
  }
  get port() {
    return Number(new URL(this.url).port);
  }
  get pid() {
    return this.child.pid;
  }
  stdout() {
    return this.output;
  }
  stderr() {
    return this.errors;
  }

  async launch() {
    const { args = [], env = {}, listen = ["127.0.0.1:0"], cwd } = this.options;
    const argv = ["serve", ...listen.flatMap((l) => ["--listen", l]), "--data", this.dataDir, ...args];
    this.urls = [];
    this.output = "";
    const child = spawn(BIN, argv, { env: cleanEnv(env), cwd, stdio: ["ignore", "pipe", "pipe"] });
    this.child = child;
    this.exit = null;
    children.add(child);
    this.ended = new Promise((resolve) => {
      child.on("error", (error) => resolve({ code: null, signal: null, error }));
      child.on("close", (code, signal) => resolve({ code, signal }));
    }).then((exit) => {
      children.delete(child);
      this.exit = exit;
      return exit;
    });
    child.stdout.setEncoding("utf8").on("data", (text) => {
      this.output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      this.errors += text;
    });
    const expected = Math.max(1, listen.length);
    await waitFor(
      () => {
        if (this.exit)
          throw new Error(`headwater ended while starting: ${JSON.stringify(this.exit)} ${this.exit.error || ""}\n${this.errors}`);
        // Only whole lines: a port may arrive in two pieces.
        this.urls = [...this.output.matchAll(/^listening on (https?:\/\/\S+)\r?\n/gm)].map((m) => m[1].replace(/\/$/, ""));
        return this.urls.length >= expected;
      },
      { ms: START_MS, what: `'listening on …'\n${this.errors}` },
    ).catch((error) => {
      child.kill("SIGKILL");
      throw error;
    });
    return this;
  }

  // Orderly end. Resolves to { code, signal }. A server that does not end is killed, and that is an error;
  // so is a status other than 0, by which a sanitizer build tells of leaks and races.
  async stop(signal = "SIGTERM") {
    if (this.exit) return this.exit;
    this.child.kill(signal);
    let exit;
    try {
      exit = await withTimeout(this.ended, STOP_MS, `the end of the server after ${signal}`);
    } catch (error) {
      this.child.kill("SIGKILL");
      await this.ended;
      error.message += `\n${this.errors}`;
      throw error;
    }
    if (exit.code !== 0) throw new Error(`the server ended with ${JSON.stringify(exit)} after ${signal}\n${this.errors}`);
    return exit;
  }

  async kill9() {
    this.child.kill("SIGKILL");
    return this.ended;
  }

  // Same data directory, a new process and a new port. Ends the running one in order first.
  async restart(changes = {}) {
    if (!this.exit) await this.stop();
    Object.assign(this.options, changes);
    return this.launch();
  }

  // → { status, headers, text, json }; json is undefined when the body is none.
  http(method, target, options = {}) {
    return httpRequest(this.url, method, target, options);
  }

  // Like http, but resolves at the headers, with the Response whose body streams.
  async stream(method, target, { json, body, headers = {}, signal } = {}) {
    const init = { method, headers: { ...headers }, body, signal, redirect: "manual" };
    if (json !== undefined) {
      init.body = JSON.stringify(json);
      init.headers["content-type"] ??= "application/json";
    }
    return withTimeout(fetch(this.url + target, init), REQUEST_MS, `${method} ${target}`);
  }

  tcp(bytes, options) {
    return tcpExchange(this.port, bytes, options);
  }

  ws(target, options) {
    return wsOpen(this.url.replace(/^http/, "ws") + target, options);
  }

  async sse(target, options) {
    const { method = "GET", ...rest } = options || {};
    const response = await this.stream(method, target, { ...rest, headers: { accept: "text/event-stream", ...rest.headers } });
    return { response, events: sseEvents(response.body) };
  }
}

// options: args, env, listen (["127.0.0.1:0"]), dataDir, cwd
export function start(options = {}) {
  return new Server({ ...options }).launch();
}

export async function httpRequest(base, method, target, { json, body, headers = {}, timeout = REQUEST_MS } = {}) {
  const init = { method, headers: { ...headers }, body, redirect: "manual", signal: AbortSignal.timeout(timeout) };
  if (json !== undefined) {
    init.body = JSON.stringify(json);
    init.headers["content-type"] ??= "application/json";
  }
  const response = await fetch(base + target, init);
  const text = await response.text();
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  return { status: response.status, headers: response.headers, text, json: parsed };
}

// Sends bytes as they are and resolves to everything received until the peer closes, `until` (a string
// or RegExp) appears, or the time is over; then `timedOut` is true.
// bytes: a string (latin1), Buffer, or an array of them, each sent on its own, `gap` ms apart.
export function tcpExchange(port, bytes, { until, timeout = 5000, gap = 0, half = false, host = "127.0.0.1" } = {}) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host, allowHalfOpen: true, noDelay: true });
    let received = Buffer.alloc(0);
    let done = false;
    const finish = (extra) => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      socket.destroy();
      resolve({ bytes: received, text: received.toString("latin1"), closed: false, reset: false, timedOut: false, ...extra });
    };
    const timer = setTimeout(() => finish({ timedOut: true }), timeout);
    socket.on("connect", async () => {
      for (const piece of Array.isArray(bytes) ? bytes : [bytes]) {
        if (done) return;
        socket.write(typeof piece === "string" ? Buffer.from(piece, "latin1") : piece);
        if (gap) await new Promise((r) => setTimeout(r, gap));
      }
      if (half) socket.end();
    });
    socket.on("data", (data) => {
      received = Buffer.concat([received, data]);
      const text = until === undefined ? "" : received.toString("latin1");
      if (until instanceof RegExp ? until.test(text) : until !== undefined && text.includes(until)) finish({});
    });
    socket.on("end", () => finish({ closed: true }));
    socket.on("error", (error) => {
      if (error.code === "ECONNRESET" || error.code === "EPIPE") finish({ closed: true, reset: true });
      else {
        clearTimeout(timer);
        done = true;
        reject(error);
      }
    });
  });
}

// A WebSocket whose frames are kept: { socket, frames, send, next, text, closed, close, headers, status }.
// frames: [{ data: string | Buffer, binary }]; closed: promise of { code, reason }.
// A refused handshake resolves with `status` (the HTTP status) and no open socket.
export async function wsOpen(url, { protocols = [], timeout = REQUEST_MS, ...options } = {}) {
  const socket = new WebSocket(url, protocols, { perMessageDeflate: false, ...options });
  const client = { socket, frames: [], pings: 0, status: 101, headers: {}, isOpen: false };
  let taken = 0;
  client.closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() })));
  socket.on("message", (data, binary) => client.frames.push({ data: binary ? data : data.toString("utf8"), binary }));
  socket.on("ping", () => client.pings++);
  socket.on("upgrade", (response) => {
    client.headers = response.headers;
  });
  socket.on("error", (error) => {
    client.error = error;
  });
  let over = false;
  client.closed.then(() => {
    over = true;
  });
  client.send = (data) => socket.send(typeof data === "object" && !Buffer.isBuffer(data) ? JSON.stringify(data) : data);
  // The next frame not yet taken, or null when the connection closed without one.
  client.next = async (ms = timeout) => {
    await waitFor(() => client.frames.length > taken || over, { ms, what: `a frame from ${url}` });
    return client.frames.length > taken ? client.frames[taken++] : null;
  };
  client.nextJson = async (ms) => {
    const frame = await client.next(ms);
    return frame && JSON.parse(frame.data);
  };
  // All text until the peer closes, and how it closed.
  client.untilClose = async (ms = timeout) => {
    const { code, reason } = await withTimeout(client.closed, ms, `the close of ${url}`);
    return { code, reason, frames: client.frames, text: client.frames.map((f) => f.data).join("") };
  };
  client.close = async (code = 1000, reason = "") => {
    socket.close(code, reason);
    return withTimeout(client.closed, timeout, `the close of ${url}`);
  };
  const refused = new Promise((resolve) =>
    socket.on("unexpected-response", (request, response) => {
      client.status = response.statusCode;
      client.headers = response.headers;
      let body = "";
      response.setEncoding("utf8").on("data", (d) => (body += d));
      response.on("end", () => {
        client.body = body;
        resolve();
      });
    }),
  );
  const opened = once(socket, "open").then(() => {
    client.isOpen = true;
  });
  try {
    await withTimeout(Promise.race([opened, refused]), timeout, `the handshake with ${url}`);
  } catch (error) {
    socket.terminate();
    throw error;
  }
  return client;
}

// Server-sent events as the HTML standard parses them, from a stream of bytes or an array of pieces:
// yields { event, data, id, retry }; id is the last one seen, as browsers keep it. `comments` collects ":…" lines.
export async function* sseEvents(body, { comments = [] } = {}) {
  const decoder = new TextDecoder("utf-8");
  let pending = "";
  let event = "";
  let data = null;
  let id = "";
  let retry;
  let lastWasCr = false;
  for await (const piece of body) {
    let text = typeof piece === "string" ? piece : decoder.decode(piece, { stream: true });
    if (lastWasCr && text.startsWith("\n")) text = text.slice(1);
    if (text) lastWasCr = text.endsWith("\r");
    pending += text;
    for (;;) {
      const end = /\r\n|\n|\r/.exec(pending);
      if (!end) break;
      const line = pending.slice(0, end.index);
      pending = pending.slice(end.index + end[0].length);
      if (line === "") {
        if (data !== null) yield { event: event || "message", data, id, retry };
        event = "";
        data = null;
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) {
        comments.push(line.slice(1));
        continue;
      }
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") event = value;
      else if (field === "data") data = data === null ? value : `${data}\n${value}`;
      else if (field === "id" && !value.includes("\0")) id = value;
      else if (field === "retry" && /^\d+$/.test(value)) retry = Number(value);
    }
  }
}

export async function sseAll(body, options) {
  const all = [];
  for await (const event of sseEvents(body, options)) all.push(event);
  return all;
}

// Runs the command line to its end → { code, signal, stdout, stderr, json } (json: stdout parsed, or undefined).
export async function cli(args, { env = {}, input = "", timeout = 60000, cwd } = {}) {
  const child = spawn(BIN, args, { env: cleanEnv(env), cwd, stdio: ["pipe", "pipe", "pipe"] });
  children.add(child);
  const result = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (result.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (result.stderr += text));
  child.stdin.on("error", () => {}); // the program may end without reading
  child.stdin.end(input);
  try {
    const ended = new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve({ code, signal }));
    });
    Object.assign(result, await withTimeout(ended, timeout, `headwater ${args.join(" ")}`));
  } finally {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    children.delete(child);
  }
  try {
    result.json = JSON.parse(result.stdout);
  } catch {
    result.json = undefined;
  }
  return result;
}
