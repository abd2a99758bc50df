"""What is known of power sensors, and how far one that looks part of the time may be off.

A card goes by what an experiment found of it, or by what is published.

A sensor is renewed every period and shows the mean of a window of it: what a card draws between
the windows is not seen. Nobody has published whether a card's energy counter adds up the same
looks or the true power, so it is taken to add up the looks, unless it was measured.

Source of the figures: "Part-time Power Measurements" (arXiv 2312.02741) and its repository, one to
ten cards each. Where it gives a range, the window here is the shorter end. What was measured is in
`docs/results-h200.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import dist, pi, sin, sqrt
from typing import Final, NamedTuple

from pytest_energy.meters.protocol import MOST_WATTS, Device
from pytest_energy.meters.sensors import Qualified, Sensor

HARMONICS: Final = 40
EDGES: Final = 1.25
"""What both ends together may cost, in shares of a period that are not looked at."""
LEAST_SEEN: Final = 0.1
"""Of a harmonic: if less of it is left, noise hides it."""
SAFETY: Final = 1.5
"""What the sum of the harmonics is taken times: it covers 95 % of windows, and more near lock."""
PERIOD_DOUBT: Final = 0.003
"""A sensor's period, and a mean step, are known to this share: lock may be that close."""


_PUBLISHED: Final = (
    (r"P100", Sensor(0.020, 0.010)),
    (r"V100", Sensor(0.020, 0.0105)),
    (r"RTX 20[68]0", Sensor(0.101, 0.102)),
    (r"Quadro RTX 8000", Sensor(0.100, 0.020)),
    (r"A100", Sensor(0.101, 0.018)),
    (r"H100", Sensor(0.100, 0.021)),
    (r"RTX 3090|RTX A[56]000|A10\b", Sensor(0.100, 0.080)),
    (r"RTX 4090", Sensor(0.100, 0.109)),
)
ASSUMED: Final = Sensor(0.100, 0.018, "assumed")
"""Of a card of which nothing is published: the shortest look that any is known to take."""
_MEASURED: Final = ((r"H200$", "580.", Sensor(0.100, 0.097, "measured")),)
"""Counters that `pytest-energy qualify` was run on, by name and branch of the driver.

Their looks are a little shorter than the shortest that the sharpest run left open.
"""


def sensor_of(name: str) -> Sensor:
    """The sensor of a card's power reading by the name that its driver gives."""
    found = (sensor for pattern, sensor in _PUBLISHED if re.search(rf"\b{pattern}", name))
    return next(found, ASSUMED)


def counter_of(device: Device, period_seconds: float | None = None) -> Sensor:
    """What a card's counter adds up: the same, unless counters of such cards were measured.

    `period_seconds` is how often it ticks, if that is known.
    """
    for pattern, branch, sensor in _MEASURED:
        is_named = re.search(rf"\b{pattern}", device.name) is not None
        if is_named and (device.driver or "").startswith(branch):
            return sensor_of(device.name) if _is_other(sensor, period_seconds) else sensor
    return sensor_of(device.name)


class Load(NamedTuple):
    """What is known of the work in a window: its mean power, that of rest (W), its length (s).

    `most_watts` is what the card may draw (W).
    """

    mean_watts: float
    rest_watts: float
    seconds: float
    most_watts: float = MOST_WATTS

    @property
    def above_rest_watts(self) -> float:
        """By how much it draws more than the card at rest (W)."""
        return abs(self.mean_watts - self.rest_watts)


def edge_joules(sensor: Sensor, load: Load) -> float:
    """How far a window's joules may be off as its ends fall between two looks (J).

    The work is seen by a whole number of looks, one more or one less than it is long.
    """
    if sensor.sees_all:
        return 0.0
    rest = load.seconds % sensor.period_seconds
    unseen = min(1.0, EDGES * abs(1 - sensor.window_seconds / sensor.period_seconds))
    return unseen * load.above_rest_watts * max(rest, sensor.period_seconds - rest)


class Swing(NamedTuple):
    """The power's range within a step (W): as readings of so long a look saw it (s), or assumed."""

    watts: float
    look_seconds: float | None = None


def lock_joules(sensor: Sensor, load: Load, step_seconds: float, swing: Swing) -> float:
    """How far they may be off (J) as steps of one length beat with the looks.

    The bound takes each harmonic of a square wave of the load's swing, damped by the sensor's
    window and by how evenly the looks fall on the step. If readings tell, their own look has damped
    the first already.
    """
    if sensor.sees_all:
        return 0.0
    looks = max(1, round(load.seconds / sensor.period_seconds))
    share, squares = sensor.window_seconds / step_seconds, 0.0
    look = swing.look_seconds
    first = 1.0 if look is None else max(abs(_sinc(look / step_seconds)), LEAST_SEEN)
    for h, lock in _locks(sensor.period_seconds / step_seconds, looks):
        seen = min(1.0, abs(_sinc(h * share)) / first)
        squares += (2 * swing.watts / (pi * h) * seen * lock) ** 2
    return SAFETY * sqrt(squares) * load.seconds


