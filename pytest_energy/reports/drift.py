"""A drift report as text for a terminal, as JSON, and as the page shows it; pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pytest_energy.history import ChangePoint, DriftReport, Restless, SeriesDrift, Stale, TakenBack
from pytest_energy.reports import charts, wording
from pytest_energy.text import safe_line
from pytest_energy.units import FRACTION, difference, quantity

DRIFT_SCHEMA = 1

STATES = {
    "drift": ("DRIFT", "drifts"),
    "acknowledged": ("acknowledged", "acknowledged"),
    "restless": ("RESTLESS", "is restless"),
    "returned": ("changed and came back", "came back"),
    "steady": ("steady", "steady"),
    "too few": ("too few", "too few"),
}
"""What a terminal and the page call each state, the worst first."""

_WARNINGS = 10
_COMMIT = 10


def as_text(report: DriftReport) -> str:
    """All series, those that drift first, then the conclusion and the next command."""
    lines = [text for one in worst_first(report) for text in _series(one)]
    return "\n".join(map(safe_line, (*lines, *_warnings(report), *_conclusion(report))))


def worst_first(report: DriftReport) -> list[SeriesDrift]:
    """The series, those that drift first."""
    return sorted(report.series, key=lambda one: list(STATES).index(one.state))


def as_badge(report: DriftReport) -> dict[str, Any]:
    """What a badge says, in the form that shields.io reads from a URL."""
    told = sum(one.state != "too few" for one in report.series)
    if report.drifting:
        message, colour = f"{len(report.drifting)} of {told} figures drift", "red"
    elif not told:
        message, colour = "too few sessions", "lightgrey"
    else:
        message, colour = "steady", "brightgreen"
    return {"schemaVersion": 1, "label": "energy", "message": message, "color": colour}


def as_document(report: DriftReport) -> dict[str, Any]:
    """The document that `pytest-energy drift --json` writes, of builtin types alone."""
    return {
        "schema": DRIFT_SCHEMA,
        "exit_code": report.exit_code,
        "series": [_document(one) for one in report.series],
        "warnings": list(map(safe_line, report.warnings)),
    }


def _document(one: SeriesDrift) -> dict[str, Any]:
    series = one.series
    names = ("hardware", "device", "metric", "id", "unit", "method")
    return {
        **{name: getattr(series, name) for name in names},
        "state": one.state,
        "needed": one.needed,
        "sessions": len(series.points),
        "first": series.points[0].date,
        "last": series.points[-1].date,
        "level": one.level,
        "baseline": series.baseline,
        "tolerance": series.tolerance,
        "since": series.since,
        "change_points": [asdict(change) for change in one.change_points],
        "stale": asdict(one.stale) if one.stale else None,
        "restless": asdict(one.restless) if one.restless else None,
        "taken_back": [asdict(told) for told in one.taken_back],
    }


def _series(one: SeriesDrift) -> Iterator[str]:
    series, count = one.series, len(one.series.points)
    modelled = "  modelled" if series.method == "modelled" else ""
    yield f"{series.hardware}  {series.id}  {series.metric}  {series.device or ''}".rstrip()
    if one.state == "too few":
        yield f"  {wording.counted(count, 'session')}: {one.needed} more are needed to say"
        return
    first, last = series.points[0].date[:10], series.points[-1].date[:10]
    level = quantity(one.level or 0.0, series.unit)
    word = STATES[one.state][0]
    yield f"  {word}, now {level}; {count} sessions from {first} to {last}{modelled}"
    if series.acknowledged is not None:
        yield f"  acknowledged {series.acknowledged.sentence}"
    for change in one.change_points:
        yield from _change(change, series.unit)
    for told in one.taken_back:
        yield f"  {taken_back_sentence(told)}"
    if one.restless:
        yield f"  {restless_sentence(one.restless)}"
    if one.stale:
        yield f"  baseline stale: the newest sessions are {_off(one.stale, series.unit)}"


def _change(change: ChangePoint, unit: str) -> Iterator[str]:
    when = change.date[:10]
    if change.until is not None:
        when = f"slowly from {when} to {change.until[:10]}"
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
    yield from (f"    {sentence}" for sentence in _further(change))


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
        restless = f", but {len(report.restless)} more restless" if report.restless else ""
        yield f"no drift in {told} series{restless}{untold}"
    else:
        yield f"drift in {len(drifting)} of {told} series{untold}"
        key = drifting[0].series.hardware
        hardware = shlex.quote(f"--energy-hw={key}")
        yield f"next: pytest {hardware} --energy-update=replace   # if the change is meant"


def drift_chart(drift: SeriesDrift, key: str) -> charts.Chart:
    """The series over time: sessions, levels between changes, tolerance band."""
    series = drift.series
    values = [point.value for point in series.points]
    scale, unit = charts.scaled(values, series.unit)
    dates = [point.date for point in series.points]
    data = [
        charts.marks(
            "session",
            dates,
            [value / scale for value in values],
            "series-1",
            text=[charts.plain(f"commit {point.commit[:12]}") if point.commit else ""
                  for point in series.points],
            hovertemplate="%{x|%d %b %Y}: %{y:.4g}<br>%{text}<extra></extra>",
        ),
        *_levels(drift, dates, scale),
    ]  # fmt: skip
    lines = [charts.upright(point.date) for point in drift.change_points]
    notes = [
        {"x": point.date, "yref": "paper", "y": 1, "yanchor": "top", "xanchor": "right",
         "showarrow": False, "text": str(number)}
        for number, point in enumerate(drift.change_points, start=1)
    ]  # fmt: skip
    shown = {
        "xaxis": charts.axis("", type="date"),
        "yaxis": charts.axis(charts.plain(unit)),
        "shapes": _band(drift, scale) + lines,
        "annotations": notes,
    }
    return charts.Chart(key, f"{unit} over time", tuple(data), shown, _note(drift))


def _levels(drift: SeriesDrift, dates: list[str], scale: float) -> list[charts.Trace]:
    """The level before each change and after it, as a line over the sessions it held for."""
    points = drift.change_points
    if not points:
        return []
    x: list[str | None] = []
    y: list[float | None] = []
    start = dates[0]
    for point in points:
        # At a step the line breaks; a ramp goes on to its new level.
        gap = [None] if point.until is None else []
        x += [start, point.date, *gap]
        y += [point.before / scale, point.before / scale, *gap]
        start = point.until or point.date
    x += [start, dates[-1]]
    y += [points[-1].after / scale] * 2
    return [charts.line("level", x, y, "text", mode="lines", hoverinfo="skip")]


def _band(drift: SeriesDrift, scale: float) -> list[dict[str, Any]]:
    series = drift.series
    if series.baseline is None or series.tolerance is None:
        return []
    half = series.tolerance if series.unit == FRACTION else series.tolerance * series.baseline
    low, high = (series.baseline - half) / scale, (series.baseline + half) / scale
    band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "layer": "below",
            "y0": low, "y1": high, "line": {"width": 0},
            "fillcolor": charts.colour("within", 0.16)}  # fmt: skip
    return [band, {**charts.dotted(series.baseline / scale, "within"), "layer": "below"}]


def _note(drift: SeriesDrift) -> str:
    if drift.state == "too few":
        return f"{drift.needed} more sessions are needed before anything can be said of it."
    series, parts = drift.series, list[str]()
    if series.baseline is not None and series.tolerance is not None:
        accepted = quantity(series.baseline, series.unit)
        parts.append(f"The band is the baseline, {accepted}, and its tolerance.")
    if drift.change_points:
        parts.append("Dashed lines are changes, numbered as below.")
    return " ".join(parts)


def change_sentence(point: ChangePoint, unit: str) -> str:
    """A change as the page tells it: how much, when, since which commit and why."""
    when = f"on {point.date[:10]}"
    if point.until is not None:
        when = f"from {point.date[:10]} to {point.until[:10]}, gradually"
    before, after = quantity(point.before, unit), quantity(point.after, unit)
    text = f"{difference(point.change, unit)} {when}, {before} to {after}"
    if point.commit:
        text += f", since commit `{point.commit[:12]}`"
    if point.last_good:
        text += f" (last good `{point.last_good[:12]}`)"
    return " ".join([f"{text}.", *_further(point)])


def _further(point: ChangePoint) -> Iterator[str]:
    """That a change was dated otherwise when it was first told, and why the figure moved."""
    if point.has_moved:
        yield (
            f"Moved: with the session of {(point.reported or '')[:10]} it was first reported, as "
            f"of {(point.reported_as or '')[:10]}."
        )
    if point.reason:
        yield point.reason


def taken_back_sentence(told: TakenBack) -> str:
    """That something was told that is no change any more."""
    return (
        f"Taken back: a change as of {told.date[:10]} that was reported with the session of "
        f"{told.reported[:10]}"
    )


def restless_sentence(told: Restless) -> str:
    """How much more the sessions vary, and since when."""
    times = "More" if math.isinf(told.ratio) else f"{told.ratio:.1f} times as"
    return (
        f"{times} restless since {told.date[:10]}: sessions vary by {100 * told.after:.2g} % "
        f"(SD), before by {100 * told.before:.2g} %"
    )


def stale_sentence(stale: Stale, unit: str) -> str:
    """How far the newest sessions are from the baseline, as the page tells it."""
    return f"The baseline is stale: the last sessions are {_off(stale, unit)}."


def _off(stale: Stale, unit: str) -> str:
    newest, accepted = quantity(stale.level, unit), quantity(stale.baseline, unit)
    return f"at {newest}, {difference(stale.change, unit)} from its {accepted}"
