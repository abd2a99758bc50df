"""The results of an acceptance as a Markdown table, and as a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any, Final

from pytest_energy.reports.charts import Chart, axis, marks
from pytest_energy.reports.html import Section, Sheet, render_sheet
from pytest_energy.reports.tables import TextTable
from pytest_energy.text import one_line

Found = Mapping[str, Any]
Row = tuple[str, str]
LEAST_WINDOWS: Final = 2
"""So many windows say nothing of how they differ."""
HEADINGS: Final = ("what", "found")
TOLD: Final = (
    "hardware key", "meter used by", "sensor of", "gpu:", "module:", "note:",
    "torch:", "transformers:", "accelerate:", "driver:", "cuda:",
)  # fmt: skip
"""What is taken from what `doctor` says."""


def rows(part: Found) -> list[Row]:
    """What a part found, as (what, found); a part that did not end well says so first."""
    told: list[Row] = []
    if part["state"] != "done":
        told.append((part["state"], one_line(part["why"])))
    try:
        told += _ROWS.get(part["name"], _nothing)(part["found"]) if part["found"] else []
    except (KeyError, TypeError, ValueError, IndexError) as error:
        told.append(("not read", f"its file has another form ({type(error).__name__})"))
    return told


def _nothing(found: Found) -> Iterator[Row]:
    del found
    return iter(())


def _doctor(found: Found) -> Iterator[Row]:
    for line in found["text"].splitlines():
        text = line.strip()
        if text.startswith(TOLD):
            name, _, value = text.partition(": ")
            yield name, value


def _qualify(found: Found) -> Iterator[Row]:
    yield "card", f"{found['name']}, driver {found['driver']}"
    yield "counter is fed by", f"{found['feed']}; misses nothing: {found['sees_all']}"
    for name in ("counter", "readings"):
        source = found[name]
        if source is not None:
            period, window, lag = (
                f"{1000 * source[each]['value']:.4g} ± {1000 * source[each]['doubt']:.2g} ms"
                for each in ("period_seconds", "window_seconds", "lag_seconds")
            )
            jitter = f"jitter {1000 * source['jitter_seconds']:.2g} ms"
            yield f"{name}: period, window, lag", f"{period} ({jitter}); {window}; {lag}"
    calls = [found["energy_call_seconds"], found["power_call_seconds"]]
    yield "calls", " and ".join("none" if c is None else f"{1000 * c:.3g} ms" for c in calls)
    if found["quantum_joules"] is not None:
        yield "quantum", f"{found['quantum_joules']:g} J"
    yield "idle, loaded", f"{found['idle_watts']:.1f} W, {found['loaded_watts']:.1f} W"
    rise, fall = (1000 * found[each]["value"] for each in ("rise_seconds", "fall_seconds"))
    yield "rise, fall", f"{rise:.3g} ms, {fall:.3g} ms"
    if found["counter_to_readings"] is not None:
        yield "counter to readings", f"{100 * (found['counter_to_readings'] - 1):+.2f} %"
    even = found["even_work"]
    yield (
        "windows of even work",
        (
            f"CV {100 * even['cv']:.2g} %, autocorrelation {even['autocorrelation']:+.2f}, "
            f"{even['invalid']} invalid"
        ),
    )
    intercept = even["intercept_joules"]
    yield "2 J1 - J2", f"{intercept['value']:.2g} ± {intercept['doubt']:.2g} J"
    yield "metering a window", f"{1000 * even['cpu_seconds']:.2g} ms of CPU time"


def _suite(found: Found) -> Iterator[Row]:
    for verdict in found["verdicts"]:
        value, change = verdict.get("value"), verdict.get("change")
        told = [verdict["verdict"]]
        if value is not None:
            told.append(f"{value:.4g} {verdict.get('unit', '')}".strip())
        if change is not None:
            told.append(f"{100 * change:+.2f} %")
        windows = [
            sum(window["joules_by_domain"].values()) / window["tokens"]
            for window in verdict["windows"]
            if window["tokens"]
        ]
        told.append(f"{len(windows)} windows")
        if len(windows) > LEAST_WINDOWS:
            cv, alike = _spread(windows)
            told.append(f"CV {100 * cv:.2g} %, autocorrelation {alike:+.2f}")
        yield one_line(str(verdict["id"])), ", ".join(told)


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Coefficient of variation, and the autocorrelation at lag 1."""
    mean = fmean(values)
    off = [value - mean for value in values]
    squares = sum(each**2 for each in off) or 1.0
    alike = sum(a * b for a, b in pairwise(off)) / squares
    return stdev(values) / mean, alike


