"""Which series of a history moved, when and by how much, and what differed on both sides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

from pytest_energy.gate.explanation import LoadChange, Operating, device_word, explain
from pytest_energy.history import (
    ChangePoint,
    DriftReport,
    Point,
    Restless,
    Series,
    SeriesDrift,
    Stale,
    State,
    TakenBack,
)
from pytest_energy.history.series import read_series
from pytest_energy.results import REFERENCE_LOAD
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

AROUND = 20
"""Sessions on either side of a change that are compared: their power, throughput, and load."""

NEAR = 3
"""Sessions by which a change may be dated wrongly; a difference so near still counts."""

_STALE_THRESHOLD = 3.9
_ANY = Operating(1.0, 1.0)
_AFTER_ALL = "~"
"""Sorts after every date."""


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
    scatter = restless_since(values, found, of)
    first_told, taken_back = first_reports(values, changes, of)
    state: State = "returned" if found else "steady"
    if moved or stale:
        state = "acknowledged" if _is_acknowledged(series, scale, values) else "drift"
    elif scatter:
        state = "restless"
    return SeriesDrift(
        series=series,
        state=state,
        change_points=tuple(
            _change_point(series, scale, shift, edges, first_told) for shift in found
        ),
        stale=stale,
        level=scale.back(level),
        restless=Restless(points[scatter.index].date, scatter.before, scatter.after, scatter.ratio)
        if scatter
        else None,
        taken_back=tuple(
            TakenBack(points[told.at].date, points[told.index].date) for told in taken_back
        ),
    )


def report(series: Iterable[Series], warnings: Iterable[str] = ()) -> DriftReport:
    """Analyse all series, which share one budget of false alarms between them."""
    found = tuple(series)
    told = sum(len(one.points) >= FEWEST_SESSIONS for one in found)
    loads = [one for one in found if one.metric == REFERENCE_LOAD]
    analysed = (analyse(one, of=max(1, told)) for one in found)
    return DriftReport(tuple(_with_load(one, loads) for one in analysed), tuple(warnings))


def _with_load(one: SeriesDrift, loads: Sequence[Series]) -> SeriesDrift:
    """The changes of a figure in joules, with what the reference load says of each."""
    series, changes = one.series, one.change_points
    if series.metric == REFERENCE_LOAD or series.unit == FRACTION:
        return one
    place = (series.hardware, series.device)
    beside = [load for load in loads if (load.hardware, load.device) == place]
    begins = ["", *(change.until or change.date for change in changes)]
    ends = [*(change.date for change in changes[1:]), _AFTER_ALL]
    told = []
    for change, begin, end in zip(changes, begins, ends, strict=False):
        load = _load_change(beside, change, begin, end)
        sentence = load.sentence(change.change, device_word(series.hardware)) if load else None
        reason = " ".join(filter(None, [change.reason, sentence]))
        told.append(replace(change, reason=reason or None))
    return replace(one, change_points=tuple(told))


def _load_change(
    loads: Iterable[Series], change: ChangePoint, begin: str, end: str
) -> LoadChange | None:
    """How the load moved at a change, by its sessions from `begin` to before `end`."""
    for load in loads:
        before = [one.value for one in load.points if begin <= one.date < change.date]
        since = change.until or change.date
        after = [one.value for one in load.points if since <= one.date < end]
        if found := LoadChange.between(before[-AROUND:], after[:AROUND]):
            return found
    return None


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


def _change_point(
    series: Series,
    scale: _Scale,
    shift: Shift,
    edges: Sequence[int],
    first_told: Mapping[int, Reported],
) -> ChangePoint:
    points = series.points
    start = max(edge for edge in edges if edge < max(shift.index, 1))
    last = shift.index if shift.end is None else shift.end
    stop = min(edge for edge in edges if edge > last)
    before = points[start : shift.index] or points[:1]
    # Of a ramp, the first that was told of it.
    told = [report for index, report in first_told.items() if shift.index <= index <= last]
    first = min(told, key=lambda report: report.at, default=None)
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
        reason=_reason(series.metric, before, points[last:stop]),
        reported=points[first.at].date if first else None,
        reported_as=points[first.index].date if first else None,
    )


def _reason(metric: str, before: Sequence[Point], after: Sequence[Point]) -> str | None:
    """Why the sessions `after` a change differ from those `before` it; None if nothing is known."""
    old, new = _environments(before, after)
    real = metric == "joules_per_real_token"
    then, now = _operating(before[-AROUND:], real), _operating(after[:AROUND], real)
    if metric.startswith("joules_per_") and then and now:
        return explain(then, now, old, new).sentence
    if not old or not new:
        return None
    differences = explain(_ANY, _ANY, old, new).differences
    return f"{', '.join(differences)}." if differences else "Same environment."


def _operating(points: Sequence[Point], real: bool) -> Operating | None:
    watts = [point.mean_watts for point in points if point.mean_watts]
    speeds = [point.tokens_per_second for point in points if point.tokens_per_second]
    paddings = [point.padding_overhead for point in points if point.padding_overhead]
    if not watts or not speeds:
        return None
    return Operating(fmean(watts), fmean(speeds), fmean(paddings) if real and paddings else None)


def _environments(
    before: Sequence[Point], after: Sequence[Point]
) -> tuple[dict[str, str], dict[str, str]]:
    """What ran right before and right after; a little further off if those are the same."""
    for step in range(NEAR + 1):
        old = _surroundings(before[max(-1 - step, -len(before))])
        new = _surroundings(after[min(step, len(after) - 1)])
        if old != new:
            break
    return old, new


def _surroundings(point: Point) -> dict[str, str]:
    if not point.environment:
        return {}
    # Another card is a difference, however alike the cards are.
    card = {"device": point.device} if point.device else {}
    return {**point.environment, **card}


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
