// The wire, byte by byte, on the real program: what may not pass is refused with the one right status or close code, and the
// server goes on as if nothing had been.
import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { start, tcpExchange, waitFor } from "./harness.mjs";

const user = (content) => [{ role: "user", content }];
const bench = (model) => ({ repo_url: "-", messages: user("go"), provider: "bench", model });
let server;

const healthy = async () => assert.equal((await server.http("GET", "/health")).status, 200);
const statusOf = (text) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1]);

// ---- HTTP ----

const get = (target, ...headers) => [`GET ${target} HTTP/1.1`, "Host: x", ...headers, "", ""].join("\r\n");
const post = (...headersAndBody) => {
  const body = headersAndBody.pop();
  return ["POST /v1/answers HTTP/1.1", "Host: x", ...headersAndBody, "", body].join("\r\n");
};
const chunked = (body) => post("Transfer-Encoding: chunked", body);

// [what, bytes, status]: refused before any handler, so the connection ends after the answer.
const refused = [
  ["both Content-Length and Transfer-Encoding", post("Content-Length: 4", "Transfer-Encoding: chunked", "0\r\n\r\n"), 400],
  ["Transfer-Encoding before Content-Length", post("Transfer-Encoding: chunked", "Content-Length: 4", "0\r\n\r\n"), 400],
  ["two different Content-Lengths", post("Content-Length: 2", "Content-Length: 3", "abc"), 400],
  ["two equal Content-Lengths", post("Content-Length: 2", "Content-Length: 2", "{}"), 400],
  ["a list as Content-Length", post("Content-Length: 2, 2", "{}"), 400],
  ["a negative Content-Length", post("Content-Length: -1", ""), 400],
  ["a signed Content-Length", post("Content-Length: +2", "{}"), 400],
  ["a hexadecimal Content-Length", post("Content-Length: 0x2", "{}"), 400],
  ["a Content-Length past 64 bits", post("Content-Length: 18446744073709551617", "x"), 400],
  ["an empty Content-Length", post("Content-Length: ", "{}"), 400],
  ["Content-Length with a space before the colon", post("Content-Length : 2", "{}"), 400],
  ["Transfer-Encoding with a space before the colon", post("Transfer-Encoding : chunked", "0\r\n\r\n"), 400],
  ["Transfer-Encoding with a tab before the colon", post("Transfer-Encoding\t: chunked", "0\r\n\r\n"), 400],
  ["two Transfer-Encodings", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", "0\r\n\r\n"), 400],
  ["chunked that is not last", post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"), 400],
  ["an unknown transfer coding", post("Transfer-Encoding: gzip", "x"), 501],
  ["an unknown transfer coding before chunked", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), 501],
  ["a misspelt chunked", post("Transfer-Encoding: xchunked", "0\r\n\r\n"), 501],
  ["Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400],
  ["a chunk size that is no number", chunked("xyz\r\nabc\r\n0\r\n\r\n"), 400],
  ["an empty chunk size", chunked("\r\nabc\r\n0\r\n\r\n"), 400],
  ["a chunk size with 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), 400],
  ["a negative chunk size", chunked("-3\r\nabc\r\n0\r\n\r\n"), 400],
  ["a chunk size past 32 bits", chunked("100000000\r\nabc"), 413],
  ["a chunk size past 64 bits", chunked("10000000000000003\r\nabc\r\n0\r\n\r\n"), 413],
  ["spaces before a chunk size", chunked(" 3\r\nabc\r\n0\r\n\r\n"), 400],
  ["a chunk longer than its size", chunked("2\r\nabc\r\n0\r\n\r\n"), 400],
  ["a chunk size ended by a bare LF", chunked("3\nabc\r\n0\r\n\r\n"), 400],
  ["chunk data ended by a bare LF", chunked("3\r\nabc\n0\r\n\r\n"), 400],
  ["a NUL in a chunk extension", chunked("3;a=\0\r\nabc\r\n0\r\n\r\n"), 400],
  ["an endless chunk extension", chunked(`3;${"a".repeat(300)}\r\nabc\r\n0\r\n\r\n`), 400],
  ["a malformed trailer", chunked("0\r\nbad trailer\x01: x\r\n\r\n"), 400],
  ["a chunk larger than a body may be", chunked("1000001\r\n"), 413],
  ["a Content-Length larger than a body may be", post("Content-Length: 16777217", ""), 413],
  ["bare LFs as line ends", "GET /health HTTP/1.1\nHost: x\n\n", 400],
  ["a bare LF inside the head", "GET /health HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n", 400],
  ["a bare CR inside a header", "GET /health HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n", 400],
  ["a folded header", "GET /health HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n", 400],
  ["a first header that begins with a space", "GET /health HTTP/1.1\r\n Host: x\r\n\r\n", 400],
  ["a NUL in a header value", get("/health", "X-A: a\0b"), 400],
  ["a NUL in a header name", get("/health", "X\0A: b"), 400],
  ["a header without a colon", get("/health", "nonsense"), 400],
  ["a header without a name", get("/health", ": x"), 400],
  ["no Host", "GET /health HTTP/1.1\r\n\r\n", 400],
  ["two Hosts", "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400],
  ["a Host with a slash", "GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n", 400],
  ["a Host with an @", "GET /health HTTP/1.1\r\nHost: a@b\r\n\r\n", 400],
  ["a NUL in the path", "GET /he\0alth HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  ["an escaped NUL in the path", get("/he%00alth"), 400],
  ["half a percent escape", get("/health%2"), 400],
  ["a percent escape that is no number", get("/%zz"), 400],
  ["a percent sign at the end", get("/health%"), 400],
  ["a fragment in the target", get("/health#x"), 400],
  ["a target that is no path", get("health"), 400],
  ["the authority form without CONNECT", get("x:80"), 400],
  ["an unknown scheme", get("ftp://x/health"), 400],
  ["an asterisk with GET", get("*"), 400],
  ["a space inside the target", get("/hea lth"), 400],
  ["two spaces before the version", "GET /health  HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  ["a request line of one word", "GET\r\nHost: x\r\n\r\n", 400],
  ["HTTP/0.9", "GET /health\r\n\r\n", 400],
  ["another protocol's name", "GET /health HTPP/1.1\r\nHost: x\r\n\r\n", 400],
  ["a lower-case protocol name", "GET /health http/1.1\r\nHost: x\r\n\r\n", 400],
  ["a version of two digits", "GET /health HTTP/1.10\r\nHost: x\r\n\r\n", 400],
  ["HTTP/2.0", "GET /health HTTP/2.0\r\nHost: x\r\n\r\n", 505],
  ["HTTP/1.2", "GET /health HTTP/1.2\r\nHost: x\r\n\r\n", 505],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505],
  ["an unknown method", "BREW /health HTTP/1.1\r\nHost: x\r\n\r\n", 501],
  ["CONNECT", "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", 501],
  ["a lower-case method", "get /health HTTP/1.1\r\nHost: x\r\n\r\n", 501],
  ["a method with a control character", "G\x01T /health HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  ["the first bytes of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400],
  ["too many empty lines first", "\r\n".repeat(20) + get("/health"), 400],
  ["a target past 16 KiB", get(`/${"a".repeat(16500)}`), 414],
  ["a target past 64 KiB, without an end", `GET /${"a".repeat(70000)}`, 414],
  ["a head past 64 KiB", get("/health", ...Array.from({ length: 9 }, (_, i) => `X-${i}: ${"a".repeat(8000)}`)), 431],
  ["one header past 64 KiB", get("/health", `Cookie: ${"a".repeat(66000)}`), 431],
  ["101 headers", get("/health", ...Array.from({ length: 100 }, (_, i) => `X-${i}: 1`)), 431],
  ["an unknown expectation", post("Expect: tea", "Content-Length: 2", "{}"), 417],
];

// ---- WebSocket, by hand ----

const upgradeLines = (path, { version = "13", key = "dGhlIHNhbXBsZSBub25jZQ==", extra = [] } = {}) =>
  [
    `GET ${path} HTTP/1.1`,
    "Host: x",
    "Upgrade: websocket",
    "Connection: Upgrade",
    ...(version === null ? [] : [`Sec-WebSocket-Version: ${version}`]),
    ...(key === null ? [] : [`Sec-WebSocket-Key: ${key}`]),
    ...extra,
    "",
    "",
  ].join("\r\n");

// A client's frame. length: what the header declares, when not the payload's.
function frame(op, payload = "", { fin = true, rsv = 0, mask = true, length } = {}) {
  const data = Buffer.from(payload);
  const n = length ?? data.length;
  const head = Buffer.alloc(n < 126 ? 2 : n < 65536 ? 4 : 10);
  head[0] = (fin ? 0x80 : 0) | rsv | op;
  head[1] = (mask ? 0x80 : 0) | (n < 126 ? n : n < 65536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(n, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(n), 2);
  if (!mask) return Buffer.concat([head, data]);
  const key = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  return Buffer.concat([head, key, data.map((b, i) => b ^ key[i & 3])]);
}
const closing = (code, reason = "") => {
  const b = Buffer.alloc(2 + Buffer.byteLength(reason));
  b.writeUInt16BE(code);
  b.write(reason, 2);
  return frame(8, b);
};

// { send(buffer), frames: [{ op, fin, payload }], closed, closeCode(), ended() }
async function rawWs(path, options) {
  const socket = net.connect({ port: server.port, host: "127.0.0.1", noDelay: true });
  const ws = { socket, frames: [], isOver: false, send: (b) => socket.write(b) };
  let bytes = Buffer.alloc(0);
  let open = false;
  socket.on("error", () => {});
  ws.closed = new Promise((resolve) =>
    socket.on("close", () => {
      ws.isOver = true;
      resolve();
    }),
  );
  socket.on("data", (data) => {
    bytes = Buffer.concat([bytes, data]);
    if (!open) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      ws.head = bytes.subarray(0, end).toString("latin1");
      bytes = bytes.subarray(end + 4);
      open = true;
    }
    while (bytes.length >= 2) {
      assert.equal(bytes[1] & 0x80, 0, "servers do not mask");
      const short = bytes[1] & 0x7f;
      const at = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (bytes.length < at) return;
      const n = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
      if (bytes.length < at + n) return;
      ws.frames.push({ op: bytes[0] & 0x0f, fin: (bytes[0] & 0x80) !== 0, payload: bytes.subarray(at, at + n) });
      bytes = bytes.subarray(at + n);
    }
  });
  ws.until = (op, what, ms = 10000) =>
    waitFor(() => ws.frames.find((f) => f.op === op) || (ws.isOver && { payload: null }), { ms, what });
  ws.closeCode = async (ms) => {
    const { payload } = await ws.until(8, "a close frame", ms);
    assert.notEqual(payload, null, "a close frame before the end");
    return payload.length ? payload.readUInt16BE(0) : 1005;
  };
  socket.write(upgradeLines(path, options), "latin1");
  await waitFor(() => ws.head || ws.isOver, { what: "the handshake" });
  assert.match(ws.head, /^HTTP\/1\.1 101 /);
  return ws;
}

const euro = Buffer.from("€"); // e2 82 ac
const tooMany = () => Buffer.concat([frame(1, "", { fin: false }), ...Array.from({ length: 65536 }, () => frame(0, "", { fin: false }))]);
// [what, frames, close code]
const faults = [
  ["a frame that is not masked", [frame(1, "hello", { mask: false })], 1002],
  ["RSV1", [frame(1, "hello", { rsv: 0x40 })], 1002],
  ["RSV2", [frame(1, "hello", { rsv: 0x20 })], 1002],
  ["RSV3", [frame(2, "hello", { rsv: 0x10 })], 1002],
  ["reserved opcode 3", [frame(3, "x")], 1002],
  ["reserved opcode 7", [frame(7, "x")], 1002],
  ["reserved opcode 11", [frame(11, "x")], 1002],
  ["reserved opcode 15", [frame(15, "x")], 1002],
  ["bytes that are not UTF-8", [frame(1, Buffer.from([0x61, 0xff]))], 1007],
  ["an overlong slash", [frame(1, Buffer.from([0xc0, 0xaf]))], 1007],
  ["a surrogate", [frame(1, Buffer.from([0xed, 0xa0, 0x80]))], 1007],
  ["a character past U+10FFFF", [frame(1, Buffer.from([0xf4, 0x90, 0x80, 0x80]))], 1007],
  ["half a character at the end", [frame(1, euro.subarray(0, 2))], 1007],
  ["half a character in the last fragment", [frame(1, "a", { fin: false }), frame(0, euro.subarray(0, 1))], 1007],
  [
    "a character that goes wrong in the next fragment, at once",
    [frame(1, euro.subarray(0, 2), { fin: false }), frame(0, "x", { fin: false })],
    1007,
  ],
  ["a ping of 126 bytes", [frame(9, "a".repeat(126))], 1002],
  ["a pong of 126 bytes", [frame(10, "a".repeat(126))], 1002],
  ["a close of 126 bytes", [frame(8, `\x03\xe8${"a".repeat(124)}`)], 1002],
  ["a fragmented ping", [frame(9, "a", { fin: false })], 1002],
  ["a fragmented close", [frame(8, "", { fin: false })], 1002],
  ["a close of one byte", [frame(8, "a")], 1002],
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535].map((c) => [`close code ${c}`, [closing(c)], 1002]),
  ["a close reason that is not UTF-8", [frame(8, Buffer.from([0x03, 0xe8, 0xff]))], 1007],
  ["a continuation of nothing", [frame(0, "x")], 1002],
  ["a continuation after a whole message", [frame(1, "x"), frame(0, "y")], 1002],
  ["a new message inside another", [frame(1, "x", { fin: false }), frame(1, "y")], 1002],
  ["a length not in its shortest form", [Buffer.from([0x81, 0xfe, 0x00, 0x05, 1, 2, 3, 4])], 1002],
  ["a length with its top bit", [Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])], 1002],
  ["65,537 fragments", [tooMany()], 1009],
  ["17 MiB, told by its header alone", [frame(2, "", { length: 17 << 20 })], 1009],
  ["a terabyte, told by its header alone", [frame(2, "", { length: 2 ** 40 })], 1009],
  ["fragments that sum up past 16 MiB", [frame(2, Buffer.alloc(9 << 20), { fin: false }), frame(0, "", { length: 8 << 20 })], 1009],
];

test("the wire", { concurrency: 12 }, async (t) => {
  server = await start({ args: ["--bench-source", "--enable-echo"] });
  const all = [];
  const check = (...what) => all.push(t.test(...what));

  for (const [what, bytes, status] of refused)
    check(`${status}: ${what}`, async () => {
      const answer = await tcpExchange(server.port, bytes);
      assert.equal(statusOf(answer.text), status, answer.text.slice(0, 200));
      assert.match(answer.text, /\r\nConnection: close\r\n/i);
      assert.ok(answer.closed, "the connection ends");
      assert.equal(answer.text.match(/HTTP\/1\.1 \d/g).length, 1, "nothing behind it is taken for a request");
      const body = JSON.parse(answer.text.slice(answer.text.indexOf("\r\n\r\n") + 4));
      assert.equal(typeof body.detail, "string");
      await healthy();
    });

  check("the same, one byte at a time", async () => {
    for (const [what, bytes, status] of refused.filter((row) => row[1].length < 120).slice(0, 24)) {
      const answer = await tcpExchange(server.port, bytes.split(""), { gap: 0 });
      assert.equal(statusOf(answer.text), status, what);
    }
    await healthy();
  });

  check("408: a head that does not end in ten seconds; a body that stops gets no answer before 30", async () => {
    const began = Date.now();
    const [head, dribble, body] = await Promise.all([
      tcpExchange(server.port, "GET /health HTTP/1.1\r\nHost: x\r\n", { timeout: 14000 }),
      tcpExchange(server.port, Array.from({ length: 60 }, (_, i) => (i ? "a" : "GET /health HTTP/1.1\r\nX: ")), { gap: 250, timeout: 14000 }),
      tcpExchange(server.port, post("Content-Length: 10", "{"), { timeout: 13000 }),
    ]);
    for (const slow of [head, dribble]) {
      assert.equal(statusOf(slow.text), 408);
      assert.ok(slow.closed);
    }
    assert.ok(Date.now() - began >= 9500);
    assert.ok(body.timedOut && body.text === "");
    await healthy();
  });

  check("pipelined requests are answered in their order, whatever each takes", async () => {
    const ask = JSON.stringify(bench("20:16:100"));
    const { text } = await tcpExchange(
      server.port,
      get("/health") +
        `POST /chat/completions/stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${ask.length}\r\n\r\n${ask}` +
        get("/nothing") +
        get("/lang/config") +
        get("/healthz", "Connection: close") +
        get("/health"),
    );
    const order = [...text.matchAll(/HTTP\/1\.1 (\d+) |(healthy)|(\r\n0\r\n\r\n)|(supported_languages)/g)].map((m) => m.slice(1).find(Boolean));
    assert.deepEqual(order, ["200", "healthy", "200", "\r\n0\r\n\r\n", "404", "200", "supported_languages", "200"]);
  });

  check("HEAD has the length and no body, and the connection goes on", async () => {
    const { text } = await tcpExchange(server.port, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" + get("/healthz", "Connection: close"));
    const [head, next] = text.split(/(?=HTTP\/1\.1 )/);
    assert.match(head, /\r\nContent-Length: [1-9]\d*\r\n/i);
    assert.ok(head.endsWith("\r\n\r\n"), "no body");
    assert.equal(statusOf(next), 200);
  });

  check("HTTP/1.0 closes unless asked, and gets streams without chunks", async () => {
    const plain = await tcpExchange(server.port, "GET /health HTTP/1.0\r\n\r\nGET /health HTTP/1.0\r\n\r\n");
    assert.equal(plain.text.match(/HTTP\/1\.1 200/g).length, 1);
    assert.ok(plain.closed);
    const kept = await tcpExchange(server.port, "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /health HTTP/1.0\r\n\r\n");
    assert.equal(kept.text.match(/HTTP\/1\.1 200/g).length, 2);
    assert.match(kept.text, /\r\nConnection: keep-alive\r\n/i);
    const ask = JSON.stringify(bench("10:16:0"));
    const stream = await tcpExchange(
      server.port,
      `POST /chat/completions/stream HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${ask.length}\r\n\r\n${ask}`,
    );
    assert.ok(stream.closed);
    assert.doesNotMatch(stream.text, /transfer-encoding/i);
    assert.equal(stream.text.slice(stream.text.indexOf("\r\n\r\n") + 4).length, 160);
  });

  check("Expect: 100-continue is answered before the body, and not when the head is refused", async () => {
    const ask = JSON.stringify(bench("5:16:0"));
    const head = `POST /v1/answers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nConnection: close\r\n`;
    const early = await tcpExchange(server.port, `${head}Content-Length: ${ask.length}\r\n\r\n`, { until: "\r\n\r\n" });
    assert.equal(early.text, "HTTP/1.1 100 Continue\r\n\r\n");
    const whole = await tcpExchange(server.port, [`${head}Content-Length: ${ask.length}\r\n\r\n`, ask], { gap: 100 });
    assert.match(whole.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 202 /);
    const large = await tcpExchange(server.port, `${head}Content-Length: 99999999\r\n\r\n`);
    assert.equal(statusOf(large.text), 413);
  });

  check("what is unusual but right is taken: empty lines first, absolute form, chunks with extensions and trailers", async () => {
    const ask = JSON.stringify(bench("5:16:0"));
    const rows = [
      ["\r\n\r\n" + get("/health", "Connection: close"), 200],
      ["GET http://x/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200],
      [get("/%68ealth?x=%2", "Connection: close"), 200],
      ["OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404],
      [
        post("Connection: close", "Content-Type: application/json", "Transfer-Encoding: Chunked", `${ask.length.toString(16).toUpperCase()};a="b"\r\n${ask}\r\n0\r\nX-T: 1\r\n\r\n`),
        202,
      ],
    ];
    for (const [bytes, status] of rows) {
      const answer = await tcpExchange(server.port, bytes);
      assert.equal(statusOf(answer.text), status, bytes);
      assert.ok(answer.closed);
    }
  });

  // ---- WebSocket ----

  for (const [what, frames, code] of faults)
    check(`${code}: ${what}`, async () => {
      const ws = await rawWs("/v1/echo");
      for (const f of frames) ws.send(f);
      assert.equal(await ws.closeCode(), code);
      ws.socket.end();
      await ws.closed;
      assert.equal(ws.frames.at(-1).op, 8, "nothing follows the close");
      await healthy();
    });

  check("handshakes: 426 with the version for others, 400 for bad keys, 403 for unknown paths, and no body may come with it", async () => {
    const rows = [
      [upgradeLines("/v1/echo", { version: "8" }), 426],
      [upgradeLines("/v1/echo", { version: null }), 426],
      [upgradeLines("/v1/echo", { version: "13, 8" }), 426],
      [upgradeLines("/v1/echo", { key: null }), 400],
      [upgradeLines("/v1/echo", { key: "c2hvcnQ=" }), 400],
      [upgradeLines("/v1/echo", { key: "!!!!!!!!!!!!!!!!!!!!!!==" }), 400],
      [upgradeLines("/v1/echo", { extra: ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] }), 400],
      [upgradeLines("/v1/echo").replace("GET ", "POST "), 400],
      [upgradeLines("/v1/echo").replace("HTTP/1.1", "HTTP/1.0"), 400],
      [upgradeLines("/v1/echo").replace("Connection: Upgrade", "Connection: keep-alive"), 400],
      [upgradeLines("/v1/echo", { extra: ["Content-Length: 2"] }) + "{}", 400],
      [upgradeLines("/no/such/path"), 403],
    ];
    for (const [bytes, status] of rows) {
      const answer = await tcpExchange(server.port, bytes, { until: /\r\n\r\n/ });
      assert.equal(statusOf(answer.text), status, bytes);
      if (status === 426) assert.match(answer.text, /\r\nSec-WebSocket-Version: 13\r\n/i);
    }
    await healthy();
  });

  check("the accept key is RFC 6455's", async () => {
    const ws = await rawWs("/v1/echo");
    assert.match(ws.head, /\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i);
    ws.socket.destroy();
  });

  check("pings are answered with their payload, in order, between the frames of a running answer", async () => {
    const ws = await rawWs("/ws/chat");
    ws.send(frame(1, JSON.stringify(bench("600:32:600"))));
    await ws.until(1, "the first word");
    const sent = ["", "a", "b".repeat(125), "€"];
    for (const payload of sent) {
      ws.send(frame(9, payload));
      await new Promise((r) => setTimeout(r, 50));
    }
    assert.equal(await ws.closeCode(), 1000);
    const pongs = ws.frames.filter((f) => f.op === 10).map((f) => f.payload.toString());
    assert.deepEqual(pongs, sent);
    const last = ws.frames.findLastIndex((f) => f.op === 10);
    assert.ok(ws.frames.findIndex((f) => f.op === 10) > 0 && ws.frames.slice(last).filter((f) => f.op === 1).length > 10, "while it ran");
    assert.equal(ws.frames.filter((f) => f.op === 1).reduce((n, f) => n + f.payload.length, 0), 600 * 32);
    ws.send(closing(1000));
    await ws.closed;
  });

  check("the client closes: its code comes back, then the end; in the middle of an answer and of a message too", async () => {
    for (const code of [1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999]) {
      const ws = await rawWs("/v1/echo");
      ws.send(closing(code, "bye"));
      assert.equal(await ws.closeCode(), code);
      await ws.closed;
    }
    const bare = await rawWs("/v1/echo");
    bare.send(frame(8));
    assert.equal(await bare.closeCode(), 1005);
    await bare.closed;
    const inMessage = await rawWs("/v1/echo");
    inMessage.send(Buffer.concat([frame(1, "half", { fin: false }), closing(1000)]));
    assert.equal(await inMessage.closeCode(), 1000);
    const inAnswer = await rawWs("/ws/chat");
    inAnswer.send(frame(1, JSON.stringify(bench("100000:32:500"))));
    await inAnswer.until(1, "the first word");
    inAnswer.send(closing(1001));
    assert.equal(await inAnswer.closeCode(), 1001);
    await inAnswer.closed;
  });

  check("the server closes: 1000 after an answer and after a refusal, 1008 for no such stream; it waits two seconds for the echo", async () => {
    const answered = await rawWs("/ws/chat");
    answered.send(frame(1, JSON.stringify(bench("3:16:0"))));
    const began = Date.now();
    assert.equal(await answered.closeCode(), 1000);
    assert.equal(answered.isOver, false);
    await answered.closed; // without an answer to the close
    assert.ok(Date.now() - began > 1500 && Date.now() - began < 5000);
    const refusal = await rawWs("/ws/chat");
    refusal.send(frame(1, "{}"));
    assert.equal(await refusal.closeCode(), 1000);
    refusal.send(closing(1000));
    const then = Date.now();
    await refusal.closed;
    assert.ok(Date.now() - then < 1000, "at once when the peer answers");
    const unknown = await rawWs("/v1/streams/st_nothing/events");
    assert.equal(await unknown.closeCode(), 1008);
    unknown.socket.destroy();
  });

  check("a message in 65,536 fragments is whole", async () => {
    const ws = await rawWs("/v1/echo");
    ws.send(Buffer.concat([frame(2, "a", { fin: false }), ...Array.from({ length: 65534 }, () => frame(0, "b", { fin: false })), frame(0, "c")]));
    const { payload } = await ws.until(2, "the echo");
    assert.equal(payload.length, 65536);
    ws.socket.destroy();
  });

  check("1013: an echo whose reader does not read is told so, and the others do not notice", async () => {
    const ws = await rawWs("/v1/echo");
    ws.socket.pause();
    const block = frame(2, Buffer.alloc(256 << 10, 7));
    for (let i = 0; i < 100; i++) ws.send(block);
    await new Promise((r) => setTimeout(r, 500));
    await healthy();
    ws.socket.resume();
    assert.equal(await ws.closeCode(20000), 1013);
    ws.socket.destroy();
  });

  check("1011: who answers no ping is told so and cut after twenty and twenty seconds", { timeout: 60000 }, async () => {
    const ws = await rawWs("/ws/chat");
    const began = Date.now();
    assert.equal(await ws.closeCode(50000), 1011);
    assert.ok(Date.now() - began > 38000, "not before");
    assert.ok(ws.frames.some((f) => f.op === 9));
    await ws.closed;
  });

  await Promise.all(all);
  const { code } = await server.stop();
  assert.equal(code, 0, server.stderr());
});
