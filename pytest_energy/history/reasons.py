"""Why a series changed: power, throughput, environment, and how the reference load moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from pytest_energy.gate.explanation import LoadChange, Operating, explain
from pytest_energy.history.series import Point, Series
from pytest_energy.results import REFERENCE_LOAD

AROUND = 20
"""Sessions on either side of a change that are compared: their power, throughput, and load."""

NEAR = 3
"""Sessions by which a change may be dated wrongly; a difference so near still counts."""

_ANY = Operating(1.0, 1.0)


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
        before = [one.value for one in load.points if begin <= one.date < since]
        after = [
            one.value
            for one in load.points
            if until <= one.date and (end is None or one.date < end)
        ]
        found = LoadChange.between(before[-AROUND:], after[:AROUND])
        if found is not None:
            return found
    return None


def reason(metric: str, before: Sequence[Point], after: Sequence[Point]) -> str | None:
    """Why the sessions `after` a change differ from those `before` it; None if nothing is known."""
    old, new = _environments(before, after)
    real = metric == "joules_per_real_token"
    operating = _operating(before[-AROUND:], real), _operating(after[:AROUND], real)
    if metric.startswith("joules_per_") and operating[0] and operating[1]:
        return explain(operating[0], operating[1], old, new).sentence
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
