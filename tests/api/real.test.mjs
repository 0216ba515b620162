// Three real repositories, one of over 100,000 lines: the first three citations of an answer name the right file.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";
import { ROOT, cli, tempDir } from "./harness.mjs";

const DIR = path.join(ROOT, ".cache/real");
const QUESTIONS = {
  libuv: [
    ["where are timers ordered by their due time?", /^src\/(timer\.c|heap-inl\.h)$/],
    ["how does a worker of the thread pool take queued work?", /^src\/threadpool\.c$/],
    ["how are signals passed to the event loop through a pipe?", /^src\/unix\/signal\.c$/],
    ["where does Linux wait for events with epoll?", /^src\/unix\/(epoll|linux-core)\.c$/],
    ["how is a child process spawned on unix?", /^src\/unix\/process\.c$/],
    ["How does uv_async_send wake up the loop?", /^src\/unix\/async\.c$/],
    ["What does uv__stream_open in src/unix/stream.c do?", /^src\/unix\/stream\.c$/],
    ["How do I build libuv with CMake?", /^README\.md$/],
    ["What is this project?", /^README\.md$/],
  ],
  eslint: [
    ["where are eslint-disable comments applied to problems?", /^lib\/linter\/(apply-disable-directives|linter)\.js$/],
    ["how are lint results cached between runs?", /^lib\/cli-engine\/lint-result-cache\.js$/],
    ["where are fixes applied to the source text?", /^lib\/linter\/source-code-fixer\.js$/],
    ["how does code path analysis fork the path at a loop?", /^lib\/linter\/code-path-analysis\/[\w-]+\.js$/],
    ["which rule reports variables that are never used?", /^lib\/rules\/no-unused-vars\.js$/],
    ["Which rule forbids the use of eval?", /^lib\/rules\/no-eval\.js$/],
    ["How is the time each rule takes measured?", /^lib\/linter\/timing\.js$/],
    ["How does the stylish formatter print problems?", /^lib\/cli-engine\/formatters\/stylish\.js$/],
  ],
  django: [
    ["where is the CSRF token of a request checked?", /^django\/middleware\/csrf\.py$/],
    ["how does the migration autodetector find renamed fields?", /^django\/db\/migrations\/autodetector\.py$/],
    ["how is a password hashed with PBKDF2?", /^django\/contrib\/auth\/hashers\.py$/],
    ["where are prefetch_related lookups carried out?", /^django\/db\/models\/query\.py$/],
    ["how does the URL resolver match a path to a view?", /^django\/urls\/resolvers\.py$/],
    ["How are signals delivered to receivers?", /^django\/dispatch\/dispatcher\.py$/],
    ["Where is clickjacking protection added to responses?", /^django\/middleware\/clickjacking\.py$/],
    ["How does pagination compute the number of pages?", /^django\/core\/paginator\.py$/],
  ],
};

let skip = "";
const data = tempDir();
before(() => {
  try {
    execFileSync(path.join(ROOT, "tools/real_repos.sh"), [DIR], { stdio: ["ignore", "ignore", "inherit"], timeout: 300000 });
  } catch (error) {
    if (error.status !== 3) throw error;
    skip = "the packages could not be had";
    console.error("SKIPPED: real repositories: the packages could not be had");
  }
});
after(() => {});

for (const [repo, questions] of Object.entries(QUESTIONS)) {
  test(`${repo}: indexed whole`, async (t) => {
    if (skip) return t.skip(skip);
    const r = await cli(["index", path.join(DIR, repo), "--json", "--data", data], { timeout: 300000 });
    assert.equal(r.code, 0, r.stderr);
  });
  for (const [question, file] of questions) {
    test(`${repo}: ${question}`, async (t) => {
      if (skip) return t.skip(skip);
      const r = await cli(["ask", path.join(DIR, repo), question, "--json", "--data", data], { timeout: 300000 });
      assert.equal(r.code, 0, r.stderr);
      const cited = r.json.citations.slice(0, 3);
      assert.ok(cited.every((c) => c.state === "verified"));
      assert.ok(cited.some((c) => file.test(c.path)), cited.map((c) => `${c.path}#L${c.start}-L${c.end}`).join(" "));
    });
  }
}
