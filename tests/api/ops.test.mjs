// Running it: logs, rotation, configuration and its precedence, start and stop.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { cli, start, tempDir, tempTree, waitFor } from "./harness.mjs";

const user = (content) => [{ role: "user", content }];

test("JSON log records carry the stream's id, and neither question nor answer", async () => {
  const log = path.join(tempDir("log"), "headwater.log");
  const repo = tempTree({ "zebra.md": "# Zebra\n\nThe zebra crosses quietly at dawn.\n" });
  const server = await start({ args: ["--log-format", "json", "--log-file", log, "--allow-path", repo] });
  const ws = await server.ws("/ws/chat");
  ws.send({ repo_url: repo, messages: user("when does the zebra cross?") });
  const { text } = await ws.untilClose();
  assert.match(text, /dawn/);
  const http = await server.http("POST", "/chat/completions/stream", { json: { repo_url: repo, messages: user("when does the zebra cross?") } });
  await server.stop();
  const raw = fs.readFileSync(log, "utf8");
  const records = raw.trimEnd().split("\n").map((line) => JSON.parse(line));
  const id = ws.headers["x-stream-id"];
  assert.ok(records.some((r) => r.msg === "answer begins" && r.stream === id));
  assert.ok(records.some((r) => r.msg === "answer ends" && r.stream === id && r.reason === "stop"));
  assert.ok(records.some((r) => r.stream === http.headers.get("x-stream-id") && r.request === http.headers.get("x-request-id")));
  for (const r of records) assert.deepEqual(Object.keys(r).slice(0, 4), ["time", "level", "component", "msg"]);
  assert.doesNotMatch(raw, /when does the zebra|at dawn/);
});

test("a log file is rotated at its size and keeps the number of backups asked for", async () => {
  const dir = tempDir("log");
  const log = path.join(dir, "h.log");
  const server = await start({ args: ["--log-level", "debug", "--bench-source"], env: { LOG_FILE_PATH: log, LOG_MAX_SIZE: "1", LOG_BACKUP_COUNT: "2" } });
  // Debug records of requests: about 100 bytes each; enough for three files of a megabyte.
  const agent = async () => {
    for (let i = 0; i < 900; i++) await server.http("GET", `/nothing-${"x".repeat(2000)}${i}`);
  };
  await Promise.all([agent(), agent(), agent()]);
  await server.stop();
  const files = fs.readdirSync(dir).sort();
  assert.ok(files.includes("h.log"));
  assert.ok(files.every((f) => ["h.log", "h.log.1", "h.log.2"].includes(f)), files.join(" "));
  for (const f of files) assert.ok(fs.statSync(path.join(dir, f)).size < 2.5 * 1024 * 1024);
});

test("a flag beats a variable, which beats the configuration file", async () => {
  const dir = tempDir("conf");
  const file = path.join(dir, "h.conf");
  fs.writeFileSync(file, "# ours\n[server]\nenable-echo = true\n[log]\nlog-level = error\n");
  const on = await start({ args: ["--config", file] });
  assert.equal((await on.ws("/v1/echo")).status, 101);
  await on.stop();
  const off = await start({ args: ["--config", file], env: { HEADWATER_ENABLE_ECHO: "false" } });
  assert.equal((await off.ws("/v1/echo")).status, 403);
  await off.stop();
  fs.writeFileSync(file, "enable-ecko = true\n");
  const bad = await cli(["serve", "--config", file, "--data", tempDir()]);
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /h\.conf:1/);
  assert.match(bad.stderr, /enable-echo/);
});

test("DeepWiki's PORT variable is honoured", async () => {
  const probe = await start();
  const { port } = probe;
  await probe.stop();
  const server = await start({ listen: [], env: { PORT: String(port) } });
  assert.equal(server.port, port);
  await server.stop();
});

test("a port that is taken is said, with what to do", async () => {
  const first = await start();
  const second = await cli(["serve", "--listen", `127.0.0.1:${first.port}`, "--data", tempDir()]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, new RegExp(`${first.port}`));
  await first.stop();
});

test("/readyz turns to 503 or the port closes when the server drains; a running answer is kept", async () => {
  const server = await start({ args: ["--bench-source", "--drain-timeout", "3s"] });
  const { json } = await server.http("POST", "/v1/answers", { json: { repo_url: "-", messages: user("x"), provider: "bench", model: "200:16:100" } });
  server.child.kill("SIGTERM");
  assert.deepEqual(await server.ended, { code: 0, signal: null });
  await server.restart();
  const { events } = await server.sse(`/v1/streams/${json.stream_id}/events`);
  const all = [];
  for await (const e of events) all.push(e);
  assert.equal(all.at(-1).event, "done");
  await server.stop();
});

test("the log level debug shows requests; nothing is left behind in the data directory's socket", async () => {
  const server = await start({ args: ["--log-level", "debug"] });
  await server.http("GET", "/health");
  await waitFor(() => /path=\/health/.test(server.stderr()), { what: "the request's record" });
  assert.ok(fs.existsSync(path.join(server.dataDir, "headwater.sock")));
  await server.stop();
  assert.ok(!fs.existsSync(path.join(server.dataDir, "headwater.sock")));
});
