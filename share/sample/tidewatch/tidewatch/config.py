"""Configuration: one TOML file, checked as a whole before anything starts.

Every mistake is collected, so that a person mends the file once and not line by line.
"""
import dataclasses
import tomllib

DRIVERS = ("simulated", "serial", "http")


class ConfigError(Exception):
    """All problems of a file, one per line."""

    def __init__(self, problems):
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class Constituent:
    name: str
    amplitude: float
    phase_degrees: float


@dataclasses.dataclass(frozen=True)
class Station:
    id: str
    name: str
    driver: str
    interval: float
    mean_level: float
    address: str = ""
    constituents: tuple = ()


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    attempts: int = 4
    first_delay: float = 0.5
    max_delay: float = 8.0
    jitter: float = 0.2


@dataclasses.dataclass(frozen=True)
class Config:
    store_path: str
    keep_days: int
    host: str
    port: int
    page_size: int
    retry: RetryPolicy
    surge_metres: float
    hold_minutes: float
    silence_minutes: float
    stations: tuple


class _Reader:
    """Takes values out of a TOML table and remembers what was wrong with them."""

    def __init__(self):
        self.problems = []

    def number(self, table, where, key, default, low, high):
        value = table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.problems.append(f"{where}.{key}: expected a number, found {value!r}")
            return default
        if not low <= value <= high:
            self.problems.append(f"{where}.{key}: {value} is not between {low} and {high}")
            return default
        return value

    def text(self, table, where, key, default=None):
        value = table.get(key, default)
        if not isinstance(value, str) or (default is None and not value):
            self.problems.append(f"{where}.{key}: expected a text")
            return default or ""
        return value


def _station(reader, table, index):
    where = f"station[{index}]"
    driver = reader.text(table, where, "driver")
    if driver and driver not in DRIVERS:
        reader.problems.append(f"{where}.driver: '{driver}' is none of {', '.join(DRIVERS)}")
    address = reader.text(table, where, "address", "")
    if driver in ("serial", "http") and not address:
        reader.problems.append(f"{where}.address: the driver '{driver}' needs one")
    constituents = tuple(
        Constituent(
            reader.text(c, f"{where}.constituent[{n}]", "name"),
            reader.number(c, f"{where}.constituent[{n}]", "amplitude", 0.0, 0.0, 15.0),
            reader.number(c, f"{where}.constituent[{n}]", "phase_degrees", 0.0, -360.0, 360.0),
        )
        for n, c in enumerate(table.get("constituent", []))
    )
    return Station(
        id=reader.text(table, where, "id"),
        name=reader.text(table, where, "name", table.get("id", "")),
        driver=driver,
        interval=reader.number(table, where, "interval", 60, 1, 86400),
        mean_level=reader.number(table, where, "mean_level", 0.0, -20.0, 20.0),
        address=address,
        constituents=constituents,
    )


def parse(text):
    """A Config, or ConfigError with every problem found."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"not valid TOML: {error}"]) from None
    r = _Reader()
    store, api = data.get("store", {}), data.get("api", {})
    retry, alerts = data.get("retry", {}), data.get("alerts", {})
    stations = tuple(_station(r, t, n) for n, t in enumerate(data.get("station", [])))
    if not stations:
        r.problems.append("station: at least one [[station]] is needed")
    ids = [s.id for s in stations]
    for double in sorted({i for i in ids if ids.count(i) > 1}):
        r.problems.append(f"station: the id '{double}' is used more than once")
    config = Config(
        store_path=r.text(store, "store", "path", "tidewatch.db"),
        keep_days=int(r.number(store, "store", "keep_days", 400, 1, 36500)),
        host=r.text(api, "api", "host", "127.0.0.1"),
        port=int(r.number(api, "api", "port", 8087, 0, 65535)),
        page_size=int(r.number(api, "api", "page_size", 500, 1, 10000)),
        retry=RetryPolicy(
            attempts=int(r.number(retry, "retry", "attempts", 4, 1, 20)),
            first_delay=r.number(retry, "retry", "first_delay", 0.5, 0.0, 60.0),
            max_delay=r.number(retry, "retry", "max_delay", 8.0, 0.0, 600.0),
            jitter=r.number(retry, "retry", "jitter", 0.2, 0.0, 1.0),
        ),
        surge_metres=r.number(alerts, "alerts", "surge_metres", 0.45, 0.01, 10.0),
        hold_minutes=r.number(alerts, "alerts", "hold_minutes", 10, 0, 1440),
        silence_minutes=r.number(alerts, "alerts", "silence_minutes", 30, 1, 10080),
        stations=stations,
    )
    if r.problems:
        raise ConfigError(r.problems)
    return config


def load(path):
    with open(path, encoding="utf-8") as f:
        return parse(f.read())
