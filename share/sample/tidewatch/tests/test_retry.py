import random
import unittest

from tidewatch import retry
from tidewatch.config import RetryPolicy
from tests.helpers import ScriptedGauge

POLICY = RetryPolicy(attempts=4, first_delay=1.0, max_delay=3.0, jitter=0.0)


class RetryTest(unittest.TestCase):
    def test_success_after_transient_failures(self):
        gauge, slept = ScriptedGauge(retry.Transient("a"), retry.Transient("b"), 2.5), []
        self.assertEqual(retry.call(POLICY, gauge.read, sleep=slept.append), 2.5)
        self.assertEqual(slept, [1.0, 2.0])

    def test_delays_double_up_to_the_maximum(self):
        self.assertEqual(list(retry.delays(POLICY)), [1.0, 2.0, 3.0])

    def test_gives_up_and_keeps_the_last_error(self):
        gauge = ScriptedGauge(*[retry.Transient(str(n)) for n in range(4)])
        with self.assertRaises(retry.GaveUp) as caught:
            retry.call(POLICY, gauge.read, sleep=lambda s: None)
        self.assertEqual(caught.exception.attempts, 4)
        self.assertEqual(str(caught.exception.last), "3")

    def test_other_errors_are_not_repeated(self):
        gauge = ScriptedGauge(KeyError("x"), 1.0)
        with self.assertRaises(KeyError):
            retry.call(POLICY, gauge.read, sleep=lambda s: None)
        self.assertEqual(len(gauge.script), 1)

    def test_jitter_stays_in_its_share(self):
        policy = RetryPolicy(attempts=2, first_delay=10.0, max_delay=10.0, jitter=0.2)
        for seed in range(50):
            (delay,) = retry.delays(policy, random.Random(seed))
            self.assertTrue(8.0 <= delay <= 12.0)
