"""A figure over its sessions, with its changes and the band that its baseline allows; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_energy.history.drift import ChangePoint, DriftReport, SeriesDrift
from pytest_energy.reports.html.charts import Chart, Trace, axis, colour, layout, line, marks, plain
from pytest_energy.units import FRACTION, difference, prefix, quantity


def drift_chart(drift: SeriesDrift, key: str) -> Chart | None:
    """The series over time: sessions, levels between changes, tolerance band; None if empty."""
    series = drift.series
    if not series.points:
        return None
    values = [point.value for point in series.points]
    scale, letter = (0.01, "") if series.unit == FRACTION else prefix(max(values), series.unit)
    unit = "%" if series.unit == FRACTION else f"{letter}{series.unit}"
    dates = [point.date for point in series.points]
    data = [
        marks(
            "session",
            dates,
            [value / scale for value in values],
            "series-1",
            text=[plain(f"commit {point.commit[:12]}") if point.commit else ""
                  for point in series.points],
            hovertemplate="%{x|%d %b %Y}: %{y:.4g}<br>%{text}<extra></extra>",
        ),
        *_levels(drift, dates, scale),
    ]  # fmt: skip
    shapes = _band(drift, scale) + [_change_line(point.date) for point in drift.change_points]
    notes = [
        {
            "x": point.date, "yref": "paper", "y": 1, "yanchor": "top", "xanchor": "right",
            "showarrow": False,
            "text": str(number),
        }
        for number, point in enumerate(drift.change_points, start=1)
    ]  # fmt: skip
    shown = layout(axis("", type="date"), axis(plain(unit)), shapes=shapes, annotations=notes)
    return Chart(key, f"{unit} over time", tuple(data), shown, _note(drift))


def _levels(drift: SeriesDrift, dates: list[str], scale: float) -> list[Trace]:
    """The level before each change and after it, as a line over the sessions it held for."""
    points = drift.change_points
    if not points:
        return []
    x: list[str | None] = []
    y: list[float | None] = []
    start = dates[0]
    for point in points:
        x += [start, point.date]
        y += [point.before / scale] * 2
        if point.until is None:  # a step: the line breaks; a ramp goes on to its new level
            x.append(None)
            y.append(None)
        start = point.until or point.date
    x += [start, dates[-1]]
    y += [points[-1].after / scale] * 2
    return [
        line("level", x, y, "text", mode="lines", hoverinfo="skip",
             line={"color": colour("text"), "width": 2})
    ]  # fmt: skip


def _band(drift: SeriesDrift, scale: float) -> list[dict[str, Any]]:
    series = drift.series
    if series.baseline is None or series.tolerance is None:
        return []
    half = series.tolerance if series.unit == FRACTION else series.tolerance * series.baseline
    across: dict[str, Any] = {"xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    low, high = (series.baseline - half) / scale, (series.baseline + half) / scale
    middle = series.baseline / scale
    return [
        {**across, "type": "rect", "y0": low, "y1": high, "line": {"width": 0},
         "fillcolor": colour("within", 0.16)},
        {**across, "type": "line", "y0": middle, "y1": middle,
         "line": {"color": colour("within"), "width": 1, "dash": "dot"}},
    ]  # fmt: skip


def _change_line(date: str) -> dict[str, Any]:
    return {
        "type": "line", "x0": date, "x1": date, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": colour("regression"), "width": 1, "dash": "dash"},
    }  # fmt: skip


def _note(drift: SeriesDrift) -> str:
    if drift.state == "too few":
        return f"{drift.needed} more sessions are needed before anything can be said of it."
    series, parts = drift.series, []
    if series.baseline is not None and series.tolerance is not None:
        accepted = quantity(series.baseline, series.unit)
        parts.append(f"The band is the baseline, {accepted}, and its tolerance.")
    if drift.change_points:
        parts.append("Dashed lines are changes, numbered as below.")
    return " ".join(parts)


_WORDS = {"drift": "drifts", "returned": "came back", "steady": "steady", "too few": "too few"}
_ORDER = ("drift", "returned", "steady", "too few")


@dataclass(frozen=True)
class DriftView:
    """One series: its state, its chart and what is to be read below it."""

    name: str
    device: str
    state: str
    word: str
    chart: Chart | None
    changes: tuple[str, ...]
    stale: str
    open: bool


def drift_views(report: DriftReport) -> tuple[DriftView, ...]:
    """The series, what drifts first."""
    ordered = sorted(report.series, key=lambda one: _ORDER.index(one.state))
    return tuple(_view(one, f"d{number}") for number, one in enumerate(ordered))


def _view(drift: SeriesDrift, key: str) -> DriftView:
    series = drift.series
    return DriftView(
        name=f"{series.id} savings" if series.metric == "savings" else series.id,
        device=f"{series.hardware}, {series.device}" if series.device else series.hardware,
        state=drift.state,
        word=_WORDS[drift.state],
        chart=drift_chart(drift, key),
        changes=tuple(_change(drift, point) for point in drift.change_points),
        stale=_stale(drift),
        open=drift.state != "too few",
    )


def _change(drift: SeriesDrift, point: ChangePoint) -> str:
    unit = drift.series.unit
    when = f"on {point.date[:10]}"
    if point.until is not None:
        when = f"from {point.date[:10]} to {point.until[:10]}, gradually"
    before, after = quantity(point.before, unit), quantity(point.after, unit)
    text = f"{difference(point.change, unit)} {when}, {before} to {after}"
    if point.commit:
        text += f", since commit `{point.commit[:12]}`"
    if point.last_good:
        text += f" (last good `{point.last_good[:12]}`)"
    return f"{text}. {point.reason}" if point.reason else f"{text}."


def _stale(drift: SeriesDrift) -> str:
    stale, unit = drift.stale, drift.series.unit
    if stale is None:
        return ""
    level, accepted = quantity(stale.level, unit), quantity(stale.baseline, unit)
    return (
        f"The baseline is stale: the last sessions are at {level}, {difference(stale.change, unit)}"
        f" from its {accepted}."
    )
