// The program starts, says where, answers, and ends when asked.
import assert from "node:assert/strict";
import { test } from "node:test";
import { start } from "./harness.mjs";

test("serve prints its address, answers /health and drains on SIGTERM", async () => {
  const server = await start();
  try {
    const { status, json } = await server.http("GET", "/health");
    assert.equal(status, 200);
    assert.equal(json.status, "healthy");
  } finally {
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  }
});
