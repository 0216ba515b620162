"""A configuration, a store in a temporary folder, and a gauge that follows a script."""
import os
import tempfile

from tidewatch import config
from tidewatch.store import Store

TEXT = """
[retry]
attempts = 3
first_delay = 1.0
max_delay = 1.5
jitter = 0.0
[alerts]
surge_metres = 0.5
hold_minutes = 5
silence_minutes = 30
[api]
port = 0
page_size = 10
[[station]]
id = "quay"
driver = "simulated"
interval = 60
mean_level = 2.0
"""


def make_config(text=TEXT):
    return config.parse(text)


def make_store(test):
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    store = Store(os.path.join(folder.name, "t.db"))
    test.addCleanup(store.close)
    return store


class ScriptedGauge:
    """Gives each item in turn; raises those that are exceptions."""

    def __init__(self, *script):
        self.script = list(script)

    def read(self):
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item
