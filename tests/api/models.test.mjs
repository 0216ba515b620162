// Answers of models, from the fake provider on loopback, through the whole program: text, defaults, keys, and errors in the protocol's
// words. chaos.test.mjs has the ways to fail, endings.test.mjs stop, leaving and kill -9.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { cli, start } from "./harness.mjs";
import { AWS, FORMATS, play, user, words } from "./providers.mjs";

const ROOT_PATH = { path: "" };
let fake;

before(async () => {
  fake = await play();
});
after(() => fake.stop());

const base = (script) => fake.url(script, ROOT_PATH);
const log = (script) => fake.asked(script);
const serving = (env, work) => fake.serving(env, work);
async function ask(server, body) {
  const ws = await server.ws("/ws/chat");
  ws.send({ repo_url: fake.repo, messages: user("where are retries decided?"), ...body });
  return ws.untilClose();
}

for (const f of FORMATS) {
  test(`${f.name}: streams over WebSocket and HTTP, the same bytes, one frame and more, 1000`, () => {
    const script = `tokens=8+run=${f.name.replace(" ", "-")}`;
    return serving(f.env(fake.url(script, f)), async (server) => {
      const { text, code, frames } = await ask(server, { provider: f.provider });
      assert.equal(text, words(8));
      assert.equal(code, 1000);
      assert.ok(frames.length >= 1);
      const json = { repo_url: fake.repo, messages: user("where are retries decided?"), provider: f.provider };
      const http = await server.http("POST", "/chat/completions/stream", { json });
      assert.equal(http.status, 200);
      assert.equal(http.text, words(8));
      const [request] = await log(script);
      assert.ok(request.model, "the model is never null");
      assert.match(request.prompt, /<START_OF_CONTEXT>[\s\S]*## File Path: src\/retry\.py/);
      assert.match(request.prompt, /<query>\nwhere are retries decided\?\n<\/query>/);
    });
  });
}

test("the first provider with a key is the default; without one it is local; local stays available", () =>
  serving({ OPENAI_API_KEY: "sk-test", OPENAI_BASE_URL: base("tokens=3+run=default/v1") }, async (server) => {
    assert.equal((await ask(server, {})).text, words(3));
    assert.match((await ask(server, { provider: "local" })).text, /src\/retry\.py#L/);
    const models = (await server.http("GET", "/models/config")).json;
    assert.equal(models.defaultProvider, "openai");
    assert.ok(models.providers.some((p) => p.id === "local"));
    assert.ok(!JSON.stringify(models).includes("sk-test"));
  }));

test("a missing key, a wrong one and an unknown provider are told in the protocol's words", async () => {
  await serving({}, async (server) => {
    const { text } = await ask(server, { provider: "openai" });
    assert.equal(text, "Error preparing retriever: Environment variable OPENAI_API_KEY must be set");
    const http = await server.http("POST", "/chat/completions/stream", { json: { repo_url: fake.repo, messages: user("x"), provider: "openai" } });
    assert.deepEqual([http.status, http.json], [500, { detail: text }]);
  });
  await serving({ OPENAI_API_KEY: "sk-hidden-77", OPENAI_BASE_URL: base("key=right+run=auth/v1") }, async (server) => {
    const { text, code } = await ask(server, { provider: "openai" });
    assert.match(text, /^\nError with Openai API: [\s\S]+\n\nPlease check that you have set the OPENAI_API_KEY environment variable with a valid API key\.$/);
    assert.equal(code, 1000);
    const http = await server.http("POST", "/chat/completions/stream", { json: { repo_url: fake.repo, messages: user("x"), provider: "openai" } });
    assert.equal(http.status, 200);
    assert.match(http.text, /\nError with Openai API: /);
    assert.ok(!server.stderr().includes("sk-hidden-77"), "no key in the log");
  });
});

test("a prompt that is too long is asked again without context, then 1000 within a second", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=5+status=400+words=maximum%20context%20length%20exceeded+times=1+run=long/v1") }, async (server) => {
    const { text, code } = await ask(server, { provider: "openai" });
    assert.equal(text, words(5));
    assert.equal(code, 1000);
    const requests = await log("tokens=5+status=400+words=maximum%20context%20length%20exceeded+times=1+run=long").catch(() => []);
    if (requests.length) assert.doesNotMatch(requests.at(-1).prompt, /<START_OF_CONTEXT>/);
  }));

test("fifty answers of a model at once, all exact", () =>
  serving({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=30+pace=0.005+run=fifty/v1") }, async (server) => {
    const all = await Promise.all(Array.from({ length: 50 }, () => ask(server, { provider: "openai" })));
    for (const { text, code } of all) assert.deepEqual([text, code], [words(30), 1000]);
  }));

test("the command line uses a model too, and says so", async () => {
  const { dataDir } = await start().then(async (s) => (await s.stop(), s));
  const run = await cli(["ask", fake.repo, "where?", "--provider", "openai", "--json", "--data", dataDir], { env: { OPENAI_API_KEY: "k", OPENAI_BASE_URL: base("tokens=4+run=cli/v1") } });
  assert.equal(run.code, 0, run.stderr);
  assert.equal(run.json.answer.trim(), words(4).trim());
  assert.equal(run.json.provider, "openai");
});

test("bedrock: a wrong secret is told in the protocol's words, without the secret", () =>
  serving({ AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "not-the-secret-0123456789", AWS_ENDPOINT_URL_BEDROCK_RUNTIME: base("run=signature") }, async (server) => {
    const { text, code } = await ask(server, { provider: "bedrock" });
    assert.match(text, /^\nError with AWS Bedrock API: HTTP 403: The request signature we calculated does not match [\s\S]+\n\nPlease check that you have set the AWS_ACCESS_KEY_ID and /);
    assert.equal(code, 1000);
    assert.ok(!text.includes("not-the-secret") && !server.stderr().includes("not-the-secret"));
  }));

test("bedrock: a session token is signed and sent; a bearer token needs no signature", async () => {
  const address = { AWS_ENDPOINT_URL_BEDROCK_RUNTIME: base("tokens=3+run=session") };
  await serving({ ...AWS, AWS_SESSION_TOKEN: "session/+=token", ...address }, async (server) => {
    assert.equal((await ask(server, { provider: "bedrock" })).text, words(3));
  });
  await serving({ AWS_BEARER_TOKEN_BEDROCK: "bearer-token", ...address }, async (server) => {
    assert.equal((await ask(server, { provider: "bedrock" })).text, words(3));
  });
  const [session, bearer] = await log("tokens=3+run=session");
  assert.equal(session.headers["x-amz-security-token"], "session/+=token");
  assert.match(session.headers.authorization, /SignedHeaders=host;x-amz-date;x-amz-security-token,/);
  assert.equal(bearer.headers.authorization, "Bearer bearer-token");
});

test("bedrock: a role to assume is refused at start and on use, with what to do", () =>
  serving({ ...AWS, AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/reader", AWS_ENDPOINT_URL_BEDROCK_RUNTIME: base("run=role") }, async (server) => {
    assert.match(server.stderr(), /bedrock cannot be used.*AWS_ROLE_ARN is set/);
    const { text } = await ask(server, { provider: "bedrock" });
    assert.match(text, /^Error preparing retriever: AWS Bedrock client not initialized\. AWS_ROLE_ARN is set, but .*AWS_SESSION_TOKEN/);
    assert.equal((await log("run=role")).length, 0);
    assert.equal((await server.http("GET", "/models/config")).json.defaultProvider, "local");
  }));
