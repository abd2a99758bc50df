"""The plots of claims as charts; pure."""

from __future__ import annotations

from pytest_energy.claims import Plot, Series
from pytest_energy.report.html.chart import (
    PALETTE,
    Chart,
    Trace,
    axis,
    layout,
    line,
    marks,
    plain,
)


def claim_chart(plot: Plot, key: str) -> Chart:
    """A plot of a claim; lines without marks, points as marks."""
    kind = {"type": "log"} if plot.logarithmic else {}
    shown = layout(
        axis(plain(plot.x_name), **kind),
        axis(plain(plot.y_name), **kind),
        showlegend=len(plot.series) > 1,
    )
    data = (_trace(series, number) for number, series in enumerate(plot.series))
    return Chart(key, plot.title, tuple(data), shown)


def _trace(series: Series, number: int) -> Trace:
    x, y = [point[0] for point in series.points], [point[1] for point in series.points]
    shade = PALETTE[number % len(PALETTE)]
    hover = "%{x:.4g}: %{y:.4g}<extra></extra>"
    if series.line:
        return line(series.name, x, y, shade, mode="lines", hovertemplate=hover)
    return marks(series.name, x, y, shade, hovertemplate=hover)
