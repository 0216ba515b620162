"""The program answers Python's own HTTP client and its WebSocket library."""
import json
import unittest

from harness import ServerTest


class Smoke(ServerTest):
    def test_health_answers(self):
        status, headers, body = self.server.http("GET", "/health")
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("application/json"))
        self.assertEqual(json.loads(body)["status"], "healthy")

    def test_unknown_websocket_path_is_refused_with_403(self):
        self.assertEqual(self.server.ws_talk("/no/such/path").get("status"), 403)


if __name__ == "__main__":
    unittest.main()
