"""Charts as Plotly takes them, of builtin types alone; colours are names that the page resolves."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, TypeAlias

from pytest_energy.gate import TracePoint
from pytest_energy.gate.carriers import ProfileChange, Row
from pytest_energy.metering import Window
from pytest_energy.meters.protocol import is_module
from pytest_energy.outcomes import MOVED
from pytest_energy.results import ComparisonRecord, VerdictRecord
from pytest_energy.results.claims import Plot, Series
from pytest_energy.text import one_line, safe_line
from pytest_energy.units import FRACTION, difference, prefix, ratio

Trace: TypeAlias = "dict[str, Any]"

PALETTE = ("series-1", "series-2", "series-3", "series-4", "series-5", "series-6")
"""Colours of series in order; the stylesheet has a light and a dark one for each."""


@dataclass(frozen=True)
class Chart:
    """One plot with its caption; `data` and `layout` are Plotly's, `key` is unique in a page.

    The page's script adds to a layout what all charts share.
    """

    key: str
    title: str
    data: tuple[Trace, ...]
    layout: dict[str, Any]
    note: str = ""


def colour(name: str, alpha: float = 1.0) -> str:
    """A colour of the page's stylesheet, by the name of its variable."""
    return f"@{name}" if alpha == 1.0 else f"@{name}/{alpha:g}"


def plain(text: str) -> str:
    """Text from tests and files as Plotly shows it literally: it reads a little HTML itself."""
    # Between dollars it would look for formulas.
    return html.escape(safe_line(text), quote=False).replace("$", "&#36;")


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis that a finger on a phone scrolls past instead of zooming."""
    return {"title": {"text": title}, "fixedrange": True, "zeroline": False, **more}


def line(name: str, x: Sequence[Any], y: Sequence[Any], shade: str, **more: Any) -> Trace:
    """A line with marks; with another `mode` of Plotly's, marks or a line alone."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": plain(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": colour(shade), "width": 2},
        "marker": {"color": colour(shade), "size": 6},
        **more,
    }


def marks(name: str, x: Sequence[Any], y: Sequence[Any], shade: str, **more: Any) -> Trace:
    """Marks alone, somewhat larger."""
    marker = {"color": colour(shade), "size": 7}
    return line(name, x, y, shade, **{"mode": "markers", "marker": marker, **more})


def scaled(values: Iterable[float], unit: str) -> tuple[float, str]:
    """What to divide values in a unit by, and the unit in which they are then shown."""
    if unit == FRACTION:
        return 0.01, "%"
    scale, letter = prefix(max(values), unit)
    return scale, f"{letter}{unit}"


def dotted(y: float, shade: str) -> dict[str, Any]:
    """A dotted line at one height, across the plot."""
    across = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y}
    return {**across, "line": {"color": colour(shade), "width": 1, "dash": "dot"}}


def upright(x: Any) -> dict[str, Any]:
    """A dashed line at one place: a change was found there."""
    along = {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1}
    return {**along, "line": {"color": colour("regression"), "width": 1, "dash": "dash"}}


def claim_chart(plot: Plot, key: str) -> Chart:
    """A plot of a claim; lines without marks, points as marks."""
    kind = {"type": "log"} if plot.logarithmic else {}
    shown = {
        "xaxis": axis(plain(plot.x_name), **kind),
        "yaxis": axis(plain(plot.y_name), **kind),
        "showlegend": len(plot.series) > 1,
    }
    data = map(_trace, plot.series, cycle(PALETTE))
    return Chart(key, plot.title, tuple(data), shown)


def _trace(series: Series, shade: str) -> Trace:
    x, y = zip(*series.points, strict=True) if series.points else ((), ())
    draw, more = (line, {"mode": "lines"}) if series.line else (marks, {})
    hover = "%{x:.4g}: %{y:.4g}<extra></extra>"
    return draw(series.name, x, y, shade, hovertemplate=hover, **more)


_LIMIT_NEARBY = 2.0
"""A power limit is drawn where the power comes within so many times of it."""


