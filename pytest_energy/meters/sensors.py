"""How cards' sensors look at what they draw, as published, measured or found by an experiment.

A sensor is renewed every period and shows the mean of a window of it: what a card draws between
the windows is not seen. Nobody has published whether a card's energy counter adds up the same
looks or the true power, so it is taken to add up the looks, unless it was measured.

Source of the figures: "Part-time Power Measurements" (arXiv 2312.02741) and its repository, one to
ten cards each. Where it gives a range, the window here is the shorter end. What was measured is in
`docs/results-h200.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from pytest_energy.meters.protocol import Device

Origin = Literal["published", "assumed", "measured", "qualified"]
"""Where a sensor's figures come from.

A paper, the shortest look known, an experiment of this project's on such cards, or one here.
"""
Feed = Literal["sensor", "true power", "unknown", "no counter"]
"""What an energy counter adds up: a sensor's looks, or all that the card draws."""

SEES_ALL: Final = 0.05
"""A window this close to the period, as a share of it, misses nothing that matters."""
LEAST_LAG_SECONDS: Final = 0.002
"""A smaller lag is not told from what a fit leaves over."""
SHORTEST_SHARE: Final = 0.01
"""Of a period: no look is taken to be shorter."""


class Sensor(NamedTuple):
    """How often a value is renewed, and the stretch of true power that it is a mean of (s).

    That stretch ended `lag_seconds` before the renewal, known to `lag_doubt_seconds`.
    """

    period_seconds: float
    window_seconds: float
    origin: Origin = "published"
    lag_seconds: float = 0.0
    lag_doubt_seconds: float = 0.0

    @classmethod
    def found(
        cls, period: float, window: float, window_doubt: float, lag: float, lag_doubt: float
    ) -> Sensor:
        """One as an experiment found it (s); its window is the shorter end of what it may be."""
        late = lag if lag > max(lag_doubt, LEAST_LAG_SECONDS) else 0.0
        shorter = max(window - window_doubt, SHORTEST_SHARE * period)
        return cls(period, shorter, "qualified", late, lag_doubt)

    @property
    def sees_all(self) -> bool:
        """Whether each moment is looked at once, about."""
        return abs(self.window_seconds / self.period_seconds - 1) <= SEES_ALL

    @property
    def is_known(self) -> bool:
        """Whether somebody found out how this card looks."""
        return self.origin != "assumed"

    def renewed_every(self, seconds: float) -> Sensor:
        """The same with the period that was seen just now (s)."""
        if self.origin not in ("qualified", "measured"):
            return self._replace(period_seconds=seconds)
        share = seconds / self.period_seconds
        return self._replace(period_seconds=seconds, window_seconds=share * self.window_seconds)

    def told(self) -> str:
        """How it looks, for a person."""
        look = "looks" if self.is_known else "may look"
        if self.sees_all:
            return f"{look} all the time"
        window, period = 1000 * self.window_seconds, 1000 * self.period_seconds
        return f"{look} {window:.0f} of every {period:.0f} ms"


class Qualified(NamedTuple):
    """What an experiment found of a card, under which driver and when (ISO).

    `counter` is what its counter's joules are made of, None if that could not be told; `readings`
    is the sensor of its power reading, None if that is not known.
    """

    driver: str
    date: str
    counter: Sensor | None = None
    readings: Sensor | None = None

    @classmethod
    def of(
        cls,
        card: tuple[str, str],
        feed: Feed,
        sees_all: bool,
        counter: Sensor | None,
        readings: Sensor | None,
    ) -> Qualified:
        """What windows may go by: of a counter, nothing if it cannot be told what feeds it.

        `card` is its driver and the date; `sees_all`: the counter surely misses nothing.
        """
        if counter is not None and sees_all:
            counter = counter._replace(window_seconds=counter.period_seconds)
        elif feed not in ("sensor", "true power"):
            counter = None
        return cls(*card, counter, readings)


Rows: TypeAlias = tuple[tuple[Any, ...], ...]


def as_rows(qualified: Mapping[str, Qualified]) -> Rows:
    """The same to be sent to another process."""
    return tuple((uuid, *each) for uuid, each in qualified.items())


def from_rows(rows: Iterable[Sequence[Any]]) -> dict[str, Qualified]:
    """What was sent, by UUID."""
    return {
        uuid: Qualified(driver, date, *(each and Sensor(*each) for each in sensors))
        for uuid, driver, date, *sensors in rows
    }


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
        return Known(named, _told(named))
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
    return Known(named, _told(named), remark)


def _is_other(sensor: Sensor, period_seconds: float | None) -> bool:
    off = 0.0 if period_seconds is None else abs(period_seconds / sensor.period_seconds - 1)
    return off > MOST_APART


def _told(sensor: Sensor, origin: str = "") -> str:
    late = 1000 * sensor.lag_seconds
    lag = f", {late:.0f} ms late" if late >= 1 else ""
    return f"{sensor.told()}{lag} ({origin or _origin(sensor)})"


def _origin(sensor: Sensor) -> str:
    if sensor.origin == "measured":
        return "measured on cards of this name under this branch of the driver"
    if sensor.is_known:
        return "published, arXiv 2312.02741"
    return "assumed: nothing is published of it, and `pytest-energy qualify --keep` finds it"
