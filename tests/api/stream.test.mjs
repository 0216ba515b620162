// The promise of the event log: whoever reads, live, second, late, reconnecting, after a restart or after kill -9, sees the same.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { sseAll, sseEvents, start, waitFor } from "./harness.mjs";

const user = (content) => [{ role: "user", content }];
const bench = (model) => ({ repo_url: "-", messages: user("go"), provider: "bench", model });
let server;

before(async () => {
  server = await start({ args: ["--bench-source"] });
});
after(async () => {
  await server.stop();
});

async function begin(body) {
  const { status, json } = await server.http("POST", "/v1/answers", { json: body });
  assert.equal(status, 202);
  assert.equal(json.events_url, `/v1/streams/${json.stream_id}/events`);
  return json.stream_id;
}
async function read(id, headers = {}, query = "") {
  const { response, events } = await server.sse(`/v1/streams/${id}/events${query}`, { headers });
  assert.equal(response.status, 200);
  const all = [];
  for await (const e of events) all.push({ id: Number(e.id), event: e.event, data: JSON.parse(e.data) });
  return all;
}
const textOf = (events) => events.filter((e) => e.event === "token").map((e) => e.data.text).join("");
// What must be equal for every reader: the whole text and everything that is not text, in order.
const essence = (events) => JSON.stringify({ text: textOf(events), rest: events.filter((e) => e.event !== "token").map((e) => [e.event, e.data]) });

test("two live readers, a late one and one that resumes see the same", async () => {
  const id = await begin(bench("400:40:400"));
  const [one, two] = [read(id), read(id)];
  // One that leaves after some events and comes back with Last-Event-ID.
  const { events } = await server.sse(`/v1/streams/${id}/events`);
  const part = [];
  for await (const e of events) {
    part.push({ id: Number(e.id), event: e.event, data: JSON.parse(e.data) });
    if (part.length === 50) break;
  }
  const rest = await read(id, { "last-event-id": String(part.at(-1).id) });
  const a = await one;
  assert.equal(textOf(a).length, 400 * 40);
  assert.equal(essence(await two), essence(a));
  assert.equal(essence(await read(id)), essence(a));
  assert.equal(essence([...part, ...rest]), essence(a));
  assert.ok(rest.every((e) => e.id > part.at(-1).id));
});

test("the same over WebSocket, resumed with after", async () => {
  const id = await begin(bench("200:32:400"));
  const ws = await server.ws(`/v1/streams/${id}/events`);
  const first = [];
  while (first.length < 20) first.push(await ws.nextJson());
  ws.socket.terminate();
  const again = await server.ws(`/v1/streams/${id}/events?after=${first.at(-1).id}`);
  const { code, frames } = await again.untilClose();
  assert.equal(code, 1000);
  const rest = frames.map((f) => JSON.parse(f.data));
  const sse = await read(id);
  assert.equal(essence([...first, ...rest]), essence(sse));
});

test("the plain dialect resumes too: stream_id and after on /ws/chat and over http", async () => {
  const ws = await server.ws("/ws/chat");
  const id = ws.headers["x-stream-id"];
  ws.send(bench("300:20:600"));
  let head = "";
  for (let i = 0; i < 30; i++) head += (await ws.next()).data;
  ws.socket.terminate();
  const whole = textOf(await read(id));
  assert.ok(whole.startsWith(head));
  const again = await server.ws("/ws/chat");
  again.send({ stream_id: id, after: 0 });
  const all = await again.untilClose();
  assert.equal(all.text, whole);
  assert.equal(all.code, 1000);
  const http = await server.http("POST", "/chat/completions/stream", { json: { stream_id: id } });
  assert.equal(http.text, whole);
});

test("after beyond the end tells the end", async () => {
  const id = await begin(bench("3:16:0"));
  await read(id);
  const end = await read(id, {}, "?after=100000");
  assert.equal(end.length, 1);
  assert.equal(end[0].event, "done");
});

test("unknown streams: 404 problem, 1008; a bad number: 400", async () => {
  const get = await server.http("GET", "/v1/streams/st_nothing/events");
  assert.equal(get.status, 404);
  assert.match(get.headers.get("content-type"), /^application\/problem\+json/);
  assert.equal(get.json.code, "not_found");
  const ws = await server.ws("/v1/streams/st_nothing/events");
  assert.equal((await ws.untilClose()).code, 1008);
  assert.equal((await server.http("GET", "/v1/streams/st_nothing/events?after=x")).status, 400);
  assert.equal((await server.http("POST", "/v1/streams/st_nothing/stop")).status, 404);
});

