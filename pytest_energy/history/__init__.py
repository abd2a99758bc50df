"""History: one immutable record a session, read back as series, and what drift finds in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pytest_energy.baselines.tables import Acknowledgement


@dataclass(frozen=True, slots=True)
class Point:
    """One session of a series: `value` in the series' unit, the mean of its windows.

    `date` is UTC in ISO form; `device` the cards' UUIDs; `environment` what the session ran on,
    shared between points that ran on the same.
    """

    date: str
    value: float
    commit: str | None = None
    device: str | None = None
    mean_watts: float | None = None
    tokens_per_second: float | None = None
    padding_overhead: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """One figure of one hardware, oldest session first; there is one at least.

    `unit` is as in `VerdictRecord`; `fraction` (savings) changes in points, all else relatively.
    `baseline` and `tolerance` are the accepted ones, None if none is known, and `since` the date
    of the baseline's first session, from which `points` begin if it is known. `method` is the
    meter's.
    """

    hardware: str
    metric: str
    id: str
    unit: str
    points: tuple[Point, ...]
    workload: str | None = None
    baseline: float | None = None
    baseline_sessions: int = 5
    tolerance: float | None = None
    method: str = ""
    since: str | None = None
    acknowledged: Acknowledgement | None = None
    """What the baseline file acknowledges of the figure today."""

    @property
    def device(self) -> str | None:
        """The card of the newest session."""
        return self.points[-1].device


State = Literal["drift", "acknowledged", "restless", "returned", "steady", "too few"]


@dataclass(frozen=True)
class ChangePoint:
    """A change of level between sessions: `index` is the first point after it.

    `before` and `after` are levels in the series' unit, `change` relative (points of a fraction).
    A `ramp` rose or fell gradually, from `date` to `until`; a `step` has `until` None. `commit` is
    that of the first session after the change, `last_good` that of the last one before it.
    `reason` is the sentence of `explain`, None if power and throughput are not known. `reported`
    is the date of the session that first told the change, and `reported_as` what it was dated
    then; None if that is not known.
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
    reported: str | None = None
    reported_as: str | None = None

    @property
    def has_moved(self) -> bool:
        """Whether it was dated otherwise when it was first reported."""
        return self.reported_as not in (None, self.date)


@dataclass(frozen=True)
class TakenBack:
    """A change that was reported with the session of `reported`, as of `date`, and is none."""

    reported: str
    date: str


@dataclass(frozen=True)
class Restless:
    """Sessions from `date` on scatter `ratio` times as much as those before; SDs are relative.

    Those of a fraction are of what is left of it.
    """

    date: str
    before: float
    after: float
    ratio: float


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
    """What is known of one series; `needed` says how many more sessions are, 0 if enough.

    `level` is the level of the newest sessions. `state` is

    - `drift` if the level is not the first sessions' any more, or the baseline is stale;
    - `acknowledged` if that is so by no more than the baseline file acknowledges today;
    - `restless` if the level is still the first sessions', and they scatter more than they did;
    - `returned` if it changed and came back.
    """

    series: Series
    state: State
    change_points: tuple[ChangePoint, ...] = ()
    stale: Stale | None = None
    level: float | None = None
    needed: int = 0
    restless: Restless | None = None
    taken_back: tuple[TakenBack, ...] = ()


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
    def restless(self) -> tuple[SeriesDrift, ...]:
        """The series that scatter more than they did, and drift no further."""
        return tuple(one for one in self.series if one.state == "restless")

    @property
    def exit_code(self) -> int:
        """0 no drift, 1 drift or restlessness, 2 can't say: no series has enough sessions."""
        if self.drifting or self.restless:
            return 1
        return 0 if any(one.state != "too few" for one in self.series) else 2
