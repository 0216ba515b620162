"""The command line: check the configuration, run the service, print a prediction, prune the store."""
import argparse
import logging
import signal
import sys
import threading
import time

from . import config as configuration
from . import tides
from .alerts import AlertPolicy
from .api import make_server
from .poller import Poller
from .store import Store, StoreTooNew

log = logging.getLogger("tidewatch")


def notify(station, kind, detail):
    """Alerts go to the log; operations.md says how to pass them on from there."""
    log.warning("ALERT %s at %s: %s", kind, station.name, detail)


def run(config):
    store = Store(config.store_path)
    policy = AlertPolicy(config, store, notify)
    pollers = [Poller(s, config, store, policy) for s in config.stations]
    server = make_server(config, store)
    for signum in (signal.SIGINT, signal.SIGTERM):
        # shutdown() waits for serve_forever, which runs in this thread: ask from another.
        signal.signal(signum, lambda *_: threading.Thread(target=server.shutdown).start())
    for poller in pollers:
        poller.start()
    log.info("serving on http://%s:%d", *server.server_address[:2])
    server.serve_forever()
    for poller in pollers:
        poller.stop()
    for poller in pollers:
        poller.join(timeout=10)
    server.server_close()
    store.close()
    return 0


def predict(config, station_id):
    station = next((s for s in config.stations if s.id == station_id), None)
    if station is None:
        print(f"no station '{station_id}'", file=sys.stderr)
        return 1
    when = time.time()
    for _ in range(4):
        high = tides.next_high_water(station, when)
        if high is None:
            print("no tide here")
            return 0
        print(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(high[0])), f"{high[1]:.2f} m")
        when = high[0] + 3600
    return 0


def main(argv=None):
    parser = argparse.ArgumentParser(prog="tidewatch")
    parser.add_argument("--config", default="tidewatch.toml")
    parser.add_argument("--verbose", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="check the configuration")
    commands.add_parser("run", help="poll the gauges and serve the API")
    commands.add_parser("predict", help="print the next high waters").add_argument("station")
    commands.add_parser("prune", help="remove readings older than keep_days")
    args = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        config = configuration.load(args.config)
        for station in config.stations:
            for constituent in station.constituents:
                tides.speed(constituent.name)
    except (configuration.ConfigError, tides.UnknownConstituent, OSError) as error:
        print(f"{args.config}: {error}", file=sys.stderr)
        return 2
    try:
        if args.command == "run":
            return run(config)
        if args.command == "predict":
            return predict(config, args.station)
        if args.command == "prune":
            print(Store(config.store_path).prune(config.keep_days), "readings removed")
            return 0
    except StoreTooNew as error:
        print(error, file=sys.stderr)
        return 3
    print(f"{args.config}: {len(config.stations)} stations, no mistakes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
