"""What a history says of one figure over time: the few numbers that drift needs of each session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    """One figure of one hardware, oldest session first.

    `unit` is as in `VerdictRecord`; `fraction` (savings) changes in points, all else relatively.
    `baseline` and `tolerance` are the accepted ones, None where none is known, and `since` the date
    of the baseline's first session, from which `points` begin where it is known. `method` is the
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

    @property
    def device(self) -> str | None:
        """The card of the newest session."""
        return self.points[-1].device if self.points else None
