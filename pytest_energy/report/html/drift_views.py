"""A history's drift as the page shows it: a chart and a sentence for each change; pure."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_energy.drift import ChangePoint, DriftReport, SeriesDrift
from pytest_energy.report.html.chart import Chart
from pytest_energy.report.html.drift_charts import drift_chart
from pytest_energy.units import difference, quantity

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
