"""Whether windows have become steady, and what they look like together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from pytest_energy.stats.distributions import line, student_t

STEADY = 0.01
"""Relative step between windows below which they count as equal; sensors repeat no better."""

WARM_UP_LIMIT = 8
"""Warm-up windows after which measuring begins, steady or not; fewer if nothing can fail."""


WARMTH_LIMIT = 30
"""Warm-up windows after which a device that is not as warm as its baseline is not measured."""

LEAST_TYPICAL = 5
"""Values from which on one of them may be called an outlier."""

OUTLYING = 4.0
_FLOOR = 0.001  # relative: closer than that windows never are

LEAST_ALIKE = 2
"""Windows that have to be alike for a run to be steady."""

LEAST_ALIKE_RECORDED = 3
"""The same before a baseline is recorded: two windows hide a trend that three of them show."""

COLDER_CELSIUS = 3.0
"""How much colder than its baseline a device may be: about 0.3 % of J/token, as cards go."""

LASTING = 20.0
"""Windows for which a trend of the warm-up is taken to go on, at the most: a large cooler's."""
BEFORE_TREND, LEAST_OF_TREND = 2, 6
"""Windows that no trend is read from, since beginning costs more, and those that it takes."""

STILL_CELSIUS = 1.0
STILL_WINDOWS = 6
"""A device whose temperature rises by no more than that over so many windows is warm."""


def autocorrelation(values: Sequence[float]) -> float:
    """Lag-1 autocorrelation; 0 for fewer than 4 values or no spread."""
    if len(values) < 4:
        return 0.0
    mean = fmean(values)
    deviations = [value - mean for value in values]
    total = sum(d * d for d in deviations)
    if total == 0:
        return 0.0
    return sum(a * b for a, b in pairwise(deviations)) / total


def typical(values: Sequence[float]) -> list[float]:
    """Values of one session with outliers pulled in to 4 SD from their median.

    The SD is 1.4826 times the median distance from it; fewer than five values have no outliers.
    """
    middle, distance = median(values), median_distance(values)
    reach = OUTLYING * max(1.4826 * distance, _FLOOR * abs(middle))
    if len(values) < LEAST_TYPICAL:
        return list(values)
    return [min(max(value, middle - reach), middle + reach) for value in values]


def median_distance(values: Sequence[float]) -> float:
    """The median of the values' distances from their median."""
    middle = median(values)
    return median([abs(value - middle) for value in values])


class Halves(NamedTuple):
    """How far the mean of the second half is off that of the first, as a fraction.

    `by_chance` is how far it is 19 times in 20 if values only scatter as they do within the halves.
    """

    off: float
    by_chance: float


def halves(values: Sequence[float]) -> Halves:
    """The halves of at least two values; if they are odd, the middle one is the second half's."""
    middle = len(values) // 2
    first, second = values[:middle], values[middle:]
    off = math.log(fmean(second) / fmean(first))
    degrees = len(values) - 2
    if degrees < 1:
        return Halves(off, 0.0)
    squares = sum((x - fmean(half)) ** 2 for half in (first, second) for x in half)
    error = math.sqrt(squares / degrees * (1 / len(first) + 1 / len(second))) / fmean(values)
    return Halves(off, student_t(degrees) * error)


def is_stationary(
    values: Sequence[float], within: float = STEADY, least: int = LEAST_ALIKE
) -> bool:
    """Whether warm-up windows, oldest first, have become steady in J/token; `least` at the least.

    They have when the last two differ by at most `within`, relative, and the last three do not
    climb or fall by more than that together. They also have when the last three turn back: noise
    does, warming up does not.
    """
    if len(values) < least:
        return False
    logs = [math.log(value) for value in values[-3:]]
    steps = [after - before for before, after in pairwise(logs)]
    if len(steps) == 2 and steps[0] * steps[1] < 0:
        return True
    return abs(steps[-1]) <= within and abs(sum(steps)) <= within


def warm_up_length(values: Sequence[float], within: float = STEADY) -> int:
    """How many values, oldest first, it took until they were steady; all if they never were."""
    lengths = range(len(values))
    return next((n for n in lengths if is_stationary(values[:n], within)), len(values))


def has_levelled(values: Sequence[float]) -> bool:
    """Whether warm-up windows, oldest first, rule out that J/token still moves by more than 1 %.

    The 95 % interval of their slope, from the third window on, is held against the trend's end. Two
    windows that are alike do not say so: a slow warm-up moves by less a window than noise.
    """
    logs = [math.log(value) for value in values[BEFORE_TREND:]]
    if len(logs) < LEAST_OF_TREND:
        return False
    trend = line(range(len(logs)), logs)
    return max(abs(trend.low), abs(trend.high)) * LASTING <= STEADY


def is_warm(celsius: Sequence[float], wanted: float | None = None) -> bool:
    """Whether a device is warm, by its temperatures (°C) at the end of windows, oldest first.

    It is if it is nearly as warm as `wanted`, or has stopped becoming warmer. Windows that are
    alike do not say so: a large cooler warms up for minutes, by less a window than noise.
    """
    if wanted is not None and celsius and celsius[-1] >= wanted - COLDER_CELSIUS:
        return True
    latest = celsius[-STILL_WINDOWS:]
    return len(latest) == STILL_WINDOWS and latest[-1] - latest[0] <= STILL_CELSIUS