def _ab(found: Found) -> Iterator[Row]:
    outcomes = ", ".join(f"{count} {name}" for name, count in found["outcomes"].items())
    yield "verdicts on unchanged code", outcomes
    yield "pairs measured", f"{len(found['pairs'])}, of {found['tokens']:,} tokens a window"
    if found["pairs_asked"] is not None:
        yield "pairs a verdict, median", f"{found['pairs_asked']:g}"
    if found["pair_sd"] is not None:
        yield "SD of a pair", f"{100 * found['pair_sd']:.2g} %"
    yield from _invalid(found)


def _invalid(found: Found) -> Iterator[Row]:
    for reason, count in found["invalid"].items():
        yield "invalid", f"{count} x {one_line(reason)}"


def _loop(found: Found) -> Iterator[Row]:
    yield "ours", f"{found['our_tokens_per_second']:,.0f} tokens/s, {found['precision']}"
    yield "Trainer", f"{found['trainer_tokens_per_second']:,.0f} tokens/s"
    yield "ours / Trainer", f"{found['ratio']:.3f} over {found['rounds']} rounds"
    achieved = f"{found['flops_per_second'] / 1e12:,.3g} TFLOP/s of the model"
    share = found["utilisation"]
    yield "utilisation", achieved + (f", {share:.1%} of the peak" if share else "; no peak known")


def _overhead(found: Found) -> Iterator[Row]:
    yield "metered / unmetered speed", _told(found)


def _values(found: Found) -> Iterator[Row]:
    yield (
        "rounds",
        f"{found['rounds']} of {found['all']} valid, {found['tokens']:,} tokens a window",
    )
    yield from _invalid(found)
    for name in ("trained-like", "text"):
        for figure, words in (
            ("joules_per_token", "J/token"),
            ("watts", "watts"),
            ("tokens_per_second", "tokens/s"),
        ):
            yield f"{words}, {name} / seeded", _told(found[name][figure])


def _told(ratio: Found) -> str:
    if ratio["ratio"] is None:
        return "none valid"
    half = ratio["half_width"]
    width = "" if half is None else f" ± {half:.4f}"
    return f"{ratio['ratio']:.4f}{width} over {ratio['pairs']} pairs"


_ROWS: Final[dict[str, Callable[[Found], Iterator[Row]]]] = {
    "doctor": _doctor,
    "qualify": _qualify,
    "suite-1": _suite,
    "suite-2": _suite,
    "ab": _ab,
    "loop": _loop,
    "overhead": _overhead,
    "values": _values,
}


def table(results: Sequence[Found]) -> str:
    """All that was found as one Markdown table."""
    lines = ["| part | what | found |", "| --- | --- | --- |"]
    for part in results:
        for what, found in rows(part) or [("done", "")]:
            cells = (part["title"], what, found)
            lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")


def page(date: str, results: Sequence[Found]) -> str:
    """The page of what was begun on a date (ISO, UTC).

    Raises `EnergyError` without what it is drawn with.
    """
    well = sum(part["state"] == "done" for part in results)
    took = sum(part["seconds"] for part in results)
    return render_sheet(
        Sheet(
            title="Acceptance",
            headline=f"{well} of {len(results)} parts ended well",
            overline=(date[:16].replace("T", " "),),
            facts=[("took", f"{took:.0f} s"), *((p["title"], p["state"]) for p in results)],
            sections=[_section(part) for part in results],
            footer="Each part has its own file beside this page, and a log of what it said.",
        )
    )


def _section(part: Found) -> Section:
    told = TextTable(HEADINGS, rows(part))
    tables = [told] if told.rows else []
    state = part["state"]
    text = "" if state == "done" else f"This part was {state}: {part['why']}."
    if state == "failed":
        text = f"This part failed: {part['why']}."
    return Section(part["title"], text, tables, list(_charts(part)))


def _charts(part: Found) -> Iterator[Chart]:
    pairs = part["found"].get("pairs") if part["name"] == "ab" else None
    if not pairs:
        return
    numbers = list(range(1, len(pairs) + 1))
    changes = [100 * (head / base - 1) for base, head in pairs]
    hover = "pair %{x}: %{y:+.2f} %<extra></extra>"
    data = (marks("head beside base", numbers, changes, "series-1", hovertemplate=hover),)
    axes = {"xaxis": axis("pair"), "yaxis": axis("% of change", zeroline=True), "showlegend": False}
    note = "The same code on both sides: nothing should change."
    yield Chart("pairs", "Pairs of unchanged code", data, axes, note)
