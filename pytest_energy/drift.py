"""Drift: whether a figure moved over its sessions, when, by how much, since which commit and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pytest_energy.history.series import Point, Series

__all__ = ["ChangePoint", "DriftReport", "Point", "Series", "SeriesDrift", "Stale", "analyse"]

FEWEST_SESSIONS = 20
"""Sessions of a series before anything can be said of it."""

State = Literal["steady", "drift", "returned", "too few"]


@dataclass(frozen=True)
class ChangePoint:
    """A change of level between sessions: `index` is the first point after it.

    `before` and `after` are levels in the series' unit, `change` relative (points of a fraction).
    A `ramp` rose or fell gradually, from `date` to `until`; a `step` has `until` None. `commit` is
    that of the first session after the change, `last_good` that of the last one before it.
    `reason` is the sentence of `explain`, None where power and throughput are not known.
    """

    index: int
    date: str
    before: float
    after: float
    change: float
    kind: Literal["step", "ramp"] = "step"
    until: str | None = None
    commit: str | None = None
    last_good: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Stale:
    """The baseline no longer describes the figure: `level` is the median of the last sessions.

    Both in the series' unit; `change` of the level against the baseline, relative or in points.
    """

    level: float
    baseline: float
    change: float


@dataclass(frozen=True)
class SeriesDrift:
    """What is known of one series; `needed` says how many more sessions are, 0 where enough.

    `state`: `drift` where the level is not the first sessions' any more, or the baseline is stale;
    `returned` where it changed and came back. `level` is the level of the newest sessions.
    """

    series: Series
    state: State
    change_points: tuple[ChangePoint, ...] = ()
    stale: Stale | None = None
    level: float | None = None
    needed: int = 0


@dataclass(frozen=True)
class DriftReport:
    """All series of a history, and what could not be read of it."""

    series: tuple[SeriesDrift, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def drifting(self) -> tuple[SeriesDrift, ...]:
        """The series that drift."""
        return tuple(one for one in self.series if one.state == "drift")

    @property
    def exit_code(self) -> int:
        """0 no drift, 1 drift, 2 can't say: no series has enough sessions."""
        if self.drifting:
            return 1
        return 0 if any(one.state != "too few" for one in self.series) else 2


def analyse(series: Series, *, of: int = 1) -> SeriesDrift:
    """Look for changes in one series; `of` is how many series share the error budget."""
    needed = max(0, FEWEST_SESSIONS - len(series.points))
    return SeriesDrift(series, "too few" if needed else "steady", needed=needed)


def report(series: Iterable[Series], warnings: Iterable[str] = ()) -> DriftReport:
    """Analyse all series; they share one error budget."""
    found = tuple(series)
    results = tuple(analyse(one, of=max(1, len(found))) for one in found)
    return DriftReport(results, tuple(warnings))
