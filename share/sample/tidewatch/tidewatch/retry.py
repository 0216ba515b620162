"""Repeats what failed for a reason that may pass.

Delays double from `first_delay` up to `max_delay`. Each is varied by ± `jitter` (a share of it), so that
several gauges on one bus that failed together do not come back together.
"""
import random
import time


class Transient(Exception):
    """Worth another attempt: a time-out, a broken frame, a busy line."""


class GaveUp(Exception):
    """All attempts failed. `last` is the error of the last one, `attempts` how many there were."""

    def __init__(self, attempts, last):
        super().__init__(f"gave up after {attempts} attempts: {last}")
        self.attempts = attempts
        self.last = last


def delays(policy, rng=random):
    """The pauses between attempts: one fewer than there are attempts."""
    delay = policy.first_delay
    for _ in range(policy.attempts - 1):
        spread = policy.jitter * delay
        yield max(0.0, delay + rng.uniform(-spread, spread))
        delay = min(delay * 2, policy.max_delay)


def call(policy, function, sleep=time.sleep, rng=random, on_retry=None):
    """function()'s result. Only Transient is repeated; any other error is a fault and passes through.

    on_retry(attempt, error, delay) is told before each pause. Raises GaveUp after the last attempt.
    """
    pauses = delays(policy, rng)
    for attempt in range(1, policy.attempts + 1):
        try:
            return function()
        except Transient as error:
            pause = next(pauses, None)
            if pause is None:
                raise GaveUp(attempt, error) from error
            if on_retry:
                on_retry(attempt, error, pause)
            sleep(pause)
    raise AssertionError("attempts is at least 1")