def power_chart(
    windows: Sequence[Window], devices: Sequence[Mapping[str, Any]], key: str
) -> Chart | None:
    """Power over time, a line for each window and device; None if the meter samples none."""
    sampled = [window for window in windows if any(map(len, window.power_by_domain.values()))]
    if not sampled:
        return None
    first = min(window.started for window in sampled)
    names = dict.fromkeys((window.name, d) for window in sampled for d in window.power_by_domain)
    alone = len({name for name, _ in names}) == 1
    data = []
    for (name, domain), shade in zip(names, cycle(PALETTE), strict=False):
        x: list[float | None] = []
        y: list[float | None] = []
        for window in sampled:
            if window.name == name:
                points = window.power_by_domain.get(domain, ())
                x += [round(window.started - first + at, 4) for at, _ in points] + [None]
                y += [watts for _, watts in points] + [None]
        data.append(
            line(
                domain if alone else f"{name}, {domain}", x, y, shade,
                line={"color": colour(shade), "width": 1.5},
                marker={"color": colour(shade), "size": 4},
                showlegend=True,
                hovertemplate="%{x:.2f} s: %{y:.1f} W<extra></extra>",
            )
        )  # fmt: skip
    highest = max(watts for trace in data for watts in trace["y"] if watts is not None)
    limits = [
        float(each["power_limit_watts"])
        for each in devices
        if each.get("power_limit_watts") and not is_module(str(each.get("domain", "")))
    ]
    near = [limit for limit in dict.fromkeys(limits) if limit <= _LIMIT_NEARBY * highest]
    shown = {
        "xaxis": axis("seconds since the first window"),
        "yaxis": axis("W", rangemode="tozero"),
        "shapes": [dotted(limit, "muted") for limit in near],
    }
    note = f"The dotted line is the power limit, {max(near):g} W." if near else ""
    return Chart(key, "Power over the windows", tuple(data), shown, note)


def pairs_chart(comparison: ComparisonRecord, unit: str, key: str) -> Chart:
    """Base and head of each pair, side by side; for savings what is spent of the larger's."""
    numbers = list(range(1, len(comparison.pairs) + 1))
    scale, shown = scaled([value for pair in comparison.pairs for value in pair], unit)
    base = [base / scale for base, _ in comparison.pairs]
    head = [head / scale for _, head in comparison.pairs]
    title = "% spent" if unit == FRACTION else shown
    links_x = [x for number in numbers for x in (number, number, None)]
    links_y = [y for both in zip(base, head, strict=True) for y in (*both, None)]
    hover = "%{y:.4g}<extra></extra>"
    data: tuple[Trace, ...] = (
        line(
            "pair", links_x, links_y, "muted", mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": colour("muted", 0.5), "width": 1},
        ),
        marks("base", numbers, base, "muted", hovertemplate=hover),
        marks("head", numbers, head, "series-1", hovertemplate=hover),
    )  # fmt: skip
    x = axis("pair", dtick=max(1, round(len(numbers) / 8)), range=[0.4, len(numbers) + 0.6])
    axes = {"xaxis": x, "yaxis": axis(plain(title))}
    return Chart(key, "Base and head, pair by pair", data, axes)


_MOST_SEGMENTS = 5
"""Parts of a bar that have a colour; what is left of it is told together."""
_LEGEND = 40
"""Letters of a part's name in the legend; its table has them all."""
_SHOWN_REST = 0.002
"""Share of a bar from which that is shown."""


def profile_charts(
    profile: ProfileChange, key: str, sides: tuple[str, str] = ("base", "head")
) -> list[Chart]:
    """The time of a token as two bars side by side, by phase and by operator."""
    of = "kernels on the device" if profile.clock == "device" else "operators on the host"
    note = (
        "The fastest of a few passes that count for no figure; the profiler makes them slower. "
        f"Times are of {of}."
    )
    # What moved is to be seen, and what is long.
    rank = {row.name: 2 * abs(row.moved) + max(row.base, row.head) for row in profile.operators}
    chosen = sorted(profile.operators, key=lambda row: -rank[row.name])[:_MOST_SEGMENTS]
    phases = _bars(profile, profile.phases, sides)
    operators = _bars(profile, chosen, sides)
    shown = {"xaxis": axis(""), "yaxis": axis("µs a token"), "barmode": "stack", "bargap": 0.4}
    return [
        Chart(f"{key}-phases", "Time of a token by phase", phases, shown, note),
        Chart(f"{key}-operators", "Time of a token by operator", operators, shown),
    ]


def _bars(profile: ProfileChange, rows: Sequence[Row], sides: tuple[str, str]) -> tuple[Trace, ...]:
    parts = [
        (row.name, row.base, row.head, shade) for row, shade in zip(rows, PALETTE, strict=False)
    ]
    base = max(profile.base - sum(row.base for row in rows), 0.0)
    head = max(profile.head - sum(row.head for row in rows), 0.0)
    if max(base, head) > _SHOWN_REST * max(profile.base, profile.head):
        parts.append(("all else", base, head, "muted"))
    return tuple(
        {
            "type": "bar",
            "name": plain(one_line(name, _LEGEND)),
            "x": list(sides),
            "y": [1e6 * base, 1e6 * head],
            "marker": {"color": colour(shade)},
            "hovertemplate": f"{plain(name)}: %{{y:.3f}} µs<extra></extra>",
        }
        for name, base, head, shade in parts
    )


