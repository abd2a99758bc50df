"""A drift report as text for a terminal, and as JSON; pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pytest_energy.history.drift import ChangePoint, DriftReport, SeriesDrift
from pytest_energy.units import difference, quantity

DRIFT_SCHEMA = 1

_WARNINGS = 10
_COMMIT = 10


def as_text(report: DriftReport) -> str:
    """All series, those that drift first, then the conclusion and the next command."""
    ordered = sorted(report.series, key=lambda one: one.state != "drift")
    lines = [line for one in ordered for line in _series(one)]
    return "\n".join([*lines, *_warnings(report), *_conclusion(report)])


def as_document(report: DriftReport) -> dict[str, Any]:
    """The document that `pytest-energy drift --json` writes, of builtin types alone."""
    return {
        "schema": DRIFT_SCHEMA,
        "exit_code": report.exit_code,
        "series": [_document(one) for one in report.series],
        "warnings": list(report.warnings),
    }


def _document(one: SeriesDrift) -> dict[str, Any]:
    series = one.series
    return {
        "hardware": series.hardware,
        "device": series.device,
        "metric": series.metric,
        "id": series.id,
        "unit": series.unit,
        "method": series.method,
        "state": one.state,
        "needed": one.needed,
        "sessions": len(series.points),
        "first": series.points[0].date if series.points else None,
        "last": series.points[-1].date if series.points else None,
        "level": one.level,
        "baseline": series.baseline,
        "tolerance": series.tolerance,
        "since": series.since,
        "change_points": [asdict(change) for change in one.change_points],
        "stale": asdict(one.stale) if one.stale else None,
    }


def _series(one: SeriesDrift) -> Iterator[str]:
    series, count = one.series, len(one.series.points)
    modelled = "  modelled" if series.method == "modelled" else ""
    yield f"{series.hardware}  {series.id}  {series.metric}  {series.device or ''}".rstrip()
    if one.state == "too few":
        yield f"  {count} session{'' if count == 1 else 's'}: {one.needed} more are needed to say"
        return
    first, last = series.points[0].date[:10], series.points[-1].date[:10]
    level = quantity(one.level or 0.0, series.unit)
    words = {"drift": "DRIFT", "returned": "changed and came back"}.get(one.state, one.state)
    yield f"  {words}, now {level}; {count} sessions from {first} to {last}{modelled}"
    for change in one.change_points:
        yield from _change(change, series.unit)
    if one.stale:
        stale = one.stale
        yield (
            f"  baseline stale: the newest sessions are at {quantity(stale.level, series.unit)}, "
            f"{difference(stale.change, series.unit)} from its "
            f"{quantity(stale.baseline, series.unit)}"
        )


def _change(change: ChangePoint, unit: str) -> Iterator[str]:
    when = change.date[:10]
    if change.kind == "ramp":
        when = f"slowly from {when} to {(change.until or '')[:10]}"
    commits = ""
    if change.commit:
        before = f"{change.last_good[:_COMMIT]}.." if change.last_good else ""
        commits = f" ({before}{change.commit[:_COMMIT]})"
        if change.commit == change.last_good:
            commits = f" ({change.commit[:_COMMIT]}, same code)"
    yield (
        f"  {difference(change.change, unit)}  {when}{commits}: "
        f"{quantity(change.before, unit)} -> {quantity(change.after, unit)}"
    )
    if change.reason:
        yield f"    {change.reason}"


def _warnings(report: DriftReport) -> Iterator[str]:
    for warning in report.warnings[:_WARNINGS]:
        yield f"warning: {warning}"
    more = len(report.warnings) - _WARNINGS
    if more > 0:
        yield f"warning: and {more} more files"


def _conclusion(report: DriftReport) -> Iterator[str]:
    drifting = report.drifting
    short = sum(one.state == "too few" for one in report.series)
    told = len(report.series) - short
    untold = f"; too few sessions of {short} more" if short else ""
    if not report.series:
        yield "can't say: no sessions"
    elif not told:
        needed = min(one.needed for one in report.series)
        yield f"can't say: too few sessions; at least {needed} more are needed"
    elif not drifting:
        yield f"no drift in {told} series{untold}"
    else:
        yield f"drift in {len(drifting)} of {told} series{untold}"
        key = drifting[0].series.hardware
        yield f"next: pytest --energy-hw={key} --energy-update=replace   # if the change is meant"
