"""A stretch of a series whose level may have changed once: the test statistic of every split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median, stdev

REFERENCE = 20
"""Values that say where a series lies and how much it scatters, before anything is called."""

LEAST = 3
"""Values on either side of a change, at least."""

CLIP = 4.0
"""SD beyond which a value counts as that far, so that no outlier makes a change."""

_GROWTH = 1.25
_ENOUGH = 5
_LARGEST_AUTOCORRELATION = 0.9
_NOTHING = 1e-18


@dataclass(frozen=True)
class Noise:
    """What scatter is known: SD of a value, lag-1 autocorrelation, and how many values say so."""

    sd: float
    autocorrelation: float = 0.0
    weight: float = 0.0


class Segment:
    """Running sums of a segment's clipped values, for the statistic of any split in O(1)."""

    def __init__(self, noise: Noise) -> None:
        self._known = noise
        self._raw: list[float] = []
        self._z: list[float] = []

    def add(self, value: float) -> None:
        """Take in the next value."""
        self._raw.append(value)
        count = len(self._raw)
        if count > REFERENCE:
            self._append(value)
        elif count == REFERENCE or self._known.weight:
            own = scale(self._raw) if count == REFERENCE else 0.0
            self._begin(median(self._raw), own or self._known.sd or 1.0)
            for each in self._raw:
                self._append(each)

    def split(self, limit: float) -> int | None:
        """Where the segment falls in two, None if it does not; a coarse look at first."""
        count = len(self._z)
        if not any(self._statistic(count - m, limit) > limit for m in _lengths(count)):
            return None
        return max(range(LEAST, count - LEAST + 1), key=self._statistic)

    def _noise(self, cut: int) -> Noise:
        """The scatter about both sides' means."""
        count, first = len(self._z), self._sums[cut]
        second = self._sums[-1] - first
        squares = self._squares[-1] - first * first / cut - second * second / (count - cut)
        if squares <= 0:
            return Noise(0.0, weight=REFERENCE)
        lag = self._products_about(cut) / squares
        return Noise(math.sqrt(squares / (count - 2)) * self._unit, lag, REFERENCE)

    def after(self, cut: int) -> Segment:
        """The segment that begins at a change, which inherits what scatter is known."""
        following = Segment(self._noise(cut))
        for value in self._raw[cut:]:
            following.add(value)
        return following

    def _begin(self, centre: float, unit: float) -> None:
        """Forget the sums: values are taken about a centre, in a unit."""
        self._centre, self._unit = centre, unit
        self._z = []
        self._sums, self._squares, self._products = [0.0], [0.0], [0.0]

    def _append(self, value: float) -> None:
        z = min(max((value - self._centre) / self._unit, -CLIP), CLIP)
        self._products.append(self._products[-1] + (z * self._z[-1] if self._z else 0.0))
        self._z.append(z)
        self._sums.append(self._sums[-1] + z)
        self._squares.append(self._squares[-1] + z * z)

    def _statistic(self, cut: int, limit: float = 0.0) -> float:
        """The difference of both sides' means in units of its own scatter; 0 if below `limit`."""
        count, first = len(self._z), self._sums[cut]
        second = self._sums[-1] - first
        left, right = first / cut, second / (count - cut)
        squares = max(self._squares[-1] - left * first - right * second, 0.0)
        # What was known of a stretch before fades as this one tells of itself.
        weight = self._known.weight * min(1.0, REFERENCE / count)
        prior = weight * (self._known.sd / self._unit) ** 2
        variance = (squares + prior) / (count - 2 + weight)
        gap = abs(left - right)
        if variance <= _NOTHING:
            return math.inf if gap > math.sqrt(_NOTHING) else 0.0
        ratio = gap * math.sqrt(cut * (count - cut) / count / variance)
        if ratio <= limit:  # autocorrelation can only make it less
            return 0.0
        if not self._agreed(cut, left, right, math.sqrt(variance)):
            return 0.0
        products = self._products_about(cut) + self._known.autocorrelation * prior
        return ratio * damping(products / (squares + prior) + 1.0 / (count + weight))

    def _agreed(self, cut: int, left: float, right: float, sd: float) -> bool:
        """Whether no short side owes its level to one or two outliers: three values must agree."""
        count = len(self._z)
        sides = ((cut, count, left, right), (0, cut, right, left))
        for start, end, other, own in sides:
            if end - start < _ENOUGH:
                values = self._z[start:end]
                sign = 1.0 if own > other else -1.0
                if sum(sign * (value - other) > sd for value in values) < LEAST:
                    return False
        return True

    def _products_about(self, cut: int) -> float:
        """The sum of neighbours' products about the means of both sides."""
        count, z, sums = len(self._z), self._z, self._sums
        first, second = sums[cut], sums[-1] - sums[cut]
        left, right = first / cut, second / (count - cut)
        products = self._products[cut] - left * (2 * first - z[0] - z[cut - 1])
        products += (cut - 1) * left * left
        products += self._products[-1] - self._products[cut + 1]
        products -= right * (2 * second - z[cut] - z[-1])
        return products + (count - cut - 1) * right * right


@lru_cache(maxsize=4096)
def _lengths(count: int) -> tuple[int, ...]:
    """Lengths of what came after a change, each a quarter longer than the one before."""
    lengths = []
    length = LEAST
    while length <= count - LEAST:
        lengths.append(length)
        length = max(length + 1, int(length * _GROWTH))
    return tuple(lengths)


def scale(values: Sequence[float]) -> float:
    """The scatter of values with few outliers among them, and 0 of fewer than two."""
    if len(values) < 2:
        return 0.0
    centre = median(values)
    return max(1.4826 * median(abs(v - centre) for v in values), 0.5 * stdev(values))


def damping(lag: float) -> float:
    """By how much less a mean of autocorrelated values tells."""
    lag = min(max(lag, 0.0), _LARGEST_AUTOCORRELATION)
    return math.sqrt((1.0 - lag) / (1.0 + lag))