_FARTHEST = 4.0
"""Times `detect`: what lies farther out is cut off, unless the figure itself does."""


def gate_chart(verdict: VerdictRecord, key: str) -> Chart | None:
    """The running change against the zones in which it is decided; None without a baseline."""
    trace = verdict.trace
    if not trace or not any(point.changed for point in trace):
        return None
    changes = window_changes(verdict)
    reach = _reach(verdict, changes)
    count = "pair" if verdict.metric == "savings" or verdict.comparison else "window"
    outside = [
        (point.windows, low, high)
        for point in trace
        if point.changed is not None
        for low, high in ((-reach, point.changed[0]), (point.changed[1], reach))
        if low < high
    ]
    alone = changes[: len(trace)]
    inside = [(point.windows, *point.within) for point in trace if point.within is not None]
    data = [
        *_zones("changed", "regression", outside),
        *_zones("within", "within", inside),
        marks(
            count,
            list(range(1, len(alone) + 1)),
            [100 * change for change in alone],
            "muted",
            marker={"color": colour("muted", 0.7), "size": 6, "symbol": "circle-open"},
            hovertemplate=f"{count} %{{x}} alone: %{{y:+.2f}}<extra></extra>",
        ),
        line(
            "mean so far",
            [point.windows for point in trace],
            [100 * point.change for point in trace],
            "text",
            hovertemplate=f"after {count} %{{x}}: %{{y:+.2f}}<extra></extra>",
        ),
    ]
    against = "the baseline" if verdict.comparison is None else "the base"
    unit = "points" if verdict.unit == FRACTION else "%"
    shown = {
        "xaxis": axis(count, dtick=max(1, round(len(trace) / 8)), range=[0.4, len(trace) + 0.6]),
        "yaxis": axis(f"change, {unit}", range=[-100 * reach, 100 * reach], zeroline=True),
        "bargap": 0,
        "barmode": "overlay",
    }
    note = _note(verdict, trace[-1], count)
    return Chart(key, f"Change against {against}, {count} by {count}", tuple(data), shown, note)


def window_changes(verdict: VerdictRecord) -> list[float]:
    """The change of each window, or pair, alone; fractions, or points of a saved fraction."""
    base = verdict.baseline
    if base is None or not base:
        return []
    if verdict.comparison is not None:
        # Pairs of savings hold what is spent: less of it is more saved.
        saved = verdict.unit == FRACTION
        pairs = verdict.comparison.pairs
        return [then - now if saved else ratio(now, then) - 1 for then, now in pairs]
    if verdict.metric == "savings":
        both = zip(verdict.windows[::2], verdict.windows[1::2], strict=False)
        whole = [(a, b) for a, b in both if a.tokens and b.tokens and a.joules]
        return [1 - b.joules_per_token / a.joules_per_token - base for a, b in whole]
    real = verdict.metric == "joules_per_real_token"
    values = (
        window.joules_per_real_token if real and window.real_tokens else window.joules_per_token
        for window in verdict.windows
        if window.tokens
    )
    return [value / base - 1 for value in values]


def _reach(verdict: VerdictRecord, changes: Sequence[float]) -> float:
    """Half the height of the plot, as a fraction."""
    farthest = max(abs(point.change) for point in verdict.trace)
    bounds = [max(map(abs, point.changed)) for point in verdict.trace if point.changed]
    seen = min(max(bounds), _FARTHEST * (verdict.detect or farthest))
    return 1.2 * max(farthest, seen, *map(abs, changes))


def _zones(name: str, shade: str, bars: Sequence[tuple[int, float, float]]) -> list[Trace]:
    """Bars at windows, from a low to a high change; no trace without any."""
    trace = {
        "type": "bar",
        "name": name,
        "x": [number for number, _, _ in bars],
        "base": [100 * low for _, low, _ in bars],
        "y": [100 * (high - low) for _, low, high in bars],
        "width": 1,
        "marker": {"color": colour(shade, 0.22), "line": {"width": 0}},
        "hoverinfo": "skip",
    }
    return [trace] if bars else []


_ENDS = {
    "invalid": "{}: they cannot be believed.",
    "within": "at {}, it came into the zone in which nothing has changed.",
    **dict.fromkeys(MOVED, "at {}, it crossed into the zone of a change."),
}
"""Where a figure ended, by its outcome."""


def _note(verdict: VerdictRecord, last: TracePoint, count: str) -> str:
    change = difference(last.change, verdict.unit)
    ended = _ENDS.get(verdict.outcome, "{}, it lay between the zones.").format(change)
    return f"After {last.windows} {count}s, {ended}"