def scatter_joules(sensor: Sensor, load: Load, watts: Sequence[float]) -> float:
    """How far they may be off (J) by what readings (W) differ, if no step's length is known.

    Readings that follow one another slowly, as in a beat, tell as little as a few.
    """
    spread = standard_deviation(watts)
    if sensor.sees_all or not spread:
        return 0.0
    mean = sum(watts) / len(watts)
    alike = sum((a - mean) * (b - mean) for a, b in pairwise(watts)) / (len(watts) * spread**2)
    looks = max(1.0, load.seconds / sensor.period_seconds)
    told = max(1.0, looks * (1 - alike) / (1 + alike)) if alike > 0 else looks
    return (2 + 2 / told) * spread / sqrt(told) * load.seconds


def standard_deviation(watts: Sequence[float]) -> float:
    """How far readings are from their mean (W): each window needs it, so it is not worked out
    in fractions as `statistics` does; 0 if there is none.
    """
    mean = sum(watts) / max(1, len(watts))
    return dist(watts, [mean] * len(watts)) / sqrt(max(1, len(watts)))


def _locks(turns: float, looks: int) -> Iterator[tuple[int, float]]:
    """For each harmonic, how much of it is left in the mean over so many looks.

    Looks are `turns` steps apart, known to a share of it.
    """
    for h in range(1, HARMONICS + 1):
        off = abs(h * turns - round(h * turns))
        yield h, _coherence(max(0.0, off - PERIOD_DOUBT * h * turns), looks)


def _coherence(off: float, looks: int) -> float:
    """Length of the mean of `looks` unit vectors, each `off` turns after the last."""
    if off * looks >= 0.5:
        return 1 / (looks * sin(pi * min(off, 0.5)))
    return abs(sin(pi * off * looks) / (looks * sin(pi * off))) if off else 1.0


def _sinc(x: float) -> float:
    return sin(pi * x) / (pi * x) if x else 1.0


MOST_APART: Final = 0.1
"""A counter that ticks this much faster or slower than when it was qualified is another clock."""
AGAIN: Final = "qualify it again (`pytest-energy qualify --keep`)"


class Known(NamedTuple):
    """The sensor to go by, how it looks and where that comes from; why it is not the qualified."""

    sensor: Sensor
    told: str
    remark: str | None = None


def sensor_for(
    device: Device, found: Qualified | None, *, counted: bool, period_seconds: float | None = None
) -> Known:
    """The sensor of a card, whose joules are `counted` or else made of its readings.

    `period_seconds` is how often its counter ticks now, if that is known. What was found under
    another driver, or of a counter that ticked otherwise, is not used.
    """
    named = counter_of(device, period_seconds) if counted else sensor_of(device.name)
    if found is None:
        return Known(named, _told(named, _origin(named)))
    sensor = found.counter if counted else found.readings
    if found.driver != (device.driver or ""):
        was, now = found.driver or "unknown", device.driver or "unknown"
        remark = f"was qualified under driver {was} and has {now} now"
    elif sensor is not None and _is_other(sensor, period_seconds):
        was, now = (f"{1000 * s:.4g} ms" for s in (sensor.period_seconds, period_seconds or 0.0))
        remark = f"ticked every {was} when it was qualified, and every {now} now"
    elif sensor is None:  # what this card showed counts for more than what others did
        named = sensor_of(device.name)
        origin = f"{_origin(named)}; what feeds the counter was not found out"
        return Known(named, _told(named, origin))
    else:
        origin = f"qualified {found.date[:10]}, driver {found.driver or 'unknown'}"
        return Known(sensor, _told(sensor, origin))
    remark = f"`{device.domain}` {remark}, so that is not used; {AGAIN}"
    return Known(named, _told(named, _origin(named)), remark)


def _is_other(sensor: Sensor, period_seconds: float | None) -> bool:
    return (
        period_seconds is not None and abs(period_seconds / sensor.period_seconds - 1) > MOST_APART
    )


def _told(sensor: Sensor, origin: str) -> str:
    late = 1000 * sensor.lag_seconds
    lag = f", {late:.0f} ms late" if late >= 1 else ""
    return f"{sensor.told()}{lag} ({origin})"


def _origin(sensor: Sensor) -> str:
    if sensor.origin == "measured":
        return "measured on cards of this name under this branch of the driver"
    if sensor.is_known:
        return "published, arXiv 2312.02741"
    return "assumed: nothing is published of it, and `pytest-energy qualify --keep` finds it"
