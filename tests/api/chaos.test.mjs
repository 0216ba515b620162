// Every way a provider fails × every wire format, through the whole program over real sockets: exact text, exact usage or the mark of
// an estimate, exactly one end, counters that agree, the protocol's words for a DeepWiki client, and no connection left open.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "./harness.mjs";
import { FORMATS, ask, counters, only, play, textOf, words } from "./providers.mjs";

const N = 12; // words of a whole answer
const PROMPT = 11; // prompt tokens the fake claims
const ALL = words(N);
const HALF = words(6);
const BEGINS_AGAIN = "\n\n[The model's connection failed. The answer begins again:]\n\n";
const isSse = (f) => f.transport === "SSE";
const is = (...names) => (f) => names.includes(f.name);

// An accepted request that came to nothing is paid for all the same. Anthropic has said how much by then, the others have not.
const BEFORE_THE_FIRST = { estimate: (f) => f.name !== "azure_anthropic", usage: [PROMPT + PROMPT, N + 1] };

// scripts: of the fake, one per endpoint (tokens=N is added); N as in provider.py
// args: of the program
// text: what the answer is in the end (ALL) · error: the message of its error event, for answers that fail · reason: of `done` ("stop")
// requests: how many the fake sees, [least, most] or a number (1) · failed: how many of them fail (0) · reset: the answer begins again
// estimate: the usage is one (false) · usage: [prompt, completion] where exact · on: the formats that can do this
const CASES = [
  { name: "a whole answer", scripts: [""] },
  { name: "a slow first token", scripts: ["slow=0.3"] },
  { name: "a slow first token after comments", scripts: ["slow=0.3+comments=0.05"], on: isSse },
  { name: "thinking, which is no part of the answer", scripts: ["think=1"] },
  { name: "an answer without figures", scripts: ["nousage=1"], estimate: true },
  { name: "a connection that is reset once all is said", scripts: ["after=cut"] },
  { name: "a connection that is reset once all is said, with another endpoint", scripts: ["after=cut", ""] },
  // Gemini has no last event: there, silence tells.
  { name: "a body that never ends once all is said", scripts: ["after=stall"], args: (f) => (f.name === "google" ? ["--idle-timeout", "400ms"] : []) },
  { name: "an empty answer", scripts: ["tokens=0"], text: "", usage: (f) => [PROMPT, f.name === "azure_anthropic" ? 1 : 0] },
  { name: "an answer ended by its length", scripts: ["finish=length"], reason: "length" },
  { name: "an answer ended by the content filter", scripts: ["finish=filter"], reason: "content_filter", on: (f) => f.name !== "ollama" },
  {
    name: "a prompt refused by the content filter",
    scripts: ["refuse=1"],
    text: "",
    error: /flagged|filter|blocked/,
    failed: 1,
    usage: (f) => (f.name === "google" ? [PROMPT, 0] : [0, 0]),
    on: (f) => !is("ollama", "bedrock")(f), // the first has none, the second answers in the model's place
  },
  { name: "429 with Retry-After, once", scripts: ["status=429+retry=1+times=1"], requests: 2, failed: 1, apart: 1 },
  { name: "429 that asks for longer than the budget", scripts: ["status=429+retry=900"], text: "", error: /^HTTP 429: no; it asks to wait \d+ s$/, failed: 1, usage: [0, 0] },
  { name: "500, once", scripts: ["status=500+times=1"], requests: 2, failed: 1 },
  { name: "503, twice", scripts: ["status=503+times=2"], requests: 3, failed: 2 },
  {
    name: "500 for ever",
    scripts: ["status=500"],
    args: ["--retry-budget", "1s"],
    text: "",
    error: /^HTTP 500: no \(after [2-5] attempts\)$/,
    requests: [2, 5],
    failed: [2, 5],
    usage: [0, 0],
  },
  { name: "a wrong key", scripts: ["key=right"], text: "", error: /^HTTP 401: Incorrect API key provided:( \*\*\*)?$/, failed: 1, usage: [0, 0] },
  { name: "a cut before the first token, once", scripts: ["cut=0+times=1"], requests: 2, failed: 1, ...BEFORE_THE_FIRST },
  { name: "a cut in the middle", scripts: ["cut=6"], text: HALF, error: /./, failed: 1, estimate: true },
  { name: "a body that ends well but too early", scripts: ["trunc=6"], text: HALF, error: /^the answer was cut off before its end$/, failed: 1, estimate: true },
  { name: "a stall in the middle", scripts: ["stall=6"], args: ["--idle-timeout", "400ms"], text: HALF, error: /^the provider stopped in the middle: nothing for 0\.4 s$/, failed: 1, estimate: true },
  {
    name: "a stall that comments cover",
    scripts: ["stall=6+comments=0.05"],
    args: ["--idle-timeout", "400ms"],
    text: HALF,
    error: /^the provider stopped in the middle: nothing for 0\.4 s$/,
    failed: 1,
    estimate: true,
    on: isSse,
  },
  { name: "no first token in time, once", scripts: ["slow=60+times=1"], args: ["--first-token-timeout", "400ms"], requests: 2, failed: 1, estimate: true },
  {
    name: "no first token in time, for ever",
    scripts: ["slow=60"],
    args: ["--first-token-timeout", "300ms", "--retry-budget", "400ms"],
    text: "",
    error: /^no first token within 0\.3 s( \(after \d attempts\))?$/,
    requests: [1, 3],
    failed: [1, 3],
    estimate: true,
  },
  { name: "a malformed event in the middle", scripts: ["bad=6"], text: HALF, error: /^the provider sent something that is not an answer in its format$/, failed: 1, estimate: true },
  { name: "a malformed first event, once", scripts: ["bad=0+times=1"], requests: 2, failed: 1, ...BEFORE_THE_FIRST },
  { name: "an error inside the stream", scripts: ["error=6"], text: HALF, error: /overloaded|had an error|stopped/i, failed: 1, estimate: true },
  { name: "failing over before the first token", scripts: ["status=503", ""], requests: 2, failed: 1 },
  { name: "failing over from a wrong key", scripts: ["key=right", ""], requests: 2, failed: 1 },
  { name: "failing over after the first token: a cut", scripts: ["cut=6", ""], requests: 2, failed: 1, reset: true, estimate: true },
  { name: "failing over after the first token: an error event", scripts: ["error=6", ""], requests: 2, failed: 1, reset: true, estimate: true },
  { name: "failing over after the first token: a malformed event", scripts: ["bad=6", ""], requests: 2, failed: 1, reset: true, estimate: true },
  { name: "failing over after the first token: a stall", scripts: ["stall=6", ""], args: ["--idle-timeout", "400ms"], requests: 2, failed: 1, reset: true, estimate: true },
  { name: "both endpoints cut", scripts: ["cut=6", "cut=6"], text: HALF, error: /\(after 2 attempts\)$/, requests: 2, failed: 2, reset: true, estimate: true },
];

