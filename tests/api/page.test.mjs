// The page in a real browser: pick, ask, watch it stream, open a citation at its lines, stop, reload and go on.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { ROOT, cli, start } from "./harness.mjs";

const CHROMIUM = "/usr/bin/chromium";
const SHOTS = process.env.HEADWATER_SHOTS; // a folder to keep screenshots in
const noBrowser = fs.existsSync(CHROMIUM) ? false : "no Chromium at /usr/bin/chromium";
let server, browser;

before(async () => {
  if (noBrowser) return console.error(`SKIPPED: page: ${noBrowser}`);
  server = await start({ args: ["--bench-source"] });
  const indexed = await cli(["index", path.join(ROOT, "share/sample/tidewatch"), "--data", server.dataDir]);
  assert.equal(indexed.code, 0, indexed.stderr);
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
});
after(async () => {
  if (noBrowser) return;
  await browser.close();
  await server.stop();
});

async function open(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (e) => page.problems.push(e.message));
  page.on("console", (m) => m.type() === "error" && page.problems.push(m.text()));
  await page.goto(server.url);
  await page.waitForSelector("#source option", { state: "attached" });
  return page;
}
const shot = async (page, name) => SHOTS && page.screenshot({ path: path.join(SHOTS, `${name}.png`) });

async function askHere(page, question) {
  await page.fill("#question", question);
  await page.press("#question", "Control+Enter");
  await page.waitForFunction(() => document.querySelector("#answer").getAttribute("aria-busy") === "false" && document.querySelector("#answer").children.length > 0);
}

test("ask, read, open a citation at its lines, close it again", { skip: noBrowser }, async () => {
  const page = await open();
  await askHere(page, "How are failed gauge readings retried?");
  const text = await page.innerText("#answer");
  assert.match(text, /retry\.py#L\d+/);
  await shot(page, "answer");
  const cite = page.locator("#citations button.cite").first();
  const [, file, from] = /^(.*)#L(\d+)/.exec(await cite.innerText());
  await cite.click();
  await page.waitForSelector("#viewer .ln.hit");
  assert.ok((await page.innerText("#viewer-title")).startsWith(file));
  assert.equal((await page.locator("#viewer .ln.hit b").first().innerText()).trim(), from);
  await shot(page, "citation");
  await page.keyboard.press("Escape");
  assert.equal(await page.isVisible("#viewer"), false);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("dark, and on a phone: nothing overflows sideways", { skip: noBrowser }, async () => {
  const page = await open({ colorScheme: "dark", viewport: { width: 390, height: 800 } });
  await askHere(page, "How is the configuration read?");
  await shot(page, "phone-dark");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), true);
  await page.context().close();
});

test("reload in mid-answer goes on where it was; stop keeps what is written", { skip: noBrowser }, async () => {
  const page = await open();
  // A slow answer: the page asks as it always does, with the provider of the benches put into its request.
  await page.route("**/v1/answers", (route) =>
    route.continue({ postData: JSON.stringify({ ...JSON.parse(route.request().postData()), provider: "bench", model: "100000:16:200" }) }),
  );
  await page.fill("#question", "slow please");
  await page.click("#send");
  await page.waitForFunction(() => document.querySelector("#answer").innerText.length > 800);
  await page.reload();
  await page.waitForFunction(() => document.querySelector("#answer").innerText.length > 4000, null, { timeout: 15000 });
  assert.ok(await page.isVisible("#stop"));
  await page.click("#stop");
  await page.waitForFunction(() => document.querySelector("#status").innerText.includes("Stopped"));
  const text = (await page.innerText("#answer")).split(/\s+/).join(" ");
  // Tokens are "0 bcd…", "1 cde…": none lost, none doubled across the reload.
  const numbers = [...text.matchAll(/(\d+) [a-z]+/g)].map((m) => Number(m[1]));
  assert.ok(numbers.length > 200);
  numbers.forEach((n, i) => assert.equal(n, i));
  await shot(page, "stopped");
  await page.context().close();
});

test("a server restart in mid-answer is told, and the text stays", { skip: noBrowser }, async () => {
  const page = await open();
  await page.route("**/v1/answers", (route) =>
    route.continue({ postData: JSON.stringify({ ...JSON.parse(route.request().postData()), provider: "bench", model: "100000:16:200" }) }),
  );
  await page.fill("#question", "slow please");
  await page.click("#send");
  await page.waitForFunction(() => document.querySelector("#answer").innerText.length > 400);
  const { port } = server;
  await server.kill9();
  await server.restart({ listen: [`127.0.0.1:${port}`] });
  await page.waitForFunction(() => document.querySelector("#status").innerText.includes("restarted"), null, { timeout: 20000 });
  assert.ok((await page.innerText("#answer")).length > 400);
  await page.context().close();
});

test("an empty server says what to do", { skip: noBrowser }, async () => {
  const empty = await start();
  try {
    const page = await browser.newPage();
    await page.goto(empty.url);
    await page.waitForSelector(".empty");
    assert.match(await page.innerText(".empty"), /headwater index/);
    await page.close();
  } finally {
    await empty.stop();
  }
});

test("a page of another origin may ask over a browser's WebSocket, as the seeds allow", { skip: noBrowser }, async () => {
  const other = http.createServer((_, response) => response.setHeader("content-type", "text/html").end("<p>elsewhere</p>"));
  await new Promise((r) => other.listen(0, "127.0.0.1", r));
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${other.address().port}/`);
  const text = await page.evaluate(
    (url) =>
      new Promise((resolve) => {
        let all = "";
        const ws = new WebSocket(url);
        ws.onopen = () => ws.send(JSON.stringify({ repo_url: "tidewatch", messages: [{ role: "user", content: "What are alerts?" }] }));
        ws.onmessage = (m) => (all += m.data);
        ws.onclose = (e) => resolve(`${e.code} ${all}`);
      }),
    server.url.replace("http", "ws") + "/ws/chat",
  );
  assert.match(text, /^1000 /);
  assert.match(text, /#L\d+/);
  await page.close();
  other.close();
});
