"""One thread per station: read, despike, store, check alerts, sleep until the next whole interval."""
import collections
import logging
import os
import subprocess
import threading
import time

from . import retry
from .gauge import GaugeFault, open_gauge

log = logging.getLogger("tidewatch.poller")

WINDOW = 7  # readings that the despike filter sees
DESPIKE = os.path.join(os.path.dirname(__file__), "..", "native", "despike")


def despike(levels, program=DESPIKE):
    """The newest level, and whether the filter replaced it. Without the filter, the level as it is."""
    if len(levels) < 3 or not os.access(program, os.X_OK):
        return levels[-1], False
    text = "\n".join(f"{v:.4f}" for v in levels) + "\n"
    try:
        done = subprocess.run([program], input=text, capture_output=True, text=True, timeout=5, check=True)
        value, mark = done.stdout.splitlines()[-1].split()
        return float(value), mark == "spike"
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        log.warning("despike failed, keeping the raw level: %s", error)
        return levels[-1], False


class Poller(threading.Thread):
    def __init__(self, station, config, store, policy, gauge=None, clock=time.time):
        super().__init__(name=f"poll-{station.id}", daemon=True)
        self.station = station
        self.config = config
        self.store = store
        self.policy = policy
        self.gauge = gauge or open_gauge(station)
        self.clock = clock
        self.stopping = threading.Event()
        self.window = collections.deque(maxlen=WINDOW)
        self.failures = 0

    def run(self):
        try:
            while not self.stopping.wait(self.pause()):
                self.poll_once()
        finally:
            self.store.close()

    def pause(self):
        """Seconds until the next multiple of the interval, so that stations poll at whole minutes."""
        interval = self.station.interval
        return interval - self.clock() % interval

    def poll_once(self):
        """True when a reading was stored. Never raises: one bad gauge must not end its thread."""
        now = self.clock()
        stored = False
        try:
            level = retry.call(
                self.config.retry, self.gauge.read, sleep=self.stopping.wait, on_retry=self._note_retry
            )
            self.window.append(level)
            level, replaced = despike(list(self.window))
            self.store.put_reading(self.station.id, now, level, "despiked" if replaced else "good")
            self.failures = 0
            stored = True
        except (retry.GaveUp, GaugeFault) as error:
            self.failures += 1
            log.error("%s: %s (failure %d in a row)", self.station.id, error, self.failures)
        except Exception:
            self.failures += 1
            log.exception("%s: unexpected failure", self.station.id)
        self.policy.check(self.station, now)
        return stored

    def _note_retry(self, attempt, error, delay):
        log.info("%s: attempt %d failed (%s); again in %.1f s", self.station.id, attempt, error, delay)

    def stop(self):
        self.stopping.set()
