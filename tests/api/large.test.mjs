// Large requests: their JSON is read on a worker, so that a loop goes on serving everybody else. One loop thread, and whatever is
// compared is measured in the same run.
import assert from "node:assert/strict";
import { test } from "node:test";
import { start, tempTree } from "./harness.mjs";

const repo = tempTree({ "src/retry.py": "def should_retry(n):\n    return n < 5\n" });
const messages = [{ role: "user", content: "where are retries decided?" }];

// 15.9 MiB that take long to read and to let go: millions of small values beside the fields.
function heavy(fields, bytes = 15.9 * 2 ** 20) {
  const head = `${JSON.stringify(fields).slice(0, -1)},"junk":[`;
  return `${head}${"[],".repeat((bytes - head.length - 10) / 3)}[]]}`;
}

async function serving(work) {
  const server = await start({ args: ["--allow-path", repo, "--threads", "1"], env: { HEADWATER_PROVIDER: "local" } });
  try {
    await work(server);
  } finally {
    await server.stop();
  }
}
// Runs `work` while the server is asked for its health again and again → how long the work took, and the longest answer.
async function beside(server, work) {
  let over = false;
  const began = performance.now();
  const done = work().finally(() => (over = true));
  let longest = 0;
  let count = 0;
  while (!over) {
    const at = performance.now();
    assert.equal((await server.http("GET", "/healthz")).status, 200);
    longest = Math.max(longest, performance.now() - at);
    count++;
  }
  return { result: await done, took: performance.now() - began, longest, count };
}

const TRANSPORTS = {
  "POST /chat/completions/stream": (server, body) =>
    server.http("POST", "/chat/completions/stream", { body, headers: { "content-type": "application/json" } }).then((r) => r.text),
  "POST /v1/answers": (server, body) =>
    server.http("POST", "/v1/answers", { body, headers: { "content-type": "application/json", accept: "text/event-stream" } }).then((r) => r.text),
  "WS /ws/chat": async (server, body) => {
    const ws = await server.ws("/ws/chat");
    ws.send(body);
    return (await ws.untilClose()).text;
  },
};
for (const [name, ask] of Object.entries(TRANSPORTS)) {
  test(`${name}: 16 MiB of JSON hold up nobody, and are answered`, () =>
    serving(async (server) => {
      assert.match(await ask(server, JSON.stringify({ repo_url: repo, messages })), /src\/retry\.py/); // indexed now
      const body = heavy({ repo_url: repo, messages });
      const { result, took, longest, count } = await beside(server, () => ask(server, body));
      assert.match(result, /src\/retry\.py/);
      assert.ok(count > 2, `${count} answers meanwhile`);
      console.error(`${name}: ${took.toFixed(0)} ms, the longest answer beside it ${longest.toFixed(0)} ms`);
      // Read on the loop it is nine tenths, read on a worker one twentieth.
      assert.ok(longest < took / 2, `somebody waited ${longest.toFixed(0)} of ${took.toFixed(0)} ms`);
    }));
}

test("what is wrong with a large request is told as with a small one", () =>
  serving(async (server) => {
    const post = (target, body) => server.http("POST", target, { body, headers: { "content-type": "application/json" } });
    const missing = heavy({ repo_url: repo }, 200000);
    const http = await post("/chat/completions/stream", missing);
    assert.equal(http.status, 422);
    assert.deepEqual([http.json.detail[0].type, http.json.detail[0].loc], ["missing", ["body", "messages"]]);
    const broken = `${heavy({ repo_url: repo, messages }, 200000).slice(0, -1)}`;
    const syntax = await post("/chat/completions/stream", broken);
    assert.deepEqual([syntax.status, syntax.json.detail[0].type], [422, "json_invalid"]);
    for (const [body, text] of [[missing, /^Error: 1 validation error for ChatCompletionRequest\nmessages\n {2}Field required/], [broken, /^Error: /], [`[${"1,".repeat(100000)}1]`, /^Error: the request must be a JSON object/]]) {
      const ws = await server.ws("/ws/chat");
      ws.send(body);
      const { text: said, code } = await ws.untilClose();
      assert.match(said, text);
      assert.equal(code, 1000);
    }
    assert.equal((await post("/v1/answers", missing)).status, 400);
    assert.equal((await post("/v1/search", heavy({ source: repo, query: "retry" }, 200000))).status, 200);
    const search = await post("/v1/search", heavy({ source: repo, query: "retry" }, 2 * 2 ** 20));
    assert.equal(search.status, 413);
    assert.equal((await post("/v1/search", "[1]")).status, 400);
    assert.match((await post("/v1/search", "{")).text, /the body is not JSON/);
  }));

test("a client that leaves, or stops, while its large request is read", () =>
  serving(async (server) => {
    const body = heavy({ repo_url: repo, messages });
    const gone = await server.ws("/ws/chat");
    gone.send(body);
    await new Promise((resolve) => gone.socket._socket.write("", resolve));
    gone.socket.terminate();
    const aborted = new AbortController();
    const post = server.stream("POST", "/chat/completions/stream", { body, headers: { "content-type": "application/json" }, signal: aborted.signal });
    setTimeout(() => aborted.abort(), 150);
    await post.then((r) => r.text()).catch(() => {});
    const stopped = await server.ws("/ws/chat", { protocols: ["headwater.v1"] });
    stopped.send(body);
    stopped.send({ type: "stop" });
    const { frames } = await stopped.untilClose();
    assert.match(JSON.parse(frames.at(-1).data).data.reason, /^(cancelled|stop)$/); // an answer may be quicker than the stop
    assert.equal((await server.http("GET", "/healthz")).status, 200);
  }));
