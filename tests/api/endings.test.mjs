// Endings that readers and operators bring about, over each way a provider frames its answer: stop, a reader that leaves, kill -9.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "./harness.mjs";
import { TRANSPORTS, eventsOf, only, play, textOf, user, words } from "./providers.mjs";

let fake;
before(async () => {
  fake = await play();
});
after(() => fake.stop());

const seconds = () => Date.now() / 1000;

// Opens an answer and hands over its socket.
async function open(server, f, options) {
  const ws = await server.ws("/ws/chat", options);
  ws.send({ repo_url: fake.repo, messages: user("where are retries decided?"), provider: f.provider });
  return ws;
}

// Asks to stop, waits for the end, and checks it from both sides.
async function stopAndCheck(f, script, ws) {
  const asked = seconds();
  ws.send({ type: "stop" });
  const events = (await ws.untilClose()).frames.map((frame) => JSON.parse(frame.data));
  assert.equal(only(events, "done").reason, "cancelled");
  assert.deepEqual(
    events.slice(-2).map((e) => e.event),
    ["usage", "done"],
  );
  const request = await waitFor(async () => (await fake.asked(script)).find((r) => r.closed), { what: "the provider to see the close" });
  const took = request.closed_at - asked;
  assert.ok(took < 0.5, `${took} s`); // the promise is 100 ms; the rest is for loaded machines
  console.error(`${f.name} (${f.transport}): stop seen by the provider after ${(took * 1000).toFixed(0)} ms`);
  return { events, request };
}

function testsOf(f) {
  const start = (script, work) => fake.serving(f.env(fake.url(script, f)), work);

  test(`${f.name}: stop in mid-answer reaches the provider at once, and the text so far is kept`, () => {
    const script = `tokens=10000+pace=0.02+run=stop-${f.name}`;
    return start(script, async (server) => {
      const ws = await open(server, f, { protocols: ["headwater.v1"] });
      const id = ws.headers["x-stream-id"];
      while ((await ws.nextJson()).event !== "token");
      await new Promise((r) => setTimeout(r, 200));
      const { events, request } = await stopAndCheck(f, script, ws);
      const text = textOf(events);
      assert.ok(text.length > 0 && words(request.tokens + 1).startsWith(text), text);
      assert.ok(only(events, "usage").completion_tokens > 0);
      assert.equal(textOf(await eventsOf(server, id)), text);
    });
  });

  test(`${f.name}: stop before the first token reaches the provider at once`, () => {
    const script = `slow=3600+run=early-${f.name}`;
    return start(script, async (server) => {
      const ws = await open(server, f, { protocols: ["headwater.v1"] });
      await waitFor(async () => (await fake.asked(script)).length, { what: "the request" });
      const { events } = await stopAndCheck(f, script, ws);
      assert.equal(textOf(events), "");
    });
  });

  test(`${f.name}: stop between two attempts: the provider is not asked again`, () => {
    const script = `status=429+retry=20+run=between-${f.name}`;
    return start(script, async (server) => {
      const ws = await open(server, f, { protocols: ["headwater.v1"] });
      for (let e = await ws.nextJson(); !/^waiting/.test(e.data.message ?? ""); e = await ws.nextJson());
      ws.send({ type: "stop" });
      const events = (await ws.untilClose()).frames.map((frame) => JSON.parse(frame.data));
      assert.equal(only(events, "done").reason, "cancelled");
      assert.deepEqual([only(events, "usage").prompt_tokens, only(events, "usage").is_estimate], [0, false]);
      assert.equal((await fake.asked(script)).length, 1);
    });
  });

  test(`${f.name}: a reader that leaves stops nothing, and reads all of it later`, () => {
    const script = `tokens=40+pace=0.02+run=leave-${f.name}`;
    return start(script, async (server) => {
      const ws = await open(server, f);
      const id = ws.headers["x-stream-id"];
      await ws.next();
      ws.socket.terminate();
      const again = await server.ws("/ws/chat");
      again.send({ stream_id: id });
      assert.equal((await again.untilClose()).text, words(40));
      const events = await eventsOf(server, id);
      const { prompt_tokens, completion_tokens, is_estimate } = only(events, "usage");
      assert.deepEqual([prompt_tokens, completion_tokens, is_estimate], [11, 40, false]);
      assert.equal(only(events, "done").reason, "stop");
      const [request] = await fake.asked(script);
      assert.deepEqual([request.done, request.closed], [true, false]);
    });
  });

  test(`${f.name}: kill -9 in mid-answer: what was seen is kept, then interrupted, and the next answer is whole`, () => {
    const script = `tokens=400+pace=0.01+run=kill-${f.name}`;
    return start(script, async (server) => {
      const ws = await open(server, f);
      const id = ws.headers["x-stream-id"];
      while (ws.frames.length < 20) await ws.next();
      await server.kill9();
      await ws.closed;
      const seen = ws.frames.map((frame) => frame.data).join("");
      await waitFor(async () => (await fake.asked(script))[0].closed, { what: "the provider to see the close" });
      await server.restart();
      const events = await eventsOf(server, id);
      assert.ok(seen.length > 0 && textOf(events).startsWith(seen));
      assert.equal(only(events, "done").reason, "interrupted");
      const again = await open(server, f);
      assert.equal((await again.untilClose()).text, words(400));
    });
  });
}

describe("endings, each framing", { concurrency: 4 }, () => {
  for (const f of TRANSPORTS) testsOf(f);
});
