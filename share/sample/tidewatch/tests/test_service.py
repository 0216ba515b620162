"""Store, alerts, poller and API together, with a clock that the test sets."""
import json
import threading
import unittest
import urllib.error
import urllib.request

from tests.helpers import ScriptedGauge, make_config, make_store
from tidewatch import tides
from tidewatch.alerts import AlertPolicy
from tidewatch.api import make_server
from tidewatch.config import Constituent, Station
from tidewatch.poller import Poller
from tidewatch.retry import Transient

NOON = 1_700_049_600.0


class ServiceTest(unittest.TestCase):
    def setUp(self):
        self.config, self.store = make_config(), make_store(self)
        self.station = self.config.stations[0]
        self.told = []
        self.policy = AlertPolicy(self.config, self.store, lambda s, kind, d: self.told.append(kind))

    def fill(self, level, minutes, start=NOON):
        for n in range(minutes):
            self.store.put_reading("quay", start + 60 * n, level)
        return start + 60 * (minutes - 1)

    def test_same_minute_replaces(self):
        self.store.put_reading("quay", NOON, 1.0)
        self.store.put_reading("quay", NOON + 30, 2.0)
        self.assertEqual([r["level"] for r in self.store.readings("quay")], [2.0])

    def test_prune_keeps_what_is_young(self):
        self.fill(2.0, 3, NOON - 10 * 86400)
        self.fill(2.0, 2, NOON)
        self.assertEqual(self.store.prune(5, NOON + 60), 3)
        self.assertEqual(len(self.store.readings("quay")), 2)

    def test_surge_must_last_and_clears_with_hysteresis(self):
        now = self.fill(2.6, 2)
        self.policy.check(self.station, now)
        self.assertEqual(self.told, [])
        now = self.fill(2.6, 8)
        self.policy.check(self.station, now)
        self.policy.check(self.station, now)
        self.assertEqual(self.told, ["surge"])
        self.store.put_reading("quay", now + 60, 2.45)
        self.policy.check(self.station, now + 60)
        self.assertIsNotNone(self.store.open_alert("quay", "surge"))
        self.store.put_reading("quay", now + 120, 2.3)
        self.policy.check(self.station, now + 120)
        self.assertIsNone(self.store.open_alert("quay", "surge"))

    def test_silence_is_raised_and_cleared(self):
        now = self.fill(2.0, 1)
        self.policy.check(self.station, now + 31 * 60)
        self.assertEqual(self.told, ["silence"])
        self.store.put_reading("quay", now + 32 * 60, 2.0)
        self.policy.check(self.station, now + 32 * 60)
        self.assertIsNone(self.store.open_alert("quay", "silence"))

    def test_poller_survives_a_gauge_that_gives_up(self):
        gauge = ScriptedGauge(*[Transient("noise")] * 3, 2.0)
        poller = Poller(self.station, self.config, self.store, self.policy, gauge, lambda: NOON)
        poller.stop()  # pauses between attempts end at once
        self.assertFalse(poller.poll_once())
        self.assertEqual(poller.failures, 1)
        self.assertTrue(poller.poll_once())
        self.assertEqual(poller.failures, 0)

    def test_high_water_is_a_maximum(self):
        station = Station("x", "x", "simulated", 60, 2.0, "", (Constituent("M2", 1.0, 40.0),))
        when, level = tides.next_high_water(station, NOON)
        self.assertAlmostEqual(level, 3.0, places=3)
        self.assertGreater(level, tides.predict(station, when + 600))
        self.assertGreater(level, tides.predict(station, when - 600))

    def test_api_pages_and_refuses(self):
        self.fill(2.0, 15)
        server = make_server(self.config, self.store, clock=lambda: NOON + 3600)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        base = f"http://127.0.0.1:{server.server_address[1]}"

        def get(path):
            with urllib.request.urlopen(base + path, timeout=5) as response:
                return json.load(response)

        first = get("/stations/quay/readings")
        self.assertEqual(len(first["readings"]), 10)
        second = get(f"/stations/quay/readings?since={first['next_since']}")
        self.assertEqual((len(second["readings"]), second["next_since"]), (5, None))
        self.assertEqual(get("/health")["status"], "ok")
        for path, status in (("/stations/none/readings", 404), ("/stations/quay/readings?since=x", 400)):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                get(path)
            self.assertEqual(caught.exception.code, status)
            caught.exception.close()
