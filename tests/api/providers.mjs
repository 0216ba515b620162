// The chat providers as tests see them: the fake that plays them (tests/fakes/provider.py), and one row a format with the variables
// that point the program at it and what a person reads when it fails (docs/protocol, DeepWiki's providers).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import path from "node:path";
import { ROOT, start, tempTree, waitFor } from "./harness.mjs";

// The key pair of the provider's own documentation: no secret. The fake checks signatures with it.
export const AWS = { AWS_ACCESS_KEY_ID: "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
const KEY = "test-key-0123456789"; // long enough to be masked wherever it would show

const plainText = (e) => `\nError: ${e}`;
const withAdvice = (api, advice) => (e) => `\nError with ${api}: ${e}\n\n${advice}`;
const checkKey = (name) => `Please check that you have set the ${name} environment variable with a valid API key.`;

// name: of the row · provider: asked for · env(urls): several urls mean failover · path: of the base URL · transport: how the answer
// is framed · role: of the one message · key: as the fake gets it
export const FORMATS = [
  {
    name: "openai",
    provider: "openai",
    transport: "SSE",
    path: "/v1",
    env: (urls) => ({ OPENAI_API_KEY: KEY, OPENAI_BASE_URL: urls }),
    errorText: withAdvice("Openai API", checkKey("OPENAI_API_KEY")),
  },
  {
    name: "openrouter",
    provider: "openrouter",
    transport: "SSE",
    path: "/api/v1",
    env: (urls) => ({ OPENROUTER_API_KEY: KEY, OPENROUTER_BASE_URL: urls }),
    errorText: withAdvice("OpenRouter API", checkKey("OPENROUTER_API_KEY")),
  },
  {
    name: "azure classic",
    provider: "azure",
    transport: "SSE",
    path: "",
    role: "system",
    env: (urls) => ({ AZURE_OPENAI_API_KEY: KEY, AZURE_OPENAI_ENDPOINT: urls, AZURE_OPENAI_VERSION: "2024-10-21" }),
    errorText: withAdvice(
      "Azure AI API",
      "Please check that you have set the AZURE_OPENAI_API_KEY, AZURE_OPENAI_ENDPOINT, and AZURE_OPENAI_VERSION environment variables with valid values.",
    ),
  },
  {
    name: "azure v1",
    provider: "azure",
    transport: "SSE",
    path: "/openai/v1",
    env: (urls) => ({ AZURE_OPENAI_API_KEY: KEY, AZURE_OPENAI_ENDPOINT: urls, AZURE_OPENAI_USE_V1: "true" }),
  },
  {
    name: "google",
    provider: "google",
    transport: "SSE",
    path: "/v1beta",
    env: (urls) => ({ GOOGLE_API_KEY: KEY, GOOGLE_BASE_URL: urls }),
    errorText: plainText,
  },
  {
    name: "ollama",
    provider: "ollama",
    transport: "NDJSON",
    path: "",
    key: "",
    env: (urls) => ({ OLLAMA_HOST: urls }),
    errorText: plainText,
  },
  {
    name: "azure_anthropic",
    provider: "azure_anthropic",
    transport: "SSE",
    path: "",
    env: (urls) => ({ AZURE_ANTHROPIC_API_KEY: KEY, AZURE_ANTHROPIC_ENDPOINT: urls }),
    errorText: withAdvice("Azure Anthropic API", "Please check AZURE_ANTHROPIC_API_KEY and AZURE_ANTHROPIC_ENDPOINT."),
  },
  {
    name: "bedrock",
    provider: "bedrock",
    transport: "binary",
    path: "",
    key: "",
    env: (urls) => ({ ...AWS, AWS_REGION: "eu-central-1", AWS_ENDPOINT_URL_BEDROCK_RUNTIME: urls }),
    errorText: withAdvice(
      "AWS Bedrock API",
      "Please check that you have set the AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY environment variables with valid credentials.",
    ),
  },
].map((f) => ({ role: "user", key: KEY, ...f }));
FORMATS[3].errorText = FORMATS[2].errorText;
// One of each way to frame an answer.
export const TRANSPORTS = FORMATS.filter((f) => ["openai", "ollama", "bedrock", "azure_anthropic"].includes(f.name));

export const user = (content) => [{ role: "user", content }];
export const words = (n) => Array.from({ length: n }, (_, i) => `w${i} `).join("");
export const textOf = (events) => {
  const from = events.findLastIndex((e) => e.event === "reset");
  return events
    .slice(from + 1)
    .filter((e) => e.event === "token")
    .map((e) => e.data.text)
    .join("");
};

// The fake, a repository to ask about, and programs that use them. stop() in `after`.
export async function play() {
  const repo = tempTree({
    "src/retry.py": 'def should_retry(n):\n    """Decides whether to try again."""\n    return n < 5\n',
    "README.md": "# Ferry\n\nFerry carries parcels.\n",
  });
  const child = spawn("/usr/bin/python3", [path.join(ROOT, "tests/fakes/provider.py")], { stdio: ["pipe", "pipe", "inherit"] });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (d) => (out += d));
  const port = Number(await waitFor(() => /port (\d+)\n/.exec(out)?.[1], { what: "the fake provider" }));
  const log = async () => (await fetch(`http://127.0.0.1:${port}/_log`)).json();
  return {
    repo,
    url: (script, format) => `http://127.0.0.1:${port}/${script}${format.path}`,
    // What the fake was asked under this script, in order.
    asked: async (script) => (await log()).filter((r) => r.path.startsWith(`/${script}/`)),
    serving: (env, work, args = []) => serving(repo, env, work, args),
    stop: () => child.stdin.end(),
  };
}

export async function serving(repo, env, work, args) {
  const server = await start({ args: ["--allow-path", repo, ...args], env });
  try {
    await work(server);
  } finally {
    await server.stop();
  }
}

// All events of a stream, from the log.
export async function eventsOf(server, id) {
  const { events } = await server.sse(`/v1/streams/${id}/events`);
  const all = [];
  for await (const e of events) all.push({ event: e.event, data: JSON.parse(e.data) });
  return all;
}

// One answer read live as a DeepWiki client reads it, and the events behind it.
export async function ask(server, repo, body) {
  const ws = await server.ws("/ws/chat");
  ws.send({ repo_url: repo, messages: user("where are retries decided?"), ...body });
  const { text, code } = await ws.untilClose();
  return { text, code, events: await eventsOf(server, ws.headers["x-stream-id"]) };
}

// The counters of the providers, by the end of their names, over all providers; attempts are the requests, whatever their
// outcome.
export async function counters(server) {
  const { text } = await server.http("GET", "/metrics");
  const all = { attempts: 0, attempts_failed: 0 };
  for (const [, name, labels, value] of text.matchAll(/^headwater_providers_(\w+)_total\{(.*)\} (\d+)$/gm)) {
    all[name] = (all[name] ?? 0) + Number(value);
    const outcome = /outcome="(\w+)"/.exec(labels)?.[1];
    if (name === "requests") all.attempts += Number(value);
    if (name === "requests" && outcome !== "ok" && outcome !== "cancelled") all.attempts_failed += Number(value);
  }
  return all;
}

export const only = (events, type) => {
  const found = events.filter((e) => e.event === type);
  assert.equal(found.length, 1, `${found.length} ${type} events in ${JSON.stringify(events.map((e) => e.event))}`);
  return found[0].data;
};
