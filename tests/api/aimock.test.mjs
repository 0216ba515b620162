// The chat formats against a counterpart that others wrote, npm's @copilotkit/aimock: what both sides take the formats to be must
// agree. What it does differently from the providers' documents stands in DIFFERENT, and is shown with tests/fakes/provider.py in
// chaos.test.mjs instead.
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { tempTree } from "./harness.mjs";
import { FORMATS, ask, counters, eventsOf, only, serving, textOf, user } from "./providers.mjs";

const NEEDS = [20, 15]; // what its package.json asks for
const [major, minor] = process.versions.node.split(".").map(Number);
const isOld = major < NEEDS[0] || (major === NEEDS[0] && minor < NEEDS[1]);
const LLMock = isOld ? null : await import("@copilotkit/aimock").then((m) => m.LLMock, () => null);
const cannot = isOld ? `Node ${process.version} is older than ${NEEDS.join(".")}` : LLMock ? false : "npm package @copilotkit/aimock is missing (dev/setup test)";
if (cannot) console.error(`SKIPPED: aimock: ${cannot}`);

const DIFFERENT = {
  // Ollama's last line has prompt_eval_count, eval_count and done_reason (docs/api.md of Ollama). aimock always says 0, 0 and gives no
  // reason, whatever the fixture says: we then estimate, and take the end for "stop".
  ollama: { hasFigures: false, hasFinish: false },
  // message_start counts the answer's first token or so, message_delta all of them. aimock has the last figure in both, so that an
  // answer that is cut seems to be counted to its end.
  azure_anthropic: { hasAllFiguresAtOnce: true },
  // The service refuses a signature that is wrong; aimock does not look at it. So its answers prove the event stream only.
  bedrock: { checksKey: false },
};

// Lone surrogates come out of this: aimock cuts by UTF-16 unit, as some providers do.
const TEXT = 'Grüße, 世界! 👩‍🚀🎉 a<b & c "q" \\n\n\n```py\nx = 1\n```\n- 𝒳𝒴𝒵 end';
const USAGE = {
  ...{ prompt_tokens: 2101, completion_tokens: 87 },
  ...{ input_tokens: 2101, output_tokens: 87 },
  ...{ promptTokenCount: 2101, candidatesTokenCount: 87 },
};
const ANY = { predicate: () => true };
const QUESTION = "where are retries decided?";

let repo;
before(() => {
  repo = tempTree({ "src/retry.py": 'def should_retry(n):\n    """Decides whether to try again."""\n    return n < 5\n' });
});

// A mock with fixtures, and the program with this format pointed at it. args: of the program
async function playing(f, setUp, work, { options = {}, args = [] } = {}) {
  const mock = new LLMock({ port: 0, chunkSize: 7, ...options });
  setUp(mock);
  await mock.start();
  try {
    await serving(repo, f.env(mock.url + f.path), (server) => work(server, mock), args);
  } finally {
    await mock.stop();
  }
}
const asking = (f, server) => ask(server, repo, { provider: f.provider });

function assertOneEnd(events, reason) {
  const done = only(events, "done");
  assert.equal(events.at(-1).event, "done");
  assert.equal(done.reason, reason);
}
function assertFigures(d, usage, figures = [2101, 87]) {
  assert.equal(usage.is_estimate, !d.hasFigures);
  if (d.hasFigures) assert.deepEqual([usage.prompt_tokens, usage.completion_tokens], figures);
  else assert.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
}
function assertFailed(f, { text, events }, partial, why) {
  const { message } = only(events, "error");
  assert.match(message, why);
  assert.equal(text, partial + f.errorText(message));
  assertOneEnd(events, "error");
}

