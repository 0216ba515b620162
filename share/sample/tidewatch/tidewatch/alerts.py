"""Decides when to warn: water above the prediction for a while, or a gauge that has gone silent.

A surge is raised only when every reading of the last `hold_minutes` is above the limit, and cleared when
the water is back under 80 % of it. The gap between the two keeps an alert from flickering at the limit.
"""
from . import tides

CLEAR_SHARE = 0.8


class AlertPolicy:
    def __init__(self, config, store, notify=None):
        self.config = config
        self.store = store
        self.notify = notify or (lambda station, kind, detail: None)

    def surge(self, station, reading):
        """Metres above (negative: below) the predicted tide."""
        return reading["level"] - tides.predict(station, reading["time"])

    def check(self, station, now):
        """Looks at a station once; called after each poll, whether it gave a reading or not."""
        self._check_silence(station, now)
        self._check_surge(station, now)

    def _check_silence(self, station, now):
        latest = self.store.latest(station.id)
        quiet_for = now - latest[0]["time"] if latest else None
        if quiet_for is None:
            return  # a new station has no history to be silent against
        if quiet_for > self.config.silence_minutes * 60:
            self._raise(station, "silence", now, f"no reading for {int(quiet_for // 60)} minutes")
        else:
            self.store.clear_alert(station.id, "silence", now)

    def _check_surge(self, station, now):
        hold = self.config.hold_minutes * 60
        recent = self.store.readings(station.id, since=now - hold, until=now, limit=10000)
        if not recent:
            return
        surges = [self.surge(station, r) for r in recent]
        limit = self.config.surge_metres
        # The oldest reading must be near the start of the window: two in a row are no ten minutes.
        covers = recent[0]["time"] <= now - hold + 2 * station.interval
        if covers and min(surges) > limit:
            self._raise(station, "surge", now, f"{surges[-1]:.2f} m above the predicted tide")
        elif surges[-1] < limit * CLEAR_SHARE:
            self.store.clear_alert(station.id, "surge", now)

    def _raise(self, station, kind, now, detail):
        if self.store.open_alert(station.id, kind) is None:
            self.store.raise_alert(station.id, kind, now, detail)
            self.notify(station, kind, detail)
