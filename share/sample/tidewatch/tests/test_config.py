import os
import unittest

from tests.helpers import TEXT
from tidewatch import config

HERE = os.path.dirname(os.path.abspath(__file__))


class ConfigTest(unittest.TestCase):
    def test_example_is_valid(self):
        found = config.load(os.path.join(HERE, "..", "tidewatch.toml"))
        self.assertEqual(found.stations[0].id, "harbour")
        self.assertEqual(len(found.stations[0].constituents), 3)

    def test_every_mistake_is_named_at_once(self):
        text = TEXT.replace("attempts = 3", "attempts = 0").replace('"simulated"', '"sonar"')
        with self.assertRaises(config.ConfigError) as caught:
            config.parse(text + '[[station]]\nid = "quay"\ndriver = "serial"\n')
        problems = "\n".join(caught.exception.problems)
        for part in ("retry.attempts", "'sonar'", "station[1].address", "more than once"):
            self.assertIn(part, problems)

    def test_no_station_is_a_mistake(self):
        with self.assertRaises(config.ConfigError):
            config.parse("[store]\n")

    def test_broken_toml_is_a_config_error(self):
        with self.assertRaises(config.ConfigError):
            config.parse("[store")
