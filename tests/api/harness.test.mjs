// The harness's own parsers: a harness that hides a fault is worse than none.
import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { sseAll, tcpExchange } from "./harness.mjs";

const TEXT = ':hi\r\nid: 7\r\nevent: token\r\ndata: a\r\ndata: é\r\n\r\ndata\n\nretry: 50\ndata:  b\r\rid: 8\ndata: cut off';
const EVENTS = [
  { event: "token", data: "a\né", id: "7", retry: undefined },
  { event: "message", data: "", id: "7", retry: undefined },
  { event: "message", data: " b", id: "7", retry: 50 },
];

test("sse_parser_gives_the_same_events_wherever_the_bytes_are_split", async () => {
  const bytes = Buffer.from(TEXT);
  const comments = [];
  assert.deepEqual(await sseAll([bytes], { comments }), EVENTS);
  assert.deepEqual(comments, ["hi"]);
  for (let at = 1; at < bytes.length; at++)
    assert.deepEqual(await sseAll([bytes.subarray(0, at), bytes.subarray(at)]), EVENTS, `split at ${at}`);
  assert.deepEqual(await sseAll([...bytes].map((b) => Buffer.from([b]))), EVENTS, "byte by byte");
});

test("tcp_exchange_tells_a_close_from_a_silence", async (t) => {
  const server = net.createServer((socket) => socket.once("data", (d) => (d.toString() === "bye" ? socket.end("ok") : socket.write("...")))).listen(0, "127.0.0.1");
  await new Promise((r) => server.once("listening", r));
  t.after(() => server.close());
  const { port } = server.address();
  const closed = await tcpExchange(port, ["b", "ye"].join(""));
  assert.deepEqual([closed.text, closed.closed, closed.timedOut], ["ok", true, false]);
  const silent = await tcpExchange(port, "stay", { timeout: 100 });
  assert.deepEqual([silent.text, silent.closed, silent.timedOut], ["...", false, true]);
});
