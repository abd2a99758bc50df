"""The readings of a wall meter over time, and the joules between two moments."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from pytest_energy.errors import EnergyError
from pytest_energy.meters.wall.forms import Figure

GAP_PERIODS = 3.0
LEAST_GAP_SECONDS = 1.0
"""Readings further apart than both of these leave a gap that no figure bridges."""
MOST_READINGS = 1_000_000
"""So many are kept, more than a week of a reading a second; then the older half is dropped."""
_FARTHEST = 2.0  # power and energy of one load are no further apart beyond their uncertainties
_RECENT = 100  # readings that say what the usual period is
_MOST_STEPS_BACK, _STEPS = 2, 20  # a clock is set now and then, not within a few readings
_UNSEEN_CHANGES = 1.4  # half-width of a sum of held readings in sqrt(sum((step * seconds)**2))


class NotCoveredError(EnergyError):
    """The readings do not cover the time asked for, so there is no figure for it."""


class DisagreeError(EnergyError):
    """Power and energy of one meter are further apart than readings of one load can be."""


@dataclass(frozen=True)
class WallReading:
    """What was reported at one moment: Unix time (s), power (W), cumulative energy (J)."""

    seconds: Figure
    watts: Figure | None = None
    joules: Figure | None = None


@dataclass(frozen=True)
class WallJoules:
    """Joules between two moments, and the half-width (J) that covers them 19 times in 20."""

    joules: float
    uncertainty_joules: float


class Series:
    """One quantity over wall-clock time; a step back in time begins it anew."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.values: list[float] = []
        self.digit = math.inf
        self.seconds_digit = math.inf

    def add(self, seconds: Figure, value: Figure) -> None:
        """Append a reading."""
        if self.seconds and seconds.value < self.seconds[-1]:
            self.seconds.clear()
            self.values.clear()
        if len(self.seconds) >= MOST_READINGS:
            del self.seconds[: MOST_READINGS // 2], self.values[: MOST_READINGS // 2]
        self.seconds.append(seconds.value)
        self.values.append(value.value)
        # A trailing zero hides digits, so the finest reading tells what the source resolves.
        self.digit = min(self.digit, value.digit)
        self.seconds_digit = min(self.seconds_digit, seconds.digit)

    @property
    def period_seconds(self) -> float:
        """The usual time between readings (s); 0 before there are two."""
        steps = [b - a for a, b in pairwise(self.seconds[-_RECENT:]) if b > a]
        return median(steps) if steps else 0.0

    def bracket(self, start: float, end: float) -> tuple[int, int]:
        """First and last reading around a stretch; raises `NotCoveredError` without both."""
        late, short = self.seconds[0] - start, end - self.seconds[-1]
        if late > 0:
            raise NotCoveredError(f"its readings begin {late:.3g} s into the window")
        if short > 0:
            raise NotCoveredError(f"its readings end {short:.3g} s before the window does")
        first = bisect_right(self.seconds, start) - 1
        last = bisect_left(self.seconds, end)
        gap = max((b - a for a, b in pairwise(self.seconds[first : last + 1])), default=0.0)
        usual = self.period_seconds
        if gap > max(GAP_PERIODS * usual, LEAST_GAP_SECONDS) + self.seconds_digit:
            raise NotCoveredError(
                f"it has no reading for {gap:.3g} s of the window, and one comes every "
                f"{usual:.3g} s"
            )
        return first, last


class WallTrace:
    """All readings of one wall meter; power and energy are kept apart, and the better one taken."""

    def __init__(self) -> None:
        self.watts = Series()
        self.energy = Series()
        self._steps: deque[float] = deque(maxlen=_STEPS)
        self._latest: float | None = None

    @property
    def disorder(self) -> str | None:
        """What is wrong if times go back again and again, which no clock does; else None."""
        back = sum(step < 0 for step in self._steps)
        if back <= _MOST_STEPS_BACK:
            return None
        return (
            f"its times went back {back} times in its last {len(self._steps) + 1} readings, as "
            "if two loggers or devices wrote to it: give a log that one writes, of one device"
        )

    def add(self, reading: WallReading) -> None:
        """Append a reading."""
        if self._latest is not None:
            self._steps.append(reading.seconds.value - self._latest)
        self._latest = reading.seconds.value
        if reading.watts is not None:
            self.watts.add(reading.seconds, reading.watts)
        if reading.joules is not None:
            self.energy.add(reading.seconds, reading.joules)

    @property
    def readings(self) -> int:
        """How many readings there are."""
        return max(len(self.watts.seconds), len(self.energy.seconds))

    @property
    def last(self) -> float:
        """Unix time of the last reading (s); 0 before there is one."""
        return max([0.0, *self.watts.seconds[-1:], *self.energy.seconds[-1:]])

    @property
    def period_seconds(self) -> float:
        """The usual time between readings (s)."""
        return max(self.watts.period_seconds, self.energy.period_seconds)

    @property
    def resolution_joules(self) -> float:
        """The smallest step the readings can show (J): of the energy, or of power over a period."""
        steps = [self.energy.digit] if self.energy.seconds else []
        if self.watts.seconds:
            steps.append(self.watts.digit * self.watts.period_seconds)
        return min(steps, default=0.0)

    def between(self, start: float, end: float) -> WallJoules:
        """Joules from one Unix time to another (s), of power or energy, whichever is surer.

        Raises `NotCoveredError` if neither covers the whole stretch, `DisagreeError` if one
        of them must be wrong.
        """
        found, reason = [], "it has no readings"
        for series, joules in ((self.watts, held), (self.energy, interpolated)):
            if series.seconds:
                try:
                    found.append(joules(series, start, end))
                except NotCoveredError as error:
                    reason = str(error)
        if not found:
            raise NotCoveredError(reason)
        return _surer(*found)


def _surer(power: WallJoules, energy: WallJoules | None = None) -> WallJoules:
    """The one that is known better; an energy that has not moved yet says nothing."""
    if energy is None:
        return power
    low, high = sorted((power, energy), key=lambda each: each.joules)
    least = high.joules - high.uncertainty_joules
    if least <= _FARTHEST * (low.joules + low.uncertainty_joules):
        return min(power, energy, key=lambda each: each.uncertainty_joules)
    if energy.joules == 0:
        return power
    raise DisagreeError(
        f"its power comes to {power.joules:.4g} J in the window, its energy to "
        f"{energy.joules:.4g} J; see which of them is right"
    )


def held(series: Series, start: float, end: float) -> WallJoules:
    """Joules from watts by zero-order hold: each reading counts until the next one.

    The half-width takes readings for points of a load that may change anywhere between them. It
    adds the delay that holding means for a load that climbs, the time stamp's and the last digit.
    """
    first, last = series.bracket(start, end)
    times, watts = series.seconds, series.values
    joules = squares = 0.0
    for i in range(first, last):
        covered = min(times[i + 1], end) - max(times[i], start)
        joules += watts[i] * covered
        squares += ((watts[i + 1] - watts[i]) * covered) ** 2
    climb = abs(watts[last] - watts[first])
    delay = series.period_seconds / 2 + series.seconds_digit
    rounding = series.digit / 2 * (end - start)
    return WallJoules(joules, _UNSEEN_CHANGES * math.sqrt(squares) + climb * delay + rounding)


def interpolated(series: Series, start: float, end: float) -> WallJoules:
    """Joules from cumulative joules, interpolated between the two readings around either end.

    The half-width is a step of the counter, and at either end what is missed if the load
    changed just there by what it changes elsewhere in the window. Within one pair of readings
    nothing is known: all of it is uncertain.
    """
    first, last = series.bracket(start, end)
    values = series.values
    if any(values[i + 1] < values[i] for i in range(first, last)):
        raise NotCoveredError("its energy reading was set back in the window")
    joules = _at(series, end) - _at(series, start)
    # A step of the counter: what it leaps by if it has stood still, else its last digit (J).
    triples = zip(values, values[1:], values[2:], strict=False)
    step = max([series.digit, *(c - b for a, b, c in triples if a == b and c > b)])
    if last - first < 2:
        return WallJoules(joules, max(abs(joules), step))
    powers = [_watts(series, i) for i in range(max(first - 1, 0), last)]
    swing = max(powers) - min(powers)
    edges = _edge(series, first, start, swing) + _edge(series, last - 1, end, swing)
    stamp = abs(_watts(series, last - 1) - _watts(series, first)) * series.seconds_digit
    # Rounding alone moves the power between readings, and is counted as the step already.
    return WallJoules(joules, step + max(0.0, edges - step) + stamp)


def _at(series: Series, moment: float) -> float:
    i = bisect_right(series.seconds, moment) - 1
    watts = _watts(series, i) if i + 1 < len(series.seconds) else 0.0
    return series.values[i] + watts * (moment - series.seconds[i])


def _watts(series: Series, i: int) -> float:
    """Mean power between a reading and the next (W)."""
    seconds = series.seconds[i + 1] - series.seconds[i]
    return (series.values[i + 1] - series.values[i]) / seconds if seconds > 0 else 0.0


def _edge(series: Series, i: int, moment: float, swing: float) -> float:
    """What a change of load at `moment`, between readings i and i + 1, would hide (J).

    The power on one side of the pair holds up to `moment`, that on the other side from there on;
    or it changes there and back by `swing` (W).
    """
    length = series.seconds[i + 1] - series.seconds[i]
    if length <= 0:
        return 0.0
    share = (moment - series.seconds[i]) / length
    unseen = share * (1 - share) * length * swing
    here = _watts(series, i)
    if i + 2 >= len(series.seconds):
        return max(unseen, share * length * abs(here - _watts(series, i - 1)))
    if i == 0:
        return max(unseen, (1 - share) * length * abs(here - _watts(series, i + 1)))
    across = abs(_watts(series, i + 1) - _watts(series, i - 1))
    return max(unseen, share * (1 - share) * length * across)
