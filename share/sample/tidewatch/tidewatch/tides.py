"""The predicted tide: a mean level and a sum of cosines, one for each constituent.

    level(t) = mean + Σ amplitude · cos(speed · hours since the epoch − phase)

Speeds are astronomy and the same everywhere; amplitudes and phases belong to the place and come from an
analysis of a year of its readings. Nodal corrections are left out: they change the result by less than the
0.45 m at which we warn.
"""
import math

# Degrees per hour.
SPEEDS = {
    "M2": 28.9841042,  # principal lunar, 12.42 h
    "S2": 30.0000000,  # principal solar, 12.00 h
    "N2": 28.4397295,  # larger lunar elliptic
    "K1": 15.0410686,  # lunisolar diurnal
    "O1": 13.9430356,  # lunar diurnal
    "M4": 57.9682084,  # shallow water, overtide of M2
}

EPOCH = 946684800.0  # 2000-01-01T00:00:00Z


class UnknownConstituent(Exception):
    pass


def speed(name):
    try:
        return SPEEDS[name]
    except KeyError:
        known = ", ".join(sorted(SPEEDS))
        raise UnknownConstituent(f"constituent '{name}' is unknown; known are {known}") from None


def predict(station, when):
    """Level in metres at Unix time `when`."""
    hours = (when - EPOCH) / 3600.0
    level = station.mean_level
    for c in station.constituents:
        level += c.amplitude * math.cos(math.radians(speed(c.name) * hours - c.phase_degrees))
    return level


def next_high_water(station, after, within_hours=26.0, step=300.0):
    """(time, level) of the next maximum, or None for a station without tide.

    Steps of five minutes find the peak, a parabola through three points places it to the second.
    """
    if not station.constituents:
        return None
    before, here = predict(station, after), predict(station, after + step)
    when = after + step
    while when < after + within_hours * 3600.0:
        following = predict(station, when + step)
        if here >= before and here > following:
            bend = before - 2 * here + following
            shift = 0.5 * (before - following) / bend if bend else 0.0
            peak = when + shift * step
            return peak, predict(station, peak)
        before, here, when = here, following, when + step
    return None
