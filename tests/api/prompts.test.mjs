// What a model gets: the prompt as the fake provider received it, through the whole program, on both transports. The shape is the
// DeepWiki protocol's; what is left out when it gets too long, and what is asked again, are ours.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";
import { ROOT, start, tempTree, waitFor } from "./harness.mjs";

const user = (content) => ({ role: "user", content });
const assistant = (content) => ({ role: "assistant", content });
let fake, port, repo;

before(async () => {
  repo = tempTree({
    "src/retry.py": 'def should_retry(n):\n    """Decides whether to try again."""\n    return n < 5\n',
    "src/queue.py": "def put(job):\n    jobs.append(job)  # retry later\n\n\ndef retry_all():\n    return [should_retry(j) for j in jobs]\n",
    "docs/notes.txt": Array.from({ length: 3000 }, (_, i) => `note ${i} about nothing at all\n`).join(""),
    "README.md": "# Ferry\n\nFerry carries parcels. A retry carries them again.\n",
  });
  fake = spawn("/usr/bin/python3", [path.join(ROOT, "tests/fakes/provider.py")], { stdio: ["pipe", "pipe", "inherit"] });
  let out = "";
  fake.stdout.setEncoding("utf8").on("data", (d) => (out += d));
  port = Number(await waitFor(() => /port (\d+)\n/.exec(out)?.[1], { what: "the fake provider" }));
});
after(() => fake.stdin.end());

const base = (script) => `http://127.0.0.1:${port}/${script}`;
const words = (n) => Array.from({ length: n }, (_, i) => `w${i} `).join("");
// Requests whose settings hold run=NAME, in order.
const asked = async (run) => (await (await fetch(`http://127.0.0.1:${port}/_log`)).json()).filter((r) => r.path.split("/")[1].split("+").includes(`run=${run}`));

const PROVIDERS = {
  openai: (s, key) => ({ OPENAI_API_KEY: key, OPENAI_BASE_URL: base(`${s}/v1`) }),
  openrouter: (s, key) => ({ OPENROUTER_API_KEY: key, OPENROUTER_BASE_URL: base(`${s}/v1`) }),
  deepseek: (s, key) => ({ DEEPSEEK_API_KEY: key, DEEPSEEK_BASE_URL: base(`${s}/v1`) }),
  dashscope: (s, key) => ({ DASHSCOPE_API_KEY: key, DASHSCOPE_BASE_URL: base(`${s}/v1`) }),
  azure: (s, key) => ({ AZURE_OPENAI_API_KEY: key, AZURE_OPENAI_ENDPOINT: base(s), AZURE_OPENAI_VERSION: "2024-10-21" }),
  google: (s, key) => ({ GOOGLE_API_KEY: key, GOOGLE_BASE_URL: base(s) }),
  azure_anthropic: (s, key) => ({ AZURE_ANTHROPIC_API_KEY: key, AZURE_ANTHROPIC_ENDPOINT: base(s) }),
  ollama: (s) => ({ OLLAMA_HOST: base(s) }),
};

async function serving(env, work, args = []) {
  const server = await start({ args: ["--allow-path", repo, ...args], env });
  try {
    return await work(server);
  } finally {
    await server.stop();
  }
}
async function ws(server, body, options) {
  const socket = await server.ws("/ws/chat", options);
  socket.send({ repo_url: repo, ...body });
  return socket.untilClose();
}
const http = (server, body) => server.http("POST", "/chat/completions/stream", { json: { repo_url: repo, ...body } });

// The prompts of one request on each transport; they have to be the same.
async function promptOf(run, body, { provider = "openai", ...more } = {}) {
  await serving(PROVIDERS[provider](`tokens=2+run=${run}`, "k"), async (server) => {
    await ws(server, { provider, ...more, ...body });
    await http(server, { provider, ...more, ...body });
  });
  const prompts = (await asked(run)).map((r) => r.prompt);
  assert.equal(prompts.length, 2);
  assert.equal(prompts[0], prompts[1], "both transports ask the same");
  return prompts[0];
}
const queryOf = (prompt) => /<query>\n([\s\S]*)\n<\/query>/.exec(prompt)[1];

