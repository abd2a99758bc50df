"""Whether changes in one direction are steps, or one slow ramp between two levels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from pytest_energy.changes.settle import bounds, clipped

SHORTEST_RAMP = 6
"""Values that a rise takes at least to be called a ramp."""

_BLOCKS = 300
_KNOTS = 24


@dataclass(frozen=True)
class Shift:
    """A change of level: `index` is the first value after it, or the first of a ramp.

    A ramp has reached its level at `end`, the index of its last value; a step has None.
    """

    index: int
    before: float
    after: float
    end: int | None = None


def shifts(values: Sequence[float], changes: Sequence[int]) -> list[Shift]:
    """Each change as a step, and runs of changes in one direction as a ramp if that fits better."""
    edges = bounds(changes, len(values))
    tamed = clipped(values, edges)
    levels = [fmean(tamed[start:end]) for start, end in pairwise(edges)]
    return [
        shift
        for first, last in _runs(levels)
        for shift in _shifts_of_run(tamed, edges, levels, first, last)
    ]


def _shifts_of_run(
    values: Sequence[float],
    edges: Sequence[int],
    levels: Sequence[float],
    first: int,
    last: int,
) -> list[Shift]:
    """A run of changes as one ramp; else its largest as a step, and what is on either side."""
    if first > last:
        return []
    ramp = _ramp(values, edges[first : last + 3])
    if ramp is not None:
        return [ramp]
    largest = max(range(first, last + 1), key=lambda n: abs(levels[n + 1] - levels[n]))
    return [
        *_shifts_of_run(values, edges, levels, first, largest - 1),
        Shift(edges[largest + 1], levels[largest], levels[largest + 1]),
        *_shifts_of_run(values, edges, levels, largest + 1, last),
    ]


def _runs(levels: Sequence[float]) -> Iterator[tuple[int, int]]:
    """First and last number of neighbouring changes that go the same way."""
    ups = [after > before for before, after in pairwise(levels)]
    start = 0
    for number in range(1, len(ups) + 1):
        if number == len(ups) or ups[number] != ups[start]:
            yield start, number - 1
            start = number


def _ramp(values: Sequence[float], edges: Sequence[int]) -> Shift | None:
    """The ramp over these segments, or None where steps fit them better (by Schwarz's BIC)."""
    start, end = edges[0], edges[-1]
    width = -(-(end - start) // _BLOCKS)
    blocks = [fmean(values[i : min(i + width, end)]) for i in range(start, end, width)]
    cuts = [max(1, round((edge - start) / width)) for edge in edges[1:-1]]
    steps = _stepped(blocks, [0, *cuts, len(blocks)])
    squares, first, last, low, high = min(_sloped(blocks, SHORTEST_RAMP // width or 2))
    count = len(blocks)
    if squares <= 0 or steps <= 0:
        return None
    gain = count * math.log(steps / squares)
    if gain <= (4 - (2 * len(cuts) + 1)) * math.log(count):
        return None
    return Shift(start + first * width, low, high, min(start + last * width, end - 1))


def _stepped(values: Sequence[float], edges: Sequence[int]) -> float:
    total = 0.0
    for start, end in pairwise(edges):
        mean = fmean(values[start:end]) if end > start else 0.0
        total += sum((value - mean) ** 2 for value in values[start:end])
    return total


def _sloped(
    values: Sequence[float], shortest: int
) -> Iterator[tuple[float, int, int, float, float]]:
    """Squares about level, ramp and level, for ramps between many pairs of places."""
    count = len(values)
    knots = sorted({round(i * (count - 1) / _KNOTS) for i in range(_KNOTS + 1)})
    flat = fmean(values)
    yield sum((value - flat) ** 2 for value in values), 0, count - 1, flat, flat
    for first in knots:
        for last in knots:
            if last - first >= shortest:
                yield _line(values, first, last)


def _line(values: Sequence[float], first: int, last: int) -> tuple[float, int, int, float, float]:
    """Least squares on u, which is 0 until `first`, 1 from `last` and linear between."""
    length = last - first
    u = [min(max((i - first) / length, 0.0), 1.0) for i in range(len(values))]
    mean_u, mean = fmean(u), fmean(values)
    spread = sum((each - mean_u) ** 2 for each in u)
    slope = sum((a - mean_u) * (b - mean) for a, b in zip(u, values, strict=True)) / spread
    low = mean - slope * mean_u
    squares = sum((b - low - slope * a) ** 2 for a, b in zip(u, values, strict=True))
    return squares, first, last, low, low + slope
