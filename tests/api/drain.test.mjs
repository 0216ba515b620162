// SIGTERM on the real program: what is idle ends at once, what is being answered may finish until the drain time is up.
import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { start, waitFor } from "./harness.mjs";

const user = (content) => [{ role: "user", content }];
const bench = (model) => ({ repo_url: "-", messages: user("go"), provider: "bench", model });
const begin = (drain) => start({ args: ["--bench-source", "--drain-timeout", drain] });

// A raw connection: { write, text(), closed } — fetch would not keep one, nor show what follows an answer on it.
function raw(server) {
  const socket = net.connect({ port: server.port, host: "127.0.0.1", noDelay: true });
  let text = "";
  socket.setEncoding("latin1").on("data", (d) => (text += d));
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve));
  return { socket, write: (s) => socket.write(s, "latin1"), text: () => text, closed };
}
const post = (body) => {
  const json = JSON.stringify(body);
  return `POST /chat/completions/stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\n\r\n${json}`;
};

function dechunk(body) {
  let out = "";
  for (let at = 0; ; ) {
    const end = body.indexOf("\r\n", at);
    const size = parseInt(body.slice(at, end), 16);
    if (!size) return out;
    out += body.slice(end + 2, end + 2 + size);
    at = end + 2 + size + 2;
  }
}

test("idle WebSockets get 1001 and idle connections end at once, long before the drain time", async () => {
  const server = await begin("9s");
  const [chat, echo] = [await server.ws("/ws/chat"), await server.ws("/ws/chat", { protocols: ["headwater.v1"] })];
  const idle = raw(server);
  idle.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  await waitFor(() => idle.text().includes("healthy"));
  const began = Date.now();
  const exit = server.stop();
  assert.deepEqual(await chat.closed, { code: 1001, reason: "going away" });
  assert.equal((await echo.closed).code, 1001);
  await idle.closed;
  assert.deepEqual(await exit, { code: 0, signal: null });
  assert.ok(Date.now() - began < 3000, `${Date.now() - began} ms`);
});

test("a running answer on a WebSocket finishes: every byte, then 1000, then the program ends", async () => {
  const server = await begin("9s");
  const ws = await server.ws("/ws/chat");
  ws.send(bench("400:40:200")); // two seconds
  await ws.next();
  const began = Date.now();
  const exit = server.stop();
  const { code, text } = await ws.untilClose();
  assert.equal(code, 1000);
  assert.equal(text.length, 400 * 40);
  assert.deepEqual(await exit, { code: 0, signal: null });
  assert.ok(Date.now() - began < 8000, "it does not wait for the drain time when nothing is left");
});

test("a running HTTP answer finishes; requests that come meanwhile get 503 and the end", async () => {
  const server = await begin("9s");
  const behind = raw(server); // the next request is behind a running answer
  behind.write(post(bench("300:40:150")));
  const half = raw(server); // half of a request is there as draining begins
  half.write("GET /health HTTP/1.1\r\nHo");
  await waitFor(() => behind.text().includes("\r\n\r\n"));
  await new Promise((r) => setTimeout(r, 100));
  const exit = server.stop();
  await new Promise((r) => setTimeout(r, 200));
  behind.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  half.write("st: x\r\n\r\n");
  await half.closed;
  assert.match(half.text(), /^HTTP\/1\.1 503 Service Unavailable\r\n/);
  assert.match(half.text(), /\r\nConnection: close\r\n/i);
  assert.match(half.text(), /"detail":"the server is shutting down/);
  await behind.closed;
  const [answer, next] = behind.text().split(/(?=HTTP\/1\.1 503)/);
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n0\r\n\r\n$/, "whole, with its last chunk");
  assert.equal(dechunk(answer.slice(answer.indexOf("\r\n\r\n") + 4)).length, 300 * 40);
  assert.match(next, /\r\nConnection: close\r\n/i);
  assert.deepEqual(await exit, { code: 0, signal: null });
});

test("an answer longer than the drain time: WebSockets get 1001 then, HTTP is cut, and both resume after the restart", async () => {
  const server = await begin("3s");
  const ws = await server.ws("/ws/chat");
  const id = ws.headers["x-stream-id"];
  ws.send(bench("100000:32:100"));
  await ws.next();
  const http = raw(server);
  http.write(post(bench("100000:32:100")));
  await waitFor(() => http.text().includes("\r\n\r\n"));
  const began = Date.now();
  const exit = server.stop();
  const { code, reason, text } = await ws.untilClose();
  const took = Date.now() - began;
  assert.deepEqual([code, reason], [1001, "going away"]);
  assert.ok(took >= 1500 && took < 6000, `${took} ms`);
  await http.closed;
  assert.ok(!http.text().endsWith("0\r\n\r\n"), "a cut answer does not look whole");
  assert.deepEqual(await exit, { code: 0, signal: null });
  await server.restart();
  const again = await server.ws("/ws/chat");
  again.send({ stream_id: id });
  const all = await again.untilClose();
  assert.ok(all.text.startsWith(text) && text.length > 0);
  await server.stop();
});

test("a peer that never answers the close does not hold the program up", async () => {
  const server = await begin("1s");
  const mute = raw(server);
  mute.write(
    "GET /ws/chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
  );
  await waitFor(() => mute.text().includes("\r\n\r\n"));
  mute.socket.pause();
  const began = Date.now();
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  assert.ok(Date.now() - began < 5000);
  mute.socket.destroy();
});
