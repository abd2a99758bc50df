"""What the reference load says of a change: whether the device moved as well, or the code alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, stdev

from pytest_energy.history.series import Series
from pytest_energy.results import REFERENCE_LOAD
from pytest_energy.units import percent

AROUND = 20
"""Sessions on either side of a change in which the load's joules are compared."""
FEWEST = 3
"""Sessions with the load on either side, at least."""
CERTAIN = 3.0
"""Standard errors beyond which the load has moved."""


@dataclass(frozen=True)
class LoadChange:
    """By which fraction the load's joules moved, and the standard error of that."""

    change: float
    error: float

    @property
    def has_moved(self) -> bool:
        """Whether it moved by more than by chance."""
        return abs(self.change) > CERTAIN * self.error

    def sentence(self, of: float, device: str) -> str | None:
        """What it says of a figure that changed by `of` (relative), on a `device`, in words.

        None if it cannot tell: its own error is as large as half the figure's change.
        """
        size = f"{percent(abs(self.change))} {'more' if self.change > 0 else 'less'}"
        if self.has_moved and self.change * of > 0:
            whole = abs(self.change) >= abs(of) / 2
            says = f"the {device}, not the code" if whole else f"the {device} has a part in it"
            return f"The reference load takes {size} as well: {says}."
        if CERTAIN * self.error > abs(of) / 2:
            return None
        says = size if self.has_moved else f"as much as before ({size})"
        return f"The reference load takes {says}: not the {device}."


def is_load(series: Series) -> bool:
    """Whether a series is that of the reference load itself."""
    return series.metric == REFERENCE_LOAD


def load_change(
    series: Series, loads: Iterable[Series], since: str, until: str, begin: str, end: str | None
) -> LoadChange | None:
    """How the load moved from sessions in `begin` to before `since`, to those in `until` to `end`.

    Dates are as in points; None if too few sessions on one card have it on both sides.
    """
    for load in loads:
        if load.hardware != series.hardware or load.device != series.device:
            continue
        before = [math.log(one.value) for one in load.points if begin <= one.date < since]
        after = [
            math.log(one.value)
            for one in load.points
            if until <= one.date and (end is None or one.date < end)
        ]
        before, after = before[-AROUND:], after[:AROUND]
        if len(before) >= FEWEST and len(after) >= FEWEST:
            gap = median(after) - median(before)
            return LoadChange(math.expm1(gap), math.hypot(_error(before), _error(after)))
    return None


def _error(values: Sequence[float]) -> float:
    """The standard error of the median."""
    return math.sqrt(math.pi / 2 / len(values)) * stdev(values)
