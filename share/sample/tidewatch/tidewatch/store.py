"""Readings and alerts in SQLite. One connection per thread; write-ahead log, so readers never wait.

A reading's key is station and minute: a poller that runs twice in a minute, or starts again after a power
cut, replaces and does not double.
"""
import sqlite3
import threading
import time

SCHEMA_VERSION = 2

MIGRATIONS = {
    1: """
        CREATE TABLE reading (
            station TEXT NOT NULL,
            minute INTEGER NOT NULL,
            level REAL NOT NULL,
            quality TEXT NOT NULL CHECK (quality IN ('good', 'despiked')),
            PRIMARY KEY (station, minute)
        ) WITHOUT ROWID;
    """,
    2: """
        CREATE TABLE alert (
            id INTEGER PRIMARY KEY,
            station TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('surge', 'silence')),
            raised REAL NOT NULL,
            cleared REAL,
            detail TEXT NOT NULL
        );
        CREATE INDEX alert_open ON alert (station, kind) WHERE cleared IS NULL;
    """,
}


class StoreTooNew(Exception):
    """The file was written by a later version; going on could damage it."""


class Store:
    def __init__(self, path):
        self.path = path
        self._local = threading.local()
        self._migrate()

    @property
    def _db(self):
        db = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self.path, timeout=10.0)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            self._local.db = db
        return db

    def _migrate(self):
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreTooNew(f"{self.path} has schema {version}, this program knows {SCHEMA_VERSION}")
        for step in range(version + 1, SCHEMA_VERSION + 1):
            self._db.executescript(f"BEGIN; {MIGRATIONS[step]} PRAGMA user_version = {step}; COMMIT;")

    def close(self):
        """Closes this thread's connection."""
        if getattr(self._local, "db", None) is not None:
            self._local.db.close()
            self._local.db = None

    def put_reading(self, station, when, level, quality="good"):
        with self._db as db:
            db.execute(
                "INSERT OR REPLACE INTO reading (station, minute, level, quality) VALUES (?, ?, ?, ?)",
                (station, int(when // 60), level, quality),
            )

    def readings(self, station, since=0.0, until=None, limit=500):
        """Oldest first. A caller pages by passing the last time + 60 as `since`."""
        until = time.time() if until is None else until
        rows = self._db.execute(
            "SELECT minute, level, quality FROM reading"
            " WHERE station = ? AND minute >= ? AND minute <= ? ORDER BY minute LIMIT ?",
            (station, -int(-since // 60), int(until // 60), limit),
        )
        return [{"time": r["minute"] * 60, "level": r["level"], "quality": r["quality"]} for r in rows]

    def latest(self, station, count=1):
        rows = self._db.execute(
            "SELECT minute, level, quality FROM reading WHERE station = ? ORDER BY minute DESC LIMIT ?",
            (station, count),
        ).fetchall()
        return [{"time": r["minute"] * 60, "level": r["level"], "quality": r["quality"]} for r in rows]

    def prune(self, keep_days, now=None):
        """Removes readings older than keep_days; how many. Alerts are kept for ever."""
        now = time.time() if now is None else now
        with self._db as db:
            done = db.execute("DELETE FROM reading WHERE minute < ?", (int((now - keep_days * 86400) // 60),))
        return done.rowcount

    def open_alert(self, station, kind):
        row = self._db.execute(
            "SELECT * FROM alert WHERE station = ? AND kind = ? AND cleared IS NULL", (station, kind)
        ).fetchone()
        return dict(row) if row else None

    def raise_alert(self, station, kind, when, detail):
        """The open alert's id; an alert that is open already is not raised again."""
        existing = self.open_alert(station, kind)
        if existing:
            return existing["id"]
        with self._db as db:
            return db.execute(
                "INSERT INTO alert (station, kind, raised, detail) VALUES (?, ?, ?, ?)",
                (station, kind, when, detail),
            ).lastrowid

    def clear_alert(self, station, kind, when):
        """True when there was one to clear."""
        with self._db as db:
            done = db.execute(
                "UPDATE alert SET cleared = ? WHERE station = ? AND kind = ? AND cleared IS NULL",
                (when, station, kind),
            )
        return done.rowcount > 0

    def alerts(self, limit=100):
        return [dict(r) for r in self._db.execute("SELECT * FROM alert ORDER BY id DESC LIMIT ?", (limit,))]
