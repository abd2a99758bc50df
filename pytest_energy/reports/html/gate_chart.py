"""How a verdict came about: the gate's change from window to window, and where it decides; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_energy.gate import TracePoint
from pytest_energy.metering import Window
from pytest_energy.reports.html.charts import Chart, Trace, axis, colour, layout, line, marks
from pytest_energy.results import VerdictRecord
from pytest_energy.units import FRACTION, difference

_FARTHEST = 4.0
"""Times `detect`: what lies farther out is cut off, unless the figure itself does."""


def gate_chart(verdict: VerdictRecord, key: str) -> Chart | None:
    """The running change against the zones in which it is decided; None without a baseline."""
    trace = verdict.trace
    if not trace or not any(point.changed for point in trace):
        return None
    reach = _reach(verdict, trace)
    count = "pair" if _in_pairs(verdict) else "window"
    data = [
        *_zones("changed", "regression", _outside(trace, reach)),
        *_zones("within", "within", _inside(trace)),
        _single(verdict, count),
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
    shown = layout(
        axis(count, dtick=max(1, round(len(trace) / 8)), range=[0.4, len(trace) + 0.6]),
        axis(f"change, {unit}", range=[-reach, reach], zeroline=True),
        bargap=0,
        barmode="overlay",
    )
    return Chart(key, f"Change against {against}, {count} by {count}", tuple(data), shown,
                 _note(verdict, trace[-1], count))  # fmt: skip


def window_changes(verdict: VerdictRecord) -> list[float]:
    """The change of each window, or pair, alone; fractions, or points of a saved fraction."""
    base = verdict.baseline
    if base is None or not base:
        return []
    if verdict.comparison is not None:
        # Pairs of savings hold what is spent: less of it is more saved.
        saved = verdict.unit == FRACTION
        pairs = verdict.comparison.pairs
        return [then - now if saved else now / then - 1 for then, now in pairs]
    if verdict.metric == "savings":
        both = zip(verdict.windows[::2], verdict.windows[1::2], strict=False)
        return [1 - b.joules_per_token / a.joules_per_token - base for a, b in both]
    return [_value(verdict, window) / base - 1 for window in verdict.windows if window.tokens]


def _value(verdict: VerdictRecord, window: Window) -> float:
    real = verdict.metric == "joules_per_real_token" and window.real_tokens
    return window.joules_per_real_token if real else window.joules_per_token


def _in_pairs(verdict: VerdictRecord) -> bool:
    return verdict.metric == "savings" or verdict.comparison is not None


def _single(verdict: VerdictRecord, count: str) -> Trace:
    changes = window_changes(verdict)[: len(verdict.trace)]
    return marks(
        count,
        list(range(1, len(changes) + 1)),
        [100 * change for change in changes],
        "muted",
        marker={"color": colour("muted", 0.7), "size": 6, "symbol": "circle-open"},
        hovertemplate=f"{count} %{{x}} alone: %{{y:+.2f}}<extra></extra>",
    )


def _reach(verdict: VerdictRecord, trace: Sequence[TracePoint]) -> float:
    """Half the height of the plot, in per cent or points."""
    farthest = max(abs(point.change) for point in trace)
    bounds = [max(map(abs, point.changed)) for point in trace if point.changed]
    seen = min(max(bounds), _FARTHEST * (verdict.detect or farthest))
    return 100 * 1.2 * max(farthest, seen, *map(abs, window_changes(verdict)))


_Bar = tuple[int, float, float]


def _inside(trace: Sequence[TracePoint]) -> Iterable[_Bar]:
    for point in trace:
        if point.within is not None:
            yield point.windows, 100 * point.within[0], 100 * point.within[1]


def _outside(trace: Sequence[TracePoint], reach: float) -> Iterable[_Bar]:
    for point in trace:
        if point.changed is not None:
            low, high = (100 * edge for edge in point.changed)
            if low > -reach:
                yield point.windows, -reach, low
            if high < reach:
                yield point.windows, high, reach


def _zones(name: str, shade: str, bars: Iterable[_Bar]) -> list[Trace]:
    found = list(bars)
    if not found:
        return []
    return [
        {
            "type": "bar",
            "name": name,
            "x": [number for number, _, _ in found],
            "base": [low for _, low, _ in found],
            "y": [high - low for _, low, high in found],
            "width": 1,
            "marker": {"color": colour(shade, 0.22), "line": {"width": 0}},
            "hoverinfo": "skip",
        }
    ]


def _note(verdict: VerdictRecord, last: TracePoint, count: str) -> str:
    crossed = {
        "within": "came into the zone in which nothing has changed",
        "regression": "crossed into the zone of a change",
        "improvement": "crossed into the zone of a change",
    }.get(verdict.outcome)
    change = difference(last.change, verdict.unit)
    if verdict.outcome == "invalid":
        return f"After {last.windows} {count}s, {change}: they cannot be believed."
    if crossed is None:
        return f"After {last.windows} {count}s, {change}, it lay between the zones."
    return f"After {last.windows} {count}s, at {change}, it {crossed}."