let fake;
before(async () => {
  fake = await play();
});
after(() => fake.stop());

const inRange = (value, range, what) => {
  const [least, most] = Array.isArray(range) ? range : [range, range];
  assert.ok(value >= least && value <= most, `${what}: ${value}, not ${least} to ${most}`);
};

function checkText(c, f, { text, events, code }) {
  const wanted = c.text ?? ALL;
  assert.equal(textOf(events), wanted);
  const resets = events.filter((e) => e.event === "reset").length;
  assert.equal(resets, c.reset ? 1 : 0);
  let live = (c.reset ? HALF + BEGINS_AGAIN : "") + wanted;
  if (c.error) {
    const error = only(events, "error");
    assert.match(error.message, c.error);
    live += f.errorText(error.message);
  } else {
    assert.ok(!events.some((e) => e.event === "error"), JSON.stringify(events));
  }
  assert.equal(text, live);
  assert.equal(code, 1000);
}

function checkUsage(c, f, events) {
  const usage = only(events, "usage");
  const exact = typeof c.usage === "function" ? c.usage(f) : (c.usage ?? [PROMPT, N]);
  const isEstimate = typeof c.estimate === "function" ? c.estimate(f) : (c.estimate ?? false);
  assert.equal(usage.is_estimate, isEstimate);
  if (!isEstimate) assert.deepEqual([usage.prompt_tokens, usage.completion_tokens], exact);
  else {
    assert.ok(usage.prompt_tokens > 0);
    assert.ok(usage.completion_tokens > 0 || c.text === "");
  }
  return usage;
}

function checkEnd(c, f, events) {
  const done = only(events, "done");
  assert.deepEqual(
    events.slice(c.error ? -3 : -2).map((e) => e.event),
    c.error ? ["usage", "error", "done"] : ["usage", "done"],
  );
  assert.deepEqual([done.reason, done.provider], [c.error ? "error" : (c.reason ?? "stop"), f.provider]);
}

async function checkFake(c, f, scripts) {
  const all = async () => (await Promise.all([...new Set(scripts)].map(fake.asked))).flat();
  const requests = await waitFor(
    async () => {
      const list = await all();
      return list.every((r) => r.done || r.cut || r.closed) && list;
    },
    { what: "every connection to be closed" },
  );
  inRange(requests.length, c.requests ?? 1, "requests");
  for (const r of requests) {
    assert.ok(r.model, "the model is never null");
    assert.deepEqual([r.role, r.key, r.signature], [f.role, f.key, null]);
    assert.match(r.prompt, /<query>\nwhere are retries decided\?\n<\/query>/);
  }
  if (c.apart) assert.ok(requests[1].began_at - requests[0].began_at >= c.apart, "Retry-After was obeyed");
  return requests;
}

async function run(c, f) {
  const tokens = c.scripts[0].includes("tokens=") ? "" : `tokens=${N}+`;
  const id = `${c.name} ${f.name}`.replace(/[^a-z0-9]+/gi, "-");
  const scripts = c.scripts.map((s, i) => `${tokens}${s}${s && "+"}run=${id}-${i}`);
  const env = f.env(scripts.map((s) => fake.url(s, f)).join(","));
  await fake.serving(
    env,
    async (server) => {
      const answer = await ask(server, fake.repo, { provider: f.provider });
      checkText(c, f, answer);
      const usage = checkUsage(c, f, answer.events);
      checkEnd(c, f, answer.events);
      const requests = await checkFake(c, f, scripts);
      const count = await counters(server);
      assert.deepEqual(
        [count.runs, count.attempts, count.resets, count.prompt_tokens, count.completion_tokens],
        [1, requests.length, c.reset ? 1 : 0, usage.prompt_tokens, usage.completion_tokens],
      );
      inRange(count.attempts_failed, c.failed ?? 0, "failed attempts");
      for (const secret of ["test-key-0123456789", "wJalrXUtnFEMI"]) {
        assert.ok(!server.stderr().includes(secret), "no key in the log");
        assert.ok(!answer.text.includes(secret), "no key in the answer");
      }
    },
    typeof c.args === "function" ? c.args(f) : c.args,
  );
}

// Most of the time is waiting, so many at once.
describe("every failure, every format", { concurrency: 8 }, () => {
  for (const f of FORMATS)
    for (const c of CASES) if (!c.on || c.on(f)) test(`${f.name}: ${c.name}`, () => run(c, f));
});
