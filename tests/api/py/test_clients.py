"""The chat and the native protocol through Python's WebSocket library: whole, resumed, many at once, interrupted."""
import asyncio
import json
import re
import time
import unittest

from harness import ServerTest

LIMIT_S = 30


def bench(model, **more):
    return {"repo_url": "-", "messages": [{"role": "user", "content": "go"}], "provider": "bench", "model": model, **more}


class Clients(ServerTest):
    server_args = ("--bench-source",)

    def run_async(self, coroutine):
        return asyncio.run(asyncio.wait_for(coroutine, LIMIT_S))

    def connect(self, path, **options):
        import websockets
        options.setdefault("max_size", None)
        return websockets.connect(self.server.url.replace("http", "ws", 1) + path, **options)

    async def collect(self, path, *messages, **options):
        """Everything until the server closes: (frames, close code)."""
        import websockets
        frames = []
        async with self.connect(path, **options) as ws:
            for message in messages:
                await ws.send(json.dumps(message))
            try:
                while True:
                    frames.append(await ws.recv())
            except websockets.ConnectionClosed:
                pass
            return frames, ws.close_code

    def stream_id(self, ws):
        headers = getattr(ws, "response_headers", None) or ws.response.headers
        return headers["X-Stream-Id"]

    def text_of(self, frames):
        events = [json.loads(f) for f in frames]
        return "".join(e["data"]["text"] for e in events if e["event"] == "token")

    def test_chat_streams_the_answer_in_frames_and_closes_1000(self):
        frames, code = self.run_async(self.collect("/ws/chat", bench("50:40:500")))
        self.assertEqual(code, 1000)
        self.assertEqual(len("".join(frames)), 50 * 40)
        self.assertGreater(len(frames), 5, "it streams")
        self.assertTrue("".join(frames).startswith("0 "))

    def test_compression_offered_by_the_library_is_declined_and_nothing_is_lost(self):
        frames, code = self.run_async(self.collect("/ws/chat", bench("20:1000:0"), compression="deflate"))
        self.assertEqual((len("".join(frames)), code), (20000, 1000))

    def test_chat_answers_pings_while_it_streams(self):
        async def go():
            async with self.connect("/ws/chat", ping_interval=0.05, ping_timeout=0.5) as ws:
                await ws.send(json.dumps(bench("200:20:200")))
                text = ""
                async for frame in ws:
                    text += frame
                return text, ws.close_code
        text, code = self.run_async(go())
        self.assertEqual((len(text), code), (4000, 1000), "an unanswered ping would have ended it with 1011")

    def test_a_refusal_is_one_text_and_1000(self):
        for request, words in (({}, "Error"), ({"repo_url": "-", "messages": []}, "No messages provided")):
            frames, code = self.run_async(self.collect("/ws/chat", request))
            self.assertEqual((len(frames), code), (1, 1000))
            self.assertIn(words, frames[0])

    def test_native_events_are_numbered_and_end_with_done(self):
        frames, code = self.run_async(self.collect("/ws/chat", bench("30:16:300"), subprotocols=["headwater.v1"]))
        events = [json.loads(f) for f in frames]
        self.assertEqual(code, 1000)
        self.assertEqual(events[-1]["event"], "done")
        self.assertEqual(events[-1]["data"]["reason"], "stop")
        ids = [e["id"] for e in events]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual(len(self.text_of(frames)), 30 * 16)

    def test_stop_ends_a_native_answer_and_keeps_what_was_said(self):
        async def go():
            frames = []
            async with self.connect("/ws/chat", subprotocols=["headwater.v1"]) as ws:
                await ws.send(json.dumps(bench("100000:16:200")))
                frames.append(await ws.recv())
                await ws.send('{"type":"stop"}')
                async for frame in ws:
                    frames.append(frame)
            return frames
        frames = self.run_async(go())
        last = json.loads(frames[-1])
        self.assertEqual((last["event"], last["data"]["reason"]), ("done", "cancelled"))

    def test_an_interrupted_client_resumes_where_it_was(self):
        async def go():
            seen = []
            async with self.connect("/ws/chat", subprotocols=["headwater.v1"]) as ws:
                stream = self.stream_id(ws)
                await ws.send(json.dumps(bench("400:24:400")))
                while len(seen) < 25:
                    seen.append(await ws.recv())
                ws.transport.abort()  # no close frame: as a machine that goes away
            last = json.loads(seen[-1])["id"]
            rest, code = await self.collect("/ws/chat", {"stream_id": stream, "after": last}, subprotocols=["headwater.v1"])
            whole, _ = await self.collect(f"/v1/streams/{stream}/events")
            return seen, rest, whole, code
        seen, rest, whole, code = self.run_async(go())
        self.assertEqual(code, 1000)
        self.assertEqual(self.text_of(seen) + self.text_of(rest), self.text_of(whole))
        self.assertEqual(len(self.text_of(whole)), 400 * 24)
        self.assertGreater(json.loads(rest[0])["id"], json.loads(seen[-1])["id"])

    def test_no_such_stream_is_said_in_words(self):
        frames, code = self.run_async(self.collect("/ws/chat", {"stream_id": "st_nothing"}))
        self.assertEqual((frames, code), (["Error: No such stream"], 1000))
        frames, _ = self.run_async(self.collect("/ws/chat", {"stream_id": "st_" + "a" * 500}))
        self.assertEqual(frames, ["Error: No such stream"])
        _, code = self.run_async(self.collect("/v1/streams/st_nothing/events"))
        self.assertEqual(code, 1008)

    def test_fifty_clients_at_once_get_all_of_their_own(self):
        async def go():
            return await asyncio.gather(*(self.collect("/ws/chat", bench(f"{100 + i}:32:300")) for i in range(50)))
        for i, (frames, code) in enumerate(self.run_async(go())):
            self.assertEqual((len("".join(frames)), code), ((100 + i) * 32, 1000))

    def test_fifty_clients_read_one_answer(self):
        async def go():
            async with self.connect("/ws/chat", subprotocols=["headwater.v1"]) as ws:
                stream = self.stream_id(ws)
                await ws.send(json.dumps(bench("300:32:400")))
                await ws.recv()
                return await asyncio.gather(*(self.collect(f"/v1/streams/{stream}/events") for _ in range(50)))
        texts = {self.text_of(frames) for frames, code in self.run_async(go()) if code == 1000}
        self.assertEqual([len(t) for t in texts], [300 * 32], "all the same")

    def test_fifty_that_leave_in_the_middle_leave_nothing_behind(self):
        async def one():
            ws = await self.connect("/ws/chat")
            await ws.send(json.dumps(bench("2000:32:2000")))
            await ws.recv()
            ws.transport.abort()

        async def go():
            await asyncio.gather(*(one() for _ in range(50)))
        self.run_async(go())
        until = time.monotonic() + 10
        while time.monotonic() < until:
            body = self.server.http("GET", "/metrics")[2].decode()
            if re.search(r"^headwater_ws_connections 0$", body, re.M):
                return
            time.sleep(0.1)
        self.fail("WebSockets are still counted as open")


if __name__ == "__main__":
    unittest.main()
