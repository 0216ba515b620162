"""The HTTP API: read-only JSON over the store. docs/http-api.md lists the endpoints."""
import json
import logging
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import __version__, tides

log = logging.getLogger("tidewatch.api")


class BadRequest(Exception):
    pass


class NotFound(Exception):
    pass


def number(query, name, default):
    values = query.get(name)
    if not values:
        return default
    try:
        return float(values[-1])
    except ValueError:
        raise BadRequest(f"'{name}' must be a number, not '{values[-1]}'") from None


class Api:
    """Endpoints as plain functions of the query; the handler below only speaks HTTP."""

    def __init__(self, config, store, clock=time.time):
        self.config = config
        self.store = store
        self.clock = clock
        self.stations = {s.id: s for s in config.stations}

    def answer(self, target):
        """(status, body) for a request target."""
        parts = urllib.parse.urlsplit(target)
        path = [urllib.parse.unquote(p) for p in parts.path.split("/") if p]
        query = urllib.parse.parse_qs(parts.query)
        try:
            return 200, self._route(path, query)
        except BadRequest as error:
            return 400, {"error": str(error)}
        except NotFound as error:
            return 404, {"error": str(error)}

    def _route(self, path, query):
        if path == ["health"]:
            return self.health()
        if path == ["stations"]:
            return {"stations": [self.summary(s) for s in self.config.stations]}
        if path == ["alerts"]:
            return {"alerts": self.store.alerts()}
        if len(path) == 3 and path[0] == "stations":
            station = self.stations.get(path[1])
            if station is None:
                raise NotFound(f"no station '{path[1]}'")
            if path[2] == "readings":
                return self.readings(station, query)
            if path[2] == "prediction":
                return self.prediction(station, query)
        raise NotFound("no such path")

    def health(self):
        silent = [s.id for s in self.config.stations if self.store.open_alert(s.id, "silence")]
        return {"status": "degraded" if silent else "ok", "silent": silent, "version": __version__}

    def summary(self, station):
        latest = self.store.latest(station.id)
        high = tides.next_high_water(station, self.clock())
        return {
            "id": station.id,
            "name": station.name,
            "latest": latest[0] if latest else None,
            "next_high_water": {"time": round(high[0]), "level": round(high[1], 3)} if high else None,
        }

    def readings(self, station, query):
        size = self.config.page_size
        limit = int(min(max(number(query, "limit", size), 1), size))
        found = self.store.readings(
            station.id, number(query, "since", 0.0), number(query, "until", self.clock()), limit
        )
        following = found[-1]["time"] + 60 if len(found) == limit else None
        return {"station": station.id, "readings": found, "next_since": following}

    def prediction(self, station, query):
        start = number(query, "since", self.clock())
        hours = number(query, "hours", 24.0)
        if not 0 < hours <= 24 * 31:
            raise BadRequest("'hours' must be above 0 and at most 744")
        times = [start + 600.0 * n for n in range(int(hours * 6) + 1)]
        return {"levels": [{"time": round(t), "level": round(tides.predict(station, t), 3)} for t in times]}


def make_server(config, store, clock=time.time):
    api = Api(config, store, clock)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            try:
                status, body = api.answer(self.path)
            except Exception:
                log.exception("request failed: %s", self.path)
                status, body = 500, {"error": "internal error"}
            finally:
                store.close()
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, form, *args):
            log.debug(form, *args)

    server = ThreadingHTTPServer((config.host, config.port), Handler)
    server.daemon_threads = True
    return server
