"""The page of a qualified card: what was found, the curves that it was found by, what follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pytest_energy.meters.nvml.part_time import WIDEST_SHARE
from pytest_energy.qualify import Qualification, Source
from pytest_energy.qualify.response import Edge, Trajectory
from pytest_energy.qualify.table import FEEDS, WINDOW_SECONDS, lock_shares, rows, told_apart
from pytest_energy.reports.charts import Chart, Trace, axis, colour, dotted, line, marks
from pytest_energy.reports.html import Section, Sheet, render_sheet
from pytest_energy.reports.tables import TextTable

HEADINGS: Final = ("quantity", "value", "what follows")
SHOWN_SECONDS: Final = 0.4
"""Of what comes after an edge."""
POINTS: Final = 160
LENGTHS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Windows (s) of which it is drawn how far they may be off."""
STEPS_MS: Final = (5, 10, 20, 50, 100, 200, 500)
SHARES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
COUNTS: Final = (2, 3, 4, 6, 8, 10, 15, 20, 30, 50)
"""Windows a side."""
LONG_AGO_SECONDS: Final = -30.0


def _decades(title: str, values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with these values marked."""
    return axis(title, type="log", tickmode="array", tickvals=list(values))


def page(found: Qualification) -> str:
    """The page as HTML; raises `EnergyError` without what it is drawn with."""
    return render_sheet(
        Sheet(
            title="Qualification",
            headline=headline(found),
            overline=(found.date[:16].replace("T", " "), found.name),
            facts=(
                ("card", found.uuid),
                ("driver", found.driver),
                ("took", f"{found.took_seconds:.0f} s"),
                ("counter", FEEDS[found.feed]),
            ),
            sections=list(_sections(found)),
            footer=(
                "Half-widths hold a figure 19 times in 20. Figures are of this card under this "
                "driver; under another one, qualify it again."
            ),
        )
    )


def headline(found: Qualification) -> str:
    """What matters most, in one line."""
    if found.feed == "no counter":
        return "There is no counter: joules are made of power readings"
    if found.sees_all:
        return "The counter misses nothing of what the card draws"
    if found.counter is not None and found.counter.is_part:
        share = 100 * found.counter.window_seconds / found.counter.period_seconds
        return f"The counter looks {share:.0f} % of the time"
    return "It cannot be told whether the counter misses anything"


def _sections(found: Qualification) -> Iterator[Section]:
    table = TextTable(HEADINGS, [tuple(row) for row in rows(found)])
    yield Section("What was found, and what follows", tables=(table,))
    yield Section(
        "How the counter looks",
        "Work was switched on and off at many phases between two renewals. What a source shows "
        "goes from one level to the other over the stretch that it looks at; the lines are what "
        "was fitted. A counter of all that is drawn takes its whole period.",
        charts=[
            _after_edge(found, True, "on"),
            _after_edge(found, False, "off"),
            *_beats(found),
            *_lock(found),
        ],
    )
    yield Section(
        "What windows can do",
        "Windows of even work, of one and of two passes in turn, metered as tests will be.",
        charts=[*_windows(found), _shortest(found), _levels(found)],
    )


def _after_edge(found: Qualification, on: bool, name: str) -> Chart:
    data: list[Trace] = []
    for source, curve, text, shade in (
        (found.counter, found.counter_curve, "counter", "series-1"),
        (found.readings, found.readings_curve, "power reading", "series-2"),
    ):
        if source is None or curve is None:
            continue
        side = curve.on if on else curve.off
        points = [(1000 * at, 100 * share) for at, share in side if at < SHOWN_SECONDS]
        x, y = [at for at, _ in points], [share for _, share in points]
        seen = {"color": colour(shade, 0.6), "size": 4}
        hover = "%{x:.0f} ms: %{y:.0f} %<extra></extra>"
        data.append(marks(text, x, y, shade, marker=seen, hovertemplate=hover))
        data.append(_fitted(found, source, on, shade))
    fall = f"Time constant {1000 * (found.rise_seconds if on else found.fall_seconds):.3g} ms."
    axes = {
        "xaxis": axis(f"ms since the load was switched {name}"),
        "yaxis": axis("% of full load's power above rest"),
    }
    return Chart(f"edge-{name}", f"After the load is switched {name}", tuple(data), axes, fall)


def _fitted(found: Qualification, source: Source, on: bool, shade: str) -> Trace:
    """What the fitted source would show after such an edge."""
    edges = [Edge(LONG_AGO_SECONDS, not on), Edge(0.0, on)]
    course = Trajectory(edges, found.rise_seconds, found.fall_seconds)
    times = [SHOWN_SECONDS * i / POINTS for i in range(POINTS + 1)]
    shares = [course.mean(at - source.lag_seconds, source.window_seconds) for at in times]
    return line(
        "fitted", [1000 * at for at in times], [100 * share for share in shares], shade,
        mode="lines", hoverinfo="skip", showlegend=False,
    )  # fmt: skip


def _beats(found: Qualification) -> Iterator[Chart]:
    if not found.beats:
        return
    steps = [1000 * beat.step_seconds for beat in found.beats]
    hover = "steps of %{x:.1f} ms: %{y:.1f} %<extra></extra>"
    data = (
        line("seen", steps, [100 * beat.seen for beat in found.beats], "series-1",
             hovertemplate=hover),
        line("if all were seen", steps, [100 * beat.if_all_seen for beat in found.beats], "muted",
             hovertemplate=hover),
    )  # fmt: skip
    axes = {
        "xaxis": axis("ms of a step: half work, half rest"),
        "yaxis": axis("% of the swing", rangemode="tozero"),
    }
    note = (
        "How the power scatters from renewal to renewal. Far above the other line, looks miss it."
    )
    yield Chart("beats", "Square loads about as long as the period", data, axes, note)


def _lock(found: Qualification) -> Iterator[Chart]:
    source = found.counter or found.readings
    shares = lock_shares(source, found.idle_watts, found.loaded_watts)
    if not shares:
        return
    x, y = [1000 * step for step, _ in shares], [100 * share for _, share in shares]
    hover = "steps of %{x:.1f} ms: %{y:.1f} %<extra></extra>"
    data = (line("may be off by", x, y, "series-1", mode="lines", hovertemplate=hover),)
    axes = {
        "xaxis": _decades("ms of a training step", STEPS_MS),
        "yaxis": axis("% of the joules", rangemode="tozero"),
        "shapes": [dotted(100 * WIDEST_SHARE, "muted")],
        "showlegend": False,
    }
    note = (
        f"Steps that swing between rest and full load, in a window of {WINDOW_SECONDS:g} s. Above "
        f"the dotted line, {100 * WIDEST_SHARE:g} %, it is no evidence."
    )
    yield Chart("lock", "Steps that keep step with the looks", data, axes, note)


def _windows(found: Qualification) -> Iterator[Chart]:
    even = found.even_work
    if not even.each:
        return
    middle = (min(w.seconds for w in even.each) + max(w.seconds for w in even.each)) / 2
    sides = [[(i + 1, w) for i, w in enumerate(even.each) if (w.seconds > middle) == two] for two in
             (False, True)]  # fmt: skip
    means = [sum(w.joules / w.seconds for _, w in side) / max(1, len(side)) for side in sides]
    power, beside = [], []
    totals = [(sum(w.joules for _, w in s), sum(w.seconds for _, w in s)) for s in sides]
    (j1, s1), (j2, s2) = [(j / len(s), t / len(s)) for (j, t), s in zip(totals, sides, strict=True)]
    watts = (j2 - j1) / (s2 - s1)
    for side, mean, text, shade in zip(
        sides, means, ("1 pass", "2 passes"), ("series-1", "series-2"), strict=True
    ):
        numbers = [number for number, _ in side]
        off = [100 * (w.joules / w.seconds / mean - 1) for _, w in side]
        hover = "window %{x}: %{y:+.3f} %<extra></extra>"
        power.append(line(text, numbers, off, shade, hovertemplate=hover))
        extra = [w.joules - watts * w.seconds for _, w in side]
        bars = {"array": [w.doubt_joules for _, w in side], "color": colour(shade, 0.4)}
        hover = "window %{x}: %{y:+.2f} J<extra></extra>"
        beside.append(marks(text, numbers, extra, shade, error_y=bars, hovertemplate=hover))
    yield Chart(
        "even", "Windows of even work, one after another", tuple(power),
        {"xaxis": axis("window"), "yaxis": axis("% off the mean power", zeroline=True)},
        f"CV {100 * even.cv:.2g} %, autocorrelation {even.autocorrelation:+.2f}.",
    )  # fmt: skip
    yield Chart(
        "intercept", "Joules that do not grow with the work", tuple(beside),
        {"xaxis": axis("window"), "yaxis": axis("J beside power x time", zeroline=True)},
        f"2 J1 - J2 is {even.intercept_joules:.2g} ± {even.intercept_joules.doubt:.2g} J; bars are "
        "what each window states.",
    )  # fmt: skip


def _shortest(found: Qualification) -> Chart:
    watts = found.loaded_watts
    shares = [100 * found.even_work.doubt_joules / (watts * seconds) for seconds in LENGTHS]
    x = _decades("s of a window under full load", LENGTHS)
    y = _decades("% that it may be off", SHARES)
    axes = {"xaxis": x, "yaxis": y, "shapes": [dotted(1.0, "muted")], "showlegend": False}
    hover = "%{x:g} s: %{y:.2g} %<extra></extra>"
    data = (line("may be off by", LENGTHS, shares, "series-1", hovertemplate=hover),)
    return Chart("shortest", "How long windows have to be", data, axes, "The dotted line is 1 %.")


def _levels(found: Qualification) -> Chart:
    changes = [100 * told_apart(found, count) for count in COUNTS]
    y = axis("% of change told from none", rangemode="tozero")
    axes = {"xaxis": _decades("windows a side", COUNTS), "yaxis": y, "showlegend": False}
    hover = "%{x} windows a side: %{y:.2g} %<extra></extra>"
    data = (line("told apart", COUNTS, changes, "series-1", hovertemplate=hover),)
    note = "A tolerance below the line cannot be held by so many windows of even work."
    return Chart("levels", "Levels that can be held", data, axes, note)
