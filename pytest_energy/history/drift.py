"""Which series of a history moved, when and by how much, and what differed on both sides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Literal

from pytest_energy.gate.explanation import device_word
from pytest_energy.history.reasons import is_load, load_change, reason
from pytest_energy.history.series import Point, Series, read_series
from pytest_energy.stats.change_points import (
    Reported,
    Shift,
    clipped,
    find_changes,
    first_reports,
    noise_of,
    restless_since,
    separation,
    shifts,
    threshold,
)
from pytest_energy.stats.segments import REFERENCE, Noise
from pytest_energy.units import FRACTION

FEWEST_SESSIONS = REFERENCE
"""Sessions of a series before anything can be said of it."""

NEWEST = 5
"""Sessions whose median is held against the baseline."""

_STALE_THRESHOLD = 3.9

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


def drift_of(
    url: str,
    baselines: Path,
    *,
    hardware: str | None = None,
    since: str | None = None,
    branch: str | None = None,
) -> DriftReport:
    """What a history says over time, narrowed as by `read_series`; `baselines` may not exist."""
    warnings: list[str] = []
    found = read_series(
        url,
        baselines=baselines,
        hardware=hardware,
        since=since,
        branch=branch,
        warn=warnings.append,
    )
    return report(list(found), warnings)


def analyse(series: Series, *, of: int = 1) -> SeriesDrift:
    """Look for changes in one series; `of` is how many series share the error budget."""
    points = series.points
    if len(points) < FEWEST_SESSIONS:
        return SeriesDrift(series, "too few", needed=FEWEST_SESSIONS - len(points))
    scale = _Scale(series.unit)
    values = [scale.even(point.value) for point in points]
    changes = find_changes(values, of)
    edges = [0, *changes, len(values)]
    tamed = clipped(values, edges)
    found = shifts(values, changes)
    noise = noise_of(tamed, edges)
    level = found[-1].after if found else fmean(tamed)
    stale = _stale(series, scale, values, noise, of)
    first, last = tamed[: edges[1]], tamed[edges[-2] :]
    moved = bool(found) and separation(first, last, noise) > threshold(of)
    restless = _restless(points, values, found, of)
    first_told, taken_back = first_reports(values, changes, of)
    state: State = "returned" if found else "steady"
    if moved or stale:
        state = "acknowledged" if _is_acknowledged(series, scale, values) else "drift"
    elif restless:
        state = "restless"
    return SeriesDrift(
        series=series,
        state=state,
        change_points=tuple(
            _as_reported(_change_point(series, scale, shift, edges), shift, points, first_told)
            for shift in found
        ),
        stale=stale,
        level=scale.back(level),
        restless=restless,
        taken_back=tuple(
            TakenBack(points[told.at].date, points[told.index].date) for told in taken_back
        ),
    )


def report(series: Iterable[Series], warnings: Iterable[str] = ()) -> DriftReport:
    """Analyse all series, which share one budget of false alarms between them."""
    found = tuple(series)
    told = sum(len(one.points) >= FEWEST_SESSIONS for one in found)
    loads = [one for one in found if is_load(one)]
    analysed = (analyse(one, of=max(1, told)) for one in found)
    return DriftReport(tuple(_with_load(one, loads) for one in analysed), tuple(warnings))


def _with_load(one: SeriesDrift, loads: Sequence[Series]) -> SeriesDrift:
    """The changes of a figure in joules, with what the reference load says of each."""
    series, changes = one.series, one.change_points
    if is_load(series) or series.unit == FRACTION or not loads or not changes:
        return one
    device = device_word(series.hardware)
    begins = ["", *(change.until or change.date for change in changes)]
    ends = [*(change.date for change in changes[1:]), None]
    told = []
    for change, begin, end in zip(changes, begins, ends, strict=False):
        until = change.until or change.date
        load = load_change(series, loads, change.date, until, begin, end)
        sentence = load.sentence(change.change, device) if load else None
        reason = " ".join(filter(None, [change.reason, sentence]))
        told.append(replace(change, reason=reason or None))
    return replace(one, change_points=tuple(told))


@dataclass(frozen=True)
class _Scale:
    """The scale on which noise is even: logarithms, of a saved fraction those of what is left."""

    unit: str

    def even(self, value: float) -> float:
        return math.log1p(-value) if self.unit == FRACTION else math.log(value)

    def back(self, level: float) -> float:
        return -math.expm1(level) if self.unit == FRACTION else math.exp(level)

    def change(self, before: float, after: float) -> float:
        """Relative, or in points of a fraction; both levels on the even scale."""
        if self.unit == FRACTION:
            return self.back(after) - self.back(before)
        return math.expm1(after - before)


def _change_point(series: Series, scale: _Scale, shift: Shift, edges: Sequence[int]) -> ChangePoint:
    points = series.points
    start = max(edge for edge in edges if edge < max(shift.index, 1))
    last = shift.index if shift.end is None else shift.end
    stop = min(edge for edge in edges if edge > last)
    before = points[start : shift.index] or points[:1]
    return ChangePoint(
        index=shift.index,
        date=points[shift.index].date,
        before=scale.back(shift.before),
        after=scale.back(shift.after),
        change=scale.change(shift.before, shift.after),
        kind="step" if shift.end is None else "ramp",
        until=None if shift.end is None else points[shift.end].date,
        commit=points[shift.index].commit,
        last_good=before[-1].commit,
        reason=reason(series.metric, before, points[last:stop]),
    )


def _as_reported(
    change: ChangePoint, shift: Shift, points: Sequence[Point], first: Mapping[int, Reported]
) -> ChangePoint:
    """The change with when it was first told; of a ramp, the first that was told of it."""
    end = shift.index if shift.end is None else shift.end
    told = [report for index, report in first.items() if shift.index <= index <= end]
    if not told:
        return change
    earliest = min(told, key=lambda report: report.at)
    return replace(
        change, reported=points[earliest.at].date, reported_as=points[earliest.index].date
    )


def _restless(
    points: Sequence[Point], values: Sequence[float], found: Sequence[Shift], of: int
) -> Restless | None:
    told = restless_since(values, found, of)
    if told is None:
        return None
    return Restless(points[told.index].date, told.before, told.after, told.ratio)


def _is_acknowledged(series: Series, scale: _Scale, values: Sequence[float]) -> bool:
    """Whether the newest sessions are worse than the baseline by no more than is acknowledged."""
    if series.acknowledged is None or series.baseline is None:
        return False
    change = scale.change(scale.even(series.baseline), median(values[-NEWEST:]))
    return 0 <= (-change if series.unit == FRACTION else change) <= series.acknowledged.up_to


def _stale(
    series: Series, scale: _Scale, values: Sequence[float], noise: Noise, of: int
) -> Stale | None:
    baseline, tolerance = series.baseline, series.tolerance
    if baseline is None or tolerance is None:
        return None
    level, accepted = median(values[-NEWEST:]), scale.even(baseline)
    change = scale.change(accepted, level)
    # The variance of a median of n values is that of their mean times about pi / 2.
    variance = math.pi / 2 / NEWEST + 1.0 / max(1, series.baseline_sessions)
    limit = math.sqrt(_STALE_THRESHOLD**2 + 2.0 * math.log(of))
    told = abs(level - accepted) > limit * noise.sd * math.sqrt(variance)
    if abs(change) < tolerance / 2 or not told:
        return None
    return Stale(scale.back(level), baseline, change)
