"""Examples that a data set has and that cannot be trained on: left out and counted, a few of them.

Published data sets have some. Where many are wrong, the file is not what it should be.
"""

from __future__ import annotations

from collections import Counter

from pytest_energy.errors import DataError

MOST_SKIPPED = 0.1
"""Share of a data set's examples that may be left out."""


class Skipped:
    """What readers left out of one data set, counted by reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: DataError | None = None

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, reason: str, error: DataError) -> None:
        """Leave out one example for a `reason`, such as "gold label `-`"; `error` names it."""
        self._counts[reason] += 1
        self._first = self._first or error

    def check(self, kept: int) -> None:
        """Raise the error of the first that was left out, if too many were beside those `kept`."""
        count = self._counts.total()
        if self._first is not None and count > MOST_SKIPPED * (count + kept):
            raise DataError(f"{self._first} ({count:,} of {count + kept:,} are like that)")

    def __str__(self) -> str:
        """How many, and why, such as "185 skipped: gold label `-`"; empty if there are none."""
        if not self._counts:
            return ""
        reasons = [
            reason if len(self._counts) == 1 else f"{reason} ({count:,})"
            for reason, count in self._counts.items()
        ]
        return f"{self._counts.total():,} skipped: {', '.join(reasons)}"
