"""Levels along a line of places, measured at some of them: where they step, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

PENALTY = 9.0
"""What one more step must take off the sum of squares: three standard errors, squared."""


@dataclass(frozen=True)
class Level:
    """What was measured at one `place`; `variance` is that of `value`."""

    place: int
    value: float
    variance: float


@dataclass(frozen=True)
class Step:
    """A step between two neighbouring measured places; `low` and `high` are its sides' levels."""

    before: int
    after: int
    lower: Level
    upper: Level

    @property
    def low(self) -> float:
        """The level before it."""
        return self.lower.value

    @property
    def high(self) -> float:
        """The level after it."""
        return self.upper.value

    @property
    def height(self) -> float:
        """How far the level rises, negative if it falls."""
        return self.high - self.low

    @property
    def gap(self) -> tuple[int, int]:
        """The two places."""
        return self.before, self.after


def joined(levels: Sequence[Level]) -> list[Level]:
    """One level a place, in order; several of one place are averaged by their weights."""
    places: dict[int, list[Level]] = {}
    for level in levels:
        places.setdefault(level.place, []).append(level)
    return [_mean(place, own) for place, own in sorted(places.items())]


def fit_steps(
    levels: Sequence[Level],
    costs: Mapping[tuple[int, int], float] | None = None,
    penalty: float = PENALTY,
) -> list[Step]:
    """The steps of the piecewise constant fit that least squares and a penalty a step choose.

    Found by dynamic programming over all fits. `costs` are of steps in single gaps, in place of
    the `penalty`: 0 if one is certain. Needs at least one level.
    """
    points, known = joined(levels), costs or {}
    # prices[n]: of the step before point n; the first level is none.
    prices = [0.0, *(known.get((a.place, b.place), penalty) for a, b in pairwise(points))]
    # best[n]: the least cost of the first n points, and where their last level begins.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(points) + 1):
        best.append(
            min(
                (best[start][0] + prices[start] + squares, start)
                for start, squares in _last_levels(points, end)
            )
        )
    starts, end = list[int](), len(points)
    while end > 0:
        end = best[end][1]
        starts.append(end)
    bounds = [*reversed(starts), len(points)]
    parts = [points[a:b] for a, b in pairwise(bounds)]
    return [
        Step(before, after, _mean(before, old), _mean(after, new))
        for old, new in pairwise(parts)
        for before, after in [(old[-1].place, new[0].place)]
    ]


def _last_levels(points: Sequence[Level], end: int) -> list[tuple[int, float]]:
    """(start, squares about the mean) of each level that ends before point `end`."""
    found, weight, mean, squares = list[tuple[int, float]](), 0.0, 0.0, 0.0
    for start in range(end - 1, -1, -1):
        own = 1 / points[start].variance
        weight += own
        away = points[start].value - mean
        mean += own / weight * away
        squares += own * away * (points[start].value - mean)
        found.append((start, squares))
    return found


def _mean(place: int, levels: Sequence[Level]) -> Level:
    weight = sum(1 / level.variance for level in levels)
    value = sum(level.value / level.variance for level in levels) / weight
    return Level(place, value, 1 / weight)