function checkRequest(f, { path, headers, body, response }) {
  assert.equal(response.status, 200);
  assert.ok(body.model, "the model is never null");
  assert.equal(body.messages.length, 1);
  assert.equal(body.messages[0].role, f.role);
  assert.ok(body.messages[0].content.includes(`<query>\n${QUESTION}\n</query>`));
  assert.match(body.messages[0].content, /<START_OF_CONTEXT>[\s\S]*## File Path: src\/retry\.py/);
  assert.equal(body.stream, true);
  assert.match(headers["content-type"], /^application\/json/);
  assert.match(headers["user-agent"], /^headwater\//);
  assert.ok(path.startsWith(f.path));
}

function testsOf(f) {
  const d = { hasFigures: true, hasFinish: true, checksKey: f.key !== "", ...DIFFERENT[f.name] };
  const auth = d.checksKey ? { auth: { apiKeys: [f.key] } } : {};

  test(`${f.name}: text, figures, end and request are what aimock takes them to be`, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { content: TEXT, usage: USAGE }),
      async (server, mock) => {
        const { text, code, events } = await asking(f, server);
        assert.equal(text, TEXT);
        assert.equal(code, 1000);
        assertFigures(d, only(events, "usage"));
        assertOneEnd(events, "stop");
        assert.equal(mock.getRequests().length, 1);
        checkRequest(f, mock.getLastRequest());
      },
      { options: auth },
    ));

  test(`${f.name}: thinking is no part of the answer; an answer cut by its length says so`, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { content: TEXT, reasoning: "Let me think about retries.", usage: USAGE, finishReason: "length" }),
      async (server) => {
        const { text, events } = await asking(f, server);
        assert.equal(text, TEXT);
        assertFigures(d, only(events, "usage"));
        assertOneEnd(events, d.hasFinish ? "length" : "stop");
      },
    ));

  test(`${f.name}: HTTP brings the same bytes`, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { content: TEXT }),
      async (server) => {
        const json = { repo_url: repo, messages: user(QUESTION), provider: f.provider };
        const { status, text } = await server.http("POST", "/chat/completions/stream", { json });
        assert.deepEqual([status, text], [200, TEXT]);
      },
    ));

  test(`${f.name}: a key that is not right is told in the protocol's words`, { skip: !d.checksKey && "aimock does not check it" }, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { content: TEXT }),
      async (server) => {
        const answer = await asking(f, server);
        assertFailed(f, answer, "", /^HTTP 401: Invalid API key$/);
        assert.ok(!answer.text.includes(f.key));
      },
      { options: { auth: { apiKeys: ["another"] } } },
    ));

  test(`${f.name}: 429 is waited out as long as asked, 500 is tried again`, () =>
    playing(
      f,
      (mock) => {
        mock.on({ ...ANY, sequenceIndex: 0 }, { error: { message: "slow down", type: "rate_limit_error" }, status: 429, retryAfter: 1 });
        mock.on({ ...ANY, sequenceIndex: 1 }, { error: { message: "it broke", type: "server_error" }, status: 500 });
        mock.on({ ...ANY, sequenceIndex: 2 }, { content: TEXT, usage: USAGE });
      },
      async (server, mock) => {
        const { text, events } = await asking(f, server);
        assert.equal(text, TEXT);
        assertFigures(d, only(events, "usage"));
        assertOneEnd(events, "stop");
        const requests = mock.getRequests();
        assert.deepEqual(
          requests.map((r) => r.response.status),
          [429, 500, 200],
        );
        assert.ok(requests[1].timestamp - requests[0].timestamp >= 1000);
        const count = await counters(server);
        assert.deepEqual([count.attempts, count.attempts_failed], [3, 2]);
      },
    ));

  test(`${f.name}: an error that stays is told in the protocol's words`, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { error: { message: "no such thing", type: "invalid_request_error" }, status: 400 }),
      async (server, mock) => {
        assertFailed(f, await asking(f, server), "", /^HTTP 400: no such thing$/);
        assert.equal(mock.getRequests().length, 1);
      },
    ));

  test(`${f.name}: a connection cut in mid-answer keeps the text so far, with one error`, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { content: TEXT, usage: USAGE }, { truncateAfterChunks: 6, latency: 20 }),
      async (server) => {
        const answer = await asking(f, server);
        const partial = textOf(answer.events);
        assert.ok(partial.length > 0 && partial.length < TEXT.length && TEXT.startsWith(partial), partial);
        assertFailed(f, answer, partial, /./);
        assert.equal(only(answer.events, "usage").is_estimate, !d.hasAllFiguresAtOnce);
      },
    ));

  test(`${f.name}: a body that is no answer at all is an error, not an empty answer`, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { content: TEXT }, { chaos: { malformedRate: 1 } }),
      async (server) => assertFailed(f, await asking(f, server), "", /(not an answer in its format|cut off before its end)( \(after \d attempts\))?$/),
      { args: ["--retry-budget", "300ms"] },
    ));

  test(`${f.name}: a slow first token is waited for, and what follows is passed on as it comes`, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { content: TEXT }, { streamingProfile: { ttft: 300, tps: 40 } }),
      async (server) => {
        const ws = await server.ws("/ws/chat");
        ws.send({ repo_url: repo, messages: user(QUESTION), provider: f.provider });
        const { text, frames } = await ws.untilClose();
        assert.equal(text, TEXT);
        assert.ok(frames.length > 2, `${frames.length} frames`);
        assertOneEnd(await eventsOf(server, ws.headers["x-stream-id"]), "stop");
      },
    ));

  test(`${f.name}: a first token that does not come in time is an error`, () =>
    playing(
      f,
      (mock) => mock.on(ANY, { content: TEXT }, { streamingProfile: { ttft: 2000 } }),
      async (server) => assertFailed(f, await asking(f, server), "", /^no first token within 0\.2 s( \(after \d attempts\))?$/),
      { args: ["--first-token-timeout", "200ms", "--retry-budget", "200ms"] },
    ));
}

describe("aimock", { concurrency: 8, skip: cannot }, () => {
  for (const f of FORMATS) testsOf(f);
});
