"""What the reference load says of a change: whether the device moved as well, or the code alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, stdev

from pytest_energy.stats.distributions import f_quantile
from pytest_energy.units import percent

FEWEST = 3
"""Sessions, or days of a baseline, with the load that it takes at least."""
CERTAIN = 3.0
"""Standard errors beyond which the load has moved."""

_WITHIN = 0.9973  # how often a normal value is within so many of them


@dataclass(frozen=True)
class LoadChange:
    """By which fraction the load's joules moved, and the standard error of that."""

    change: float
    error: float

    @classmethod
    def between(cls, before: Sequence[float], after: Sequence[float]) -> LoadChange | None:
        """From the joules of sessions to those of later ones; None if they are too few."""
        if min(len(before), len(after)) < FEWEST:
            return None
        gap, errors = _medians(before, after)
        return cls(math.expm1(gap), math.hypot(*errors))

    @classmethod
    def of_session(cls, days: Sequence[float], joules: float) -> LoadChange | None:
        """From the joules of a baseline's days to those of one session; None if they are few.

        The session varies as they do. The error of so few is wider, as Student's t has it.
        """
        if len(days) < FEWEST:
            return None
        spread = stdev(map(math.log, days))
        gap, (error, _) = _medians(days, [joules] * 2)
        wider = math.sqrt(f_quantile(_WITHIN, 1, len(days) - 1)) / CERTAIN
        return cls(math.expm1(gap), wider * math.hypot(spread, error))

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


def device_word(hardware: str) -> str:
    """What a device is called in sentences, by its hardware's key."""
    return "machine" if hardware == "cpu" else "card"


def _medians(before: Sequence[float], after: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """How far the medians of logarithms lie apart, and the standard error of each."""
    logs = [[math.log(joules) for joules in side] for side in (before, after)]
    old, new = (math.sqrt(math.pi / 2 / len(side)) * stdev(side) for side in logs)
    return median(logs[1]) - median(logs[0]), (old, new)