test("the prompt has the protocol's parts, in its order and its bytes", async () => {
  const prompt = await promptOf("shape", {
    filePath: "src/retry.py",
    messages: [user("what is Ferry?"), assistant("A carrier."), user("where are retries decided?")],
  });
  const shape = new RegExp(
    "^/no_think [^\\n][\\s\\S]*\\n\\n" +
      "<conversation_history>\\n<turn>\\n<user>what is Ferry\\?</user>\\n<assistant>A carrier\\.</assistant>\\n</turn>\\n</conversation_history>\\n\\n" +
      '<currentFileContent path="src/retry\\.py">\\ndef should_retry\\(n\\):\\n[\\s\\S]*    return n < 5\\n\\n?</currentFileContent>\\n\\n' +
      "<START_OF_CONTEXT>\\n\\n\\n----------## File Path: [\\s\\S]*\\n<END_OF_CONTEXT>\\n\\n" +
      "<query>\\nwhere are retries decided\\?\\n</query>\\n\\nAssistant: $",
  );
  assert.match(prompt, shape);
});

test("ollama's prompt ends with its own word", async () => {
  const prompt = await promptOf("ollama", { messages: [user("where are retries decided?")] }, { provider: "ollama" });
  assert.match(prompt, /^\/no_think /);
  assert.ok(prompt.endsWith("</query>\n\nAssistant:  /no_think"), JSON.stringify(prompt.slice(-60)));
});

