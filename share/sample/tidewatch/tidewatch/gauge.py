"""Drivers: each turns one kind of gauge into read() -> level in metres above chart datum.

A driver raises retry.Transient for what may pass (noise, time-outs) and GaugeFault for what will not
(a wrong address, a gauge that reports a defect). It does not repeat anything itself.
"""
import json
import math
import os
import random
import select
import time
import urllib.error
import urllib.request

from . import tides
from .retry import Transient

READ_TIMEOUT = 3.0
LOWEST, HIGHEST = -20.0, 20.0


class GaugeFault(Exception):
    """The gauge says that it is broken, or cannot exist as configured. Repeating will not help."""


def checked(level):
    """A level that can be one; anything else was damaged on the way."""
    if not math.isfinite(level) or not LOWEST <= level <= HIGHEST:
        raise Transient(f"level {level} is outside {LOWEST} to {HIGHEST} m")
    return level


def frame_checksum(payload):
    """XOR of all bytes, as NMEA sentences have it."""
    value = 0
    for byte in payload:
        value ^= byte
    return value


def parse_frame(line):
    """The level of a frame `$TG,<millimetres>,<status>*<checksum in hex>`; status A is valid, D defective."""
    line = line.strip()
    if not line.startswith(b"$") or b"*" not in line:
        raise Transient(f"no frame: {line[:40]!r}")
    payload, _, given = line[1:].rpartition(b"*")
    try:
        expected = int(given, 16)
    except ValueError:
        raise Transient(f"checksum is no number: {given[:8]!r}") from None
    if frame_checksum(payload) != expected:
        raise Transient("checksum does not match")
    fields = payload.split(b",")
    if len(fields) != 3 or fields[0] != b"TG":
        raise Transient(f"not a gauge's frame: {payload[:40]!r}")
    if fields[2] == b"D":
        raise GaugeFault("the gauge reports a defect (status D)")
    try:
        return checked(int(fields[1]) / 1000.0)
    except ValueError:
        raise Transient(f"level is no number: {fields[1][:16]!r}") from None


class SimulatedGauge:
    """The predicted tide with noise, now and then a spike or a time-out. For trials and tests."""

    def __init__(self, station, clock=time.time, rng=None, fail_rate=0.02, spike_rate=0.01):
        self.station = station
        self.clock = clock
        self.rng = rng or random.Random(station.id)
        self.fail_rate = fail_rate
        self.spike_rate = spike_rate

    def read(self):
        if self.rng.random() < self.fail_rate:
            raise Transient("simulated time-out")
        level = tides.predict(self.station, self.clock()) + self.rng.gauss(0.0, 0.015)
        if self.rng.random() < self.spike_rate:
            level += self.rng.choice((-1, 1)) * 3.0
        return checked(level)


class SerialGauge:
    """A gauge that sends a frame per second on a serial line which is already set up (stty in install.sh)."""

    def __init__(self, station):
        self.path = station.address

    def read(self):
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except FileNotFoundError:
            raise GaugeFault(f"no such device: {self.path}") from None
        except OSError as error:
            raise Transient(f"{self.path}: {error.strerror}") from None
        try:
            return parse_frame(self._line(fd))
        finally:
            os.close(fd)

    def _line(self, fd):
        """One whole line; the first piece is thrown away, for it may start anywhere."""
        deadline = time.monotonic() + READ_TIMEOUT
        data = b""
        while data.count(b"\n") < 2:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise Transient(f"no frame from {self.path} in {READ_TIMEOUT} s")
            piece = os.read(fd, 256)
            if not piece:
                raise Transient(f"{self.path} was closed")
            data = (data + piece)[-1024:]
        return data.split(b"\n")[-2]


class HttpGauge:
    """A gauge with a web interface: GET address gives {"level_mm": 1234, "ok": true}."""

    def __init__(self, station):
        self.url = station.address

    def read(self):
        try:
            with urllib.request.urlopen(self.url, timeout=READ_TIMEOUT) as response:
                body = json.loads(response.read(4096))
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                raise GaugeFault(f"{self.url}: HTTP {error.code}") from None
            raise Transient(f"{self.url}: HTTP {error.code}") from None
        except (OSError, ValueError) as error:
            raise Transient(f"{self.url}: {error}") from None
        if not isinstance(body, dict) or not isinstance(body.get("level_mm"), (int, float)):
            raise Transient(f"{self.url}: no level_mm in the answer")
        if body.get("ok") is False:
            raise GaugeFault(f"{self.url}: the gauge reports a defect")
        return checked(body["level_mm"] / 1000.0)


def open_gauge(station):
    kinds = {"simulated": SimulatedGauge, "serial": SerialGauge, "http": HttpGauge}
    return kinds[station.driver](station)
