// The transcripts in docs/protocol are true: each is replayed against the real program.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { ROOT, cli, start } from "./harness.mjs";

const DIR = path.join(ROOT, "docs/protocol");
let server;
before(async () => {
  server = await start();
  const r = await cli(["index", path.join(ROOT, "share/sample/tidewatch"), "--data", server.dataDir]);
  assert.equal(r.code, 0, r.stderr);
});
after(() => server.stop());

async function replayWs([target, protocol], lines) {
  const ws = await server.ws(target, protocol ? { protocols: [protocol] } : {});
  const { frames } = ws;
  for (const line of lines) {
    const [mark, rest] = [line.split(" ")[0], line.slice(line.indexOf(" ") + 1)];
    if (mark === ">") ws.socket.send(rest);
    else if (mark === "<") assert.equal((await ws.next()).data, rest);
    else if (mark === "<~") assert.match((await ws.next()).data, new RegExp(rest));
    else if (mark === "<*") {
      await ws.closed;
      assert.match(frames.map((f) => f.data).join(""), new RegExp(rest));
    } else if (mark === "close") assert.equal((await ws.closed).code, Number(rest));
    else assert.fail(`what is '${line}'?`);
  }
}

async function replayHttp(lines) {
  const [, method, target, body] = /^> (\S+) (\S+)(?: (.*))?$/.exec(lines[0]);
  const r = await server.http(method, target, body ? { json: JSON.parse(body) } : {});
  const got = `${r.status} ${r.text}`;
  if (lines[1].startsWith("<~ ")) assert.match(got, new RegExp(lines[1].slice(3)));
  else assert.equal(got, lines[1].slice(2));
}

let count = 0;
for (const file of fs.readdirSync(DIR).filter((f) => f.endsWith(".md"))) {
  const text = fs.readFileSync(path.join(DIR, file), "utf8");
  for (const [, head, body] of text.matchAll(/^```transcript (.*)\n([\s\S]*?)^```$/gm)) {
    count++;
    const lines = body.trimEnd().split("\n");
    test(`${file}: ${head}: ${lines[0].slice(0, 100)}`, () => (head === "http" ? replayHttp(lines) : replayWs(head.split(" ").slice(1), lines)));
  }
}
test("there are transcripts", () => assert.ok(count >= 10));
