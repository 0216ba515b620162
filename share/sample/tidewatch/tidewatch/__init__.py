"""Tidewatch: reads tide gauges, stores the readings, warns of surges."""

__version__ = "1.4.0"
