"""Changes dated anew with all that came after them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from pytest_energy.changes.segment import CLIP, LEAST, REFERENCE, Noise, damping, scale


def settled(values: Sequence[float], changes: list[int], limit: float) -> list[int]:
    """Changes dated anew with what came after them; those that it took back are dropped."""
    while changes:
        changes = _dated(values, changes)
        edges = bounds(changes, len(values))
        tamed = clipped(values, edges)
        noise = noise_of(tamed, edges)
        parts = [tamed[start:end] for start, end in pairwise(edges)]
        clear = [separation(left, right, noise) for left, right in pairwise(parts)]
        weakest = min(range(len(clear)), key=clear.__getitem__)
        if clear[weakest] > limit:
            break
        del changes[weakest]
    return changes


def _dated(values: Sequence[float], changes: list[int]) -> list[int]:
    """Each change where the two levels around it fit best, between its neighbours."""
    dated = list(changes)
    for index in range(len(dated)):
        edges = bounds(dated, len(values))
        start, middle, end = edges[index : index + 3]
        dated[index] = start + _best_split(_reined(values[start:end], middle - start))
    return dated


def _reined(values: Sequence[float], cut: int) -> list[float]:
    """`values` pulled in to what lies between two levels, and four SD beyond."""
    levels = sorted((median(values[:cut]), median(values[cut:])))
    reach = CLIP * min(scale(part) for part in (values[:cut], values[cut:]) if len(part) > 1)
    return [min(max(value, levels[0] - reach), levels[1] + reach) for value in values]


def _best_split(values: Sequence[float]) -> int:
    total, count = sum(values), len(values)
    best, chosen, running = -1.0, LEAST, sum(values[: LEAST - 1])
    for cut in range(LEAST, count - LEAST + 1):
        running += values[cut - 1]
        gap = running / cut - (total - running) / (count - cut)
        gain = gap * gap * cut * (count - cut)
        if gain > best:
            best, chosen = gain, cut
    return chosen


def bounds(changes: Sequence[int], count: int) -> list[int]:
    """The edges of the segments that changes leave."""
    return [0, *changes, count]


def clipped(values: Sequence[float], edges: Sequence[int]) -> list[float]:
    """`values` with what lies far outside its own segment pulled in to four SD of it."""
    tamed: list[float] = []
    spread = scale(values[: min(REFERENCE, edges[1])])
    for start, end in pairwise(edges):
        part = values[start:end]
        centre = median(part)
        spread = scale(part) if len(part) >= REFERENCE else spread
        reach = CLIP * spread
        tamed += [min(max(value, centre - reach), centre + reach) for value in part]
    return tamed


def noise_of(values: Sequence[float], edges: Sequence[int]) -> Noise:
    """Scatter about the segments' means; `values` already clipped."""
    squares = products = 0.0
    for start, end in pairwise(edges):
        mean = fmean(values[start:end])
        rest = [value - mean for value in values[start:end]]
        squares += sum(value * value for value in rest)
        products += sum(a * b for a, b in pairwise(rest))
    freedom = len(values) - len(edges) + 1
    if freedom < 1 or squares <= 0:
        return Noise(0.0)
    lag = products / squares + 1.0 / len(values)
    return Noise(math.sqrt(squares / freedom), lag, freedom)


def separation(left: Sequence[float], right: Sequence[float], noise: Noise) -> float:
    """The statistic of two adjacent, already clipped segments."""
    count = len(left) + len(right)
    gap = abs(fmean(left) - fmean(right)) * math.sqrt(len(left) * len(right) / count)
    if not noise.sd:
        return math.inf if gap > 0 else 0.0
    return gap / noise.sd * damping(noise.autocorrelation)
