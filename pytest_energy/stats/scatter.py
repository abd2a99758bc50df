"""Whether a series scatters more than it did, about the levels and ramps that it went through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_energy.stats.change_points import Shift, find_changes
from pytest_energy.stats.segments import scale

RESTLESS = 1.5
"""Times the scatter before from which on a series is restless."""

THRESHOLD = 5.0
"""Of the statistic; one series of 365 values of pure noise passes it in 1 % of years."""


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
    changes = find_changes(evened(rest), of, THRESHOLD)
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