test("context is grouped by file, each file once", async () => {
  const prompt = await promptOf("files", { messages: [user("should_retry jobs retry_all")] });
  const files = [...prompt.matchAll(/## File Path: (\S+)/g)].map((m) => m[1]);
  assert.ok(files.includes("src/retry.py") && files.includes("src/queue.py"), files.join());
  assert.equal(new Set(files).size, files.length);
  assert.match(prompt, /Lines 1-\d+( \(\w+\))?:\ndef should_retry/);
});

test("a model's window is kept: the oldest turns go first, the question and some context stay", async () => {
  const turns = Array.from({ length: 40 }, (_, i) => [user(`question ${i} ${"on parcels ".repeat(200)}`), assistant(`answer ${i} ${"by ferry ".repeat(200)}`)]).flat();
  const question = "where are retries decided, and what do notes say?";
  const prompt = await promptOf("window", { messages: [...turns, user(question)], filePath: "docs/notes.txt" }, { model: "gpt-4" });
  assert.ok(prompt.length < 8192 * 4.5, `${prompt.length} characters for 8192 tokens`);
  assert.equal(queryOf(prompt), question);
  const kept = [...prompt.matchAll(/<user>question (\d+) /g)].map((m) => Number(m[1]));
  assert.ok(kept.length > 0 && kept.length < 40, `${kept.length} turns`);
  assert.deepEqual(kept, kept.map((_, i) => 40 - kept.length + i), "the latest, in order");
  assert.match(prompt, /## File Path: src\/retry\.py/);
  assert.match(prompt, /<currentFileContent path="docs\/notes\.txt">\nnote 0 /);
  assert.doesNotMatch(prompt, /note 2999 /);
  const large = await promptOf("large", { messages: [...turns, user(question)], filePath: "docs/notes.txt" }, { model: "gpt-4.1" });
  assert.match(large, /<user>question 0 /, "a model that can take it gets all turns");
});

test("a file that is not there is left out, as the protocol does", async () => {
  const prompt = await promptOf("nofile", { messages: [user("where are retries decided?")], filePath: "src/none.py" });
  assert.doesNotMatch(prompt, /currentFileContent/);
  assert.match(prompt, /<START_OF_CONTEXT>/);
});

test("research rounds name their heading and number on both transports", async () => {
  const topic = user("[DEEP RESEARCH] How are retries decided?");
  const messages = [topic];
  const headings = ["## Research Plan", "## Research Update 2", "## Research Update 3", "## Research Update 4", "## Final Conclusion"];
  for (const [i, heading] of headings.entries()) {
    const prompt = await promptOf(`round${i}`, { messages });
    assert.ok(prompt.split("<conversation_history>")[0].includes(`\`${heading}\``), heading);
    assert.ok(!prompt.includes("{research_iteration}"));
    assert.equal(queryOf(prompt), "How are retries decided?", `round ${i + 1}`);
    assert.equal((prompt.match(/<turn>/g) || []).length, i);
    if (i) assert.match(prompt, /<user>\[DEEP RESEARCH\] How are retries decided\?<\/user>/);
    messages.push(assistant(`${heading}\nfound ${i}`), user("[DEEP RESEARCH] Continue the research"));
  }
});

test("a topic that contains the words continue and research stays the topic", async () => {
  const topic = "How does the research queue continue after a crash?";
  const first = await promptOf("topic1", { messages: [user(`[DEEP RESEARCH] ${topic}`)] });
  assert.equal(queryOf(first), topic);
  const later = await promptOf("topic2", { messages: [user(`[DEEP RESEARCH] ${topic}`), assistant("## Research Plan"), user("[DEEP RESEARCH] Continue the research")] });
  assert.equal(queryOf(later), topic);
});

test("the language is named in the system prompt; an unknown one is English", async () => {
  for (const [code, name] of [["ja", "Japanese (日本語)"], ["pt-br", "Brazilian Portuguese (Português Brasileiro)"], ["xx", "English"]]) {
    const prompt = await promptOf(`lang-${code}`, { messages: [user("where?")], language: code });
    assert.ok(prompt.split("<")[0].includes(`Write in ${name}`), code);
  }
});

for (const provider of Object.keys(PROVIDERS)) {
  const refused = "tokens=5+status=400+words=maximum_context_length_is_8192_tokens";
  test(`${provider}: a prompt that is too long is asked once more without the context, and the socket closes`, async () => {
    const messages = [user("what is Ferry?"), assistant("A carrier."), user("where are retries decided?")];
    await serving(PROVIDERS[provider](`${refused}+times=1+run=long-${provider}`, "k"), async (server) => {
      const { text, code } = await ws(server, { provider, messages, filePath: "src/retry.py" });
      assert.deepEqual([text, code], [words(5), 1000]);
    });
    const [first, second, ...more] = (await asked(`long-${provider}`)).map((r) => r.prompt);
    assert.equal(more.length, 0);
    assert.match(first, /<START_OF_CONTEXT>/);
    assert.doesNotMatch(second, /<START_OF_CONTEXT>/);
    assert.match(second, /<note>/);
    assert.match(second, /<assistant>A carrier\.<\/assistant>[\s\S]*<currentFileContent /, "history and file stay");
  });
  test(`${provider}: too long twice ends with the protocol's apology`, () =>
    serving(PROVIDERS[provider](`${refused}+run=apology-${provider}`, "k"), async (server) => {
      const apology = "\nI apologize, but your request is too large for me to process. Please try a shorter query or break it into smaller parts.";
      const { text, code } = await ws(server, { provider, messages: [user("where?")] });
      assert.deepEqual([text, code], [apology, 1000]);
      assert.equal((await asked(`apology-${provider}`)).length, 2);
      const over = await http(server, { provider, messages: [user("where?")] });
      assert.equal(over.text.includes(apology.trim()), true);
    }));
}

// Shaped like nothing that is known as a key, so that only knowing it can mask it.
const KEY = "the owner's own words 4711".replaceAll(" ", "-").replace("'", "");
for (const provider of Object.keys(PROVIDERS).filter((p) => p !== "ollama")) {
  test(`${provider}: a key that the provider repeats reaches neither people nor the log`, async () => {
    for (const fault of ["status=401", "status=400", "error=0", "error=2"]) {
      const script = `tokens=4+echo=1+${fault}+run=echo-${provider}`;
      await serving(
        PROVIDERS[provider](script, KEY),
        async (server) => {
          const body = { provider, messages: [user("where are retries decided?")] };
          const said = [
            (await ws(server, body)).text,
            (await ws(server, body, { protocols: ["headwater.v1"] })).text,
            (await http(server, body)).text,
            (await server.http("GET", "/metrics")).text,
          ];
          assert.match(said[0], /your key is \*\*\*, yes, \*\*\*/, fault);
          assert.match(server.stderr(), /\*\*\*/, "the log tells it");
          for (const text of [...said, server.stderr()]) assert.ok(!text.includes(KEY.slice(0, 12)), `${fault}: ${text}`);
        },
        ["--log-level", "debug"],
      );
      assert.equal((await asked(`echo-${provider}`)).at(-1).key, KEY);
    }
  });
}

test("tokens from a provider's cache are told, and part of the prompt's whatever its habit", async () => {
  for (const provider of ["openai", "azure_anthropic"]) {
    await serving(PROVIDERS[provider](`tokens=3+cached=7+run=cached-${provider}`, "k"), async (server) => {
      const { frames } = await ws(server, { provider, messages: [user("where?")] }, { protocols: ["headwater.v1"] });
      const { data } = frames.map((f) => JSON.parse(f.data)).find((e) => e.event === "usage");
      assert.deepEqual([data.prompt_tokens, data.cached_tokens, data.completion_tokens, data.is_estimate], [11, 7, 3, false]);
      const metrics = (await server.http("GET", "/metrics")).text;
      assert.ok(metrics.includes(`headwater_providers_cached_tokens_total{provider="${provider}"} 7\n`));
      assert.ok(metrics.includes(`headwater_providers_requests_total{provider="${provider}",outcome="ok"} 1\n`));
      assert.ok(metrics.includes(`headwater_providers_first_token_seconds_count{provider="${provider}"} 1\n`));
    });
  }
});