test("leaving stops nothing; stop does, within 200 ms, and the text so far is kept", async () => {
  const id = await begin(bench("100000:32:200"));
  const gone = await server.ws(`/v1/streams/${id}/events`);
  await gone.next();
  gone.socket.terminate();
  await new Promise((r) => setTimeout(r, 300));
  const live = await server.ws(`/v1/streams/${id}/events`);
  await live.next();
  const stop = await server.http("POST", `/v1/streams/${id}/stop`);
  const asked = Date.now();
  assert.equal(stop.status, 200);
  const { frames } = await live.untilClose();
  assert.ok(Date.now() - asked < 2000);
  const end = frames.map((f) => JSON.parse(f.data));
  assert.equal(end.at(-1).data.reason, "cancelled");
  assert.equal(end.at(-2).event, "usage");
  const kept = await read(id);
  assert.ok(textOf(kept).length > 32 * 50, "it went on while nobody read");
  assert.equal(textOf(kept).length, 32 * kept.at(-2).data.completion_tokens);
});

test("a slow reader gets merged text and every byte", async () => {
  const id = await begin(bench("20000:64:0"));
  const { response } = await server.sse(`/v1/streams/${id}/events`);
  const reader = response.body.getReader();
  const pieces = [];
  for (let n = 0; ; n++) {
    const { value, done } = await reader.read();
    if (done) break;
    pieces.push(Buffer.from(value));
    if (n < 20) await new Promise((r) => setTimeout(r, 10));
  }
  const events = (await sseAll(pieces)).map((e) => ({ id: Number(e.id), event: e.event, data: JSON.parse(e.data) }));
  assert.equal(textOf(events).length, 20000 * 64);
  assert.ok(textOf(events).startsWith("0 "));
  assert.equal(events.at(-1).event, "done");
});

test("SSE is formal: one data line, id counts from 1, headers that keep proxies from buffering", async () => {
  const response = await server.stream("POST", "/v1/answers", { json: bench("5:16:0"), headers: { accept: "text/event-stream" } });
  assert.match(response.headers.get("content-type"), /^text\/event-stream/);
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  assert.match(response.headers.get("cache-control"), /no-cache/);
  const id = response.headers.get("x-stream-id");
  const raw = await response.text();
  const blocks = raw.split("\n\n").filter((b) => b && !b.startsWith(":"));
  assert.ok(blocks.every((b) => /^id: \d+\nevent: \w+\ndata: \{.*\}$/.test(b)), raw);
  assert.match(blocks[0], /^id: 1\n/);
  assert.equal(essence(await read(id)), essence((await sseAll([raw])).map((e) => ({ id: +e.id, event: e.event, data: JSON.parse(e.data) }))));
});

test("after an orderly restart a stream reads as before", async () => {
  const id = await begin(bench("500:64:0"));
  const before_ = await read(id);
  await server.restart();
  assert.equal(essence(await read(id)), essence(before_));
  const running = await begin(bench("100000:32:100"));
  await waitFor(async () => (await server.http("GET", "/health")).status === 200);
  await new Promise((r) => setTimeout(r, 300));
  await server.restart({ args: ["--bench-source", "--drain-timeout", "1s"] });
  const cut = await read(running);
  assert.equal(cut.at(-1).event, "done");
  assert.ok(["interrupted", "cancelled"].includes(cut.at(-1).data.reason), cut.at(-1).data.reason);
  assert.ok(textOf(cut).length > 0);
});

test("kill -9 in mid-answer, ten times: what was seen is there, then one interrupted end, byte-exact on every transport", async () => {
  for (let round = 0; round < 10; round++) {
    const id = await begin(bench("100000:48:1000"));
    const ws = await server.ws(`/v1/streams/${id}/events`);
    const seen = [];
    const want = 20 + round * 37;
    while (seen.length < want) seen.push(await ws.nextJson());
    await server.kill9();
    await ws.closed;
    const got = ws.frames.map((f) => JSON.parse(f.data));
    await server.restart();
    const after_ = await read(id);
    assert.equal(after_.at(-1).event, "done");
    assert.deepEqual(after_.at(-1).data.reason, "interrupted");
    assert.equal(after_.filter((e) => e.event === "done").length, 1);
    assert.ok(textOf(after_).startsWith(textOf(got)), "everything a reader saw is in the log");
    const rest = await read(id, { "last-event-id": String(got.at(-1).id) });
    assert.equal(textOf(got) + textOf(rest), textOf(after_));
    await server.restart();
    assert.equal(essence(await read(id)), essence(after_), "and stays so");
  }
});

test("a hundred answers at once, each read by two, all exact", async () => {
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const tokens = 50 + i;
      const id = await begin(bench(`${tokens}:24:500`));
      const [a, b] = await Promise.all([read(id), read(id)]);
      assert.equal(textOf(a).length, tokens * 24);
      assert.equal(essence(a), essence(b));
    }),
  );
});
