"""Changes of a series, in level and in scatter about the levels and ramps that it went through.

They are found one value after the other, then dated anew by all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, groupby, pairwise
from statistics import fmean, median

from pytest_energy.stats.distributions import least_squares, moments
from pytest_energy.stats.segments import CLIP, LEAST, REFERENCE, Noise, Segment, damping, scale

THRESHOLD = 4.6
"""Of the statistic; one series of 365 values of pure noise passes it in 2 to 6 % of years."""


def threshold(of: int, alone: float = THRESHOLD) -> float:
    """What the statistic must pass if `of` series share the budget of false alarms of one alone."""
    return math.sqrt(alone**2 + 2.0 * math.log(max(1, of)))


def find_changes(values: Sequence[float], of: int = 1, alone: float = THRESHOLD) -> list[int]:
    """Indices at which a new level begins; `values` on the scale on which noise is even.

    All are dated with what came after them; those that it took back are dropped.
    """
    limit = threshold(of, alone)
    changes = list(replay(values, limit))
    while changes:
        changes = _dated(values, changes)
        edges = [0, *changes, len(values)]
        tamed = clipped(values, edges)
        noise = noise_of(tamed, edges)
        parts = [tamed[start:end] for start, end in pairwise(edges)]
        clear = [separation(left, right, noise) for left, right in pairwise(parts)]
        weakest = min(range(len(clear)), key=clear.__getitem__)
        if clear[weakest] > limit:
            break
        del changes[weakest]
    return changes


SAME = 20
"""Values by which a change may be dated anew and still be the one that was reported."""


@dataclass(frozen=True)
class Reported:
    """A change as it was reported first: with value `at`, as of value `index`."""

    index: int
    at: int


def first_reports(
    values: Sequence[float], changes: Sequence[int], of: int = 1
) -> tuple[dict[int, Reported], list[Reported]]:
    """How each of the `changes` was reported first, by its index, and reports of what is none.

    Nothing is remembered: the looks at which something was found are made again. A change that
    none of them told has no report here.
    """
    first: dict[int, Reported] = {}
    taken_back: list[Reported] = []
    for _, at in alarms(values, threshold(of)):
        for index in find_changes(values[: at + 1], of):
            now = min(changes, key=lambda change: abs(change - index), default=None)
            if now is not None and abs(now - index) <= SAME:
                first.setdefault(now, Reported(index, at))
            elif all(abs(other.index - index) > SAME for other in taken_back):
                taken_back.append(Reported(index, at))
    return first, taken_back


def _dated(values: Sequence[float], changes: list[int]) -> list[int]:
    """Each change where the two levels around it fit best, between its neighbours."""
    dated = list(changes)
    for index in range(len(dated)):
        edges = [0, *dated, len(values)]
        start, middle, end = edges[index : index + 3]
        dated[index] = start + _best_split(_reined(values[start:end], middle - start))
    return dated


def _reined(values: Sequence[float], cut: int) -> list[float]:
    """`values` pulled in to what lies between two levels, and four SD beyond."""
    levels = sorted((median(values[:cut]), median(values[cut:])))
    reach = CLIP * min(scale(values[:cut]), scale(values[cut:]))
    return [min(max(value, levels[0] - reach), levels[1] + reach) for value in values]


def _best_split(values: Sequence[float]) -> int:
    sums, count = list(accumulate(values)), len(values)

    def gain(cut: int) -> float:
        gap = sums[cut - 1] / cut - (sums[-1] - sums[cut - 1]) / (count - cut)
        return gap * gap * cut * (count - cut)

    return max(range(LEAST, count - LEAST + 1), key=gain)


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


SHORTEST_RAMP = 6
"""Values that a rise takes at least to be called a ramp."""

STEPS_BETTER = 1.1
"""By which factor the squares about a ramp must exceed those about steps, for each step more."""

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
    edges = [0, *changes, len(values)]
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
    start = 0
    for _, run in groupby(after > before for before, after in pairwise(levels)):
        count = len(list(run))
        yield start, start + count - 1
        start += count


def _ramp(values: Sequence[float], edges: Sequence[int]) -> Shift | None:
    """The ramp over these segments, or None if steps fit them better (by Schwarz's BIC).

    Several steps must fit better by `STEPS_BETTER` each: a series that creeps is told once.
    """
    start, end = edges[0], edges[-1]
    width = -(-(end - start) // _BLOCKS)
    blocks = [fmean(values[i : min(i + width, end)]) for i in range(start, end, width)]
    cuts = [round((edge - start) / width) for edge in edges[1:-1]]
    count = len(blocks)
    parts = [blocks[first:last] for first, last in pairwise([0, *cuts, count])]
    steps = sum(moments(part)[1] for part in parts if part)
    best = min(_sloped(blocks), default=None)
    if best is None or min(best[0], steps) <= 0:
        return None
    squares, first, last, low, high = best
    gain = count * math.log(steps * STEPS_BETTER ** (len(cuts) - 1) / squares)
    if gain <= (4 - (2 * len(cuts) + 1)) * math.log(count):
        return None
    return Shift(start + first * width, low, high, start + last * width)


def _sloped(values: Sequence[float]) -> Iterator[tuple[float, int, int, float, float]]:
    """Squares about level, ramp and level, for ramps between many pairs of places."""
    count = len(values)
    knots = sorted({round(i * (count - 1) / _KNOTS) for i in range(_KNOTS + 1)})
    for first, last in combinations(knots, 2):
        if last - first >= SHORTEST_RAMP:
            yield _line(values, first, last)


def _line(values: Sequence[float], first: int, last: int) -> tuple[float, int, int, float, float]:
    """Least squares on u, which is 0 until `first`, 1 from `last` and linear between."""
    length = last - first
    u = [min(max((i - first) / length, 0.0), 1.0) for i in range(len(values))]
    rise, low = least_squares(u, values)
    squares = sum((value - low - rise * u[i]) ** 2 for i, value in enumerate(values))
    return squares, first, last, low, low + rise


def replay(values: Iterable[float], limit: float) -> Iterator[int]:
    """Changes as they are found, one value after the other, before later ones date them anew."""
    return (start for start, _ in alarms(values, limit))


def alarms(values: Iterable[float], limit: float) -> Iterator[tuple[int, int]]:
    """The same, each with the index of the value that told it."""
    start, segment = 0, Segment(Noise(0.0))
    for at, value in enumerate(values):
        segment.add(value)
        cut = segment.split(limit)
        if cut is not None:
            start += cut
            yield start, at
            segment = segment.after(cut)


RESTLESS = 1.5
"""Times the scatter before from which on a series is restless."""

SCATTER_THRESHOLD = 5.0
"""Of the statistic on `evened` values: pure noise of 365 values passes it in 1 % of years."""


@dataclass(frozen=True)
class Scatter:
    """A change of scatter: `index` is the first value after it; SDs before and after."""

    index: int
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """How many times as much the values scatter; infinite if they did not before."""
        return self.after / self.before if self.before else math.inf


def restless_since(values: Sequence[float], found: Sequence[Shift], of: int = 1) -> Scatter | None:
    """The last change of scatter, if the values scatter more since; None if they do not.

    `found` are the changes of level; `of` series share one budget of false alarms.
    """
    rest = [value - level for value, level in zip(values, fitted(values, found), strict=True)]
    changes = find_changes(evened(rest), of, SCATTER_THRESHOLD)
    if not changes:
        return None
    start = changes[-2] if len(changes) > 1 else 0
    told = Scatter(changes[-1], scale(rest[start : changes[-1]]), scale(rest[changes[-1] :]))
    return told if told.ratio >= RESTLESS else None


def evened(rest: Sequence[float]) -> list[float]:
    """The size of what is left about the levels, on a scale on which it is nearly normal.

    That of the power 2/3 (Wilson and Hilferty, 1931).
    """
    return [abs(each) ** (2 / 3) for each in rest]


def fitted(values: Sequence[float], found: Sequence[Shift]) -> list[float]:
    """The level of each value: even between changes, straight along a ramp."""
    if not found:
        return [fmean(values)] * len(values)
    levels: list[float] = []
    for shift in found:
        levels += [shift.before] * (shift.index - len(levels))
        if shift.end is not None:
            length = shift.end - shift.index
            rise = shift.after - shift.before
            levels += [shift.before + rise * step / length for step in range(length)]
    return levels + [found[-1].after] * (len(values) - len(levels))
