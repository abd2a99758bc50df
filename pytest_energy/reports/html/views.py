"""A change drawn beside its figure: where it lies between what is allowed and what is caught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_energy.metering import Window
from pytest_energy.reports import wording
from pytest_energy.reports.html.charts import Chart, claim_chart, pairs_chart, power_chart
from pytest_energy.reports.html.gate_chart import gate_chart
from pytest_energy.reports.tables import cell, figure_rows, is_numeric, side_rows
from pytest_energy.results import Comparison, RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.units import difference, percent, quantity

_EDGE = 1.6
"""Times `detect` that the gauge reaches to; what lies farther out sits at its end."""


@dataclass(frozen=True)
class Gauge:
    """Places on the gauge in per cent of its width: the allowed band, and the change."""

    allowed_left: float
    allowed_width: float
    at: float


def gauge(verdict: VerdictRecord) -> Gauge | None:
    """The gauge of a change; None where there is none, or no levels to hold it against."""
    change, tolerance, detect = verdict.change, verdict.tolerance, verdict.detect
    if change is None or tolerance is None or not detect:
        return None
    reach = _EDGE * detect
    half = min(50.0, 50 * tolerance / reach)
    at = 50 + 50 * max(-1.0, min(1.0, change / reach))
    return Gauge(round(50 - half, 2), round(2 * half, 2), round(at, 2))


@dataclass(frozen=True)
class TableView:
    """A table; `numeric` says of each column whether its cells are aligned as numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


@dataclass(frozen=True)
class VerdictView:
    """A verdict's row, and what opens below it."""

    key: str
    name: str
    outcome: str
    caveat: str
    fails: bool
    value: str
    baseline: str
    change: str
    gauge: Gauge | None
    reason: str
    explained: bool
    facts: tuple[tuple[str, str], ...]
    charts: tuple[Chart, ...]
    tables: tuple[TableView, ...]


@dataclass(frozen=True)
class ClaimView:
    """A claim with its figures, tables and plots."""

    claim: str
    outcome: str
    modelled: bool
    reason: str
    figures: TableView | None
    tables: tuple[TableView, ...]
    charts: tuple[Chart, ...]


def verdict_view(verdict: VerdictRecord, run: RunRecord, key: str) -> VerdictView:
    """All that the page says of one verdict; `key` begins the names of its charts."""
    return VerdictView(
        key=key,
        name=wording.name(verdict),
        outcome=verdict.outcome,
        caveat=wording.caveat(verdict),
        fails=verdict.fails,
        value=wording.value(verdict),
        baseline=wording.baseline(verdict),
        change=wording.change(verdict),
        gauge=gauge(verdict),
        reason=wording.reason(verdict),
        explained=verdict.outcome in wording.EXPLAINED,
        facts=tuple(_facts(verdict)),
        charts=tuple(_charts(verdict, run, key)),
        tables=tuple(_tables(verdict)),
    )


def claim_view(claim: ClaimRecord, key: str) -> ClaimView:
    """All that the page says of one claim."""
    figures = None
    if claim.figures:
        headings = ("figure", "value", "claimed", "paper", "outcome")
        numeric = (False, True, True, False, False)
        figures = TableView("", headings, tuple(figure_rows(claim)), numeric)
    return ClaimView(
        claim=claim.claim,
        outcome=claim.outcome,
        modelled=claim.method == "modelled",
        reason=claim.reason,
        figures=figures,
        tables=tuple(
            TableView(
                one.title,
                one.columns,
                tuple(tuple(cell(content) for content in row) for row in one.rows),
                tuple(is_numeric(one.rows, i) for i in range(len(one.columns))),
            )
            for one in claim.tables
        ),
        charts=tuple(claim_chart(p, f"{key}-{i}") for i, p in enumerate(claim.plots)),
    )


def environment_changes(run: RunRecord) -> TableView | None:
    """What differs from the baselines' environments, each difference once."""
    rows = dict.fromkeys(
        (name, then or "none", now or "none")
        for verdict in run.verdicts
        for name, (then, now) in verdict.changed_environment.items()
    )
    if not rows:
        return None
    return TableView("", ("", "baseline", "now"), tuple(rows), (False, False, False))


def _facts(verdict: VerdictRecord) -> list[tuple[str, str]]:
    unit = verdict.unit
    found = [("test", verdict.nodeid), ("metric", verdict.metric), ("joules", verdict.method)]
    if verdict.tolerance is not None and verdict.outcome not in ("measured", "recorded"):
        found.append(("allowed", difference(verdict.tolerance, unit, signed=False)))
        if verdict.detect is not None:
            found.append(("must be caught", difference(verdict.detect, unit, signed=False)))
    if verdict.net_value is not None:
        found.append(("net of idle", quantity(verdict.net_value, unit)))
    if verdict.workload:
        found.append(("workload", verdict.workload))
    if verdict.parameters:
        trained, total = verdict.parameters
        found.append(("trains", f"{trained:,} of {total:,} parameters"))
    if verdict.comparison is not None:
        found += _comparison_facts(verdict.comparison)
    if verdict.warning:
        found.append(("warning", verdict.warning))
    return [(name, text) for name, text in found if text]


def _comparison_facts(comparison: Comparison) -> list[tuple[str, str]]:
    what = "settled against" if comparison.settles else "compared with"
    found = [(what, comparison.reference)]
    if comparison.within_pair_drift is not None:
        moved = percent(comparison.within_pair_drift, signed=True)
        found.append(("second window of a pair", moved))
    return found + [("note", note) for note in comparison.notes]


def _charts(verdict: VerdictRecord, run: RunRecord, key: str) -> list[Chart]:
    found = [gate_chart(verdict, f"{key}-gate")]
    if verdict.comparison is not None:
        found.append(pairs_chart(verdict.comparison, verdict.unit, f"{key}-pairs"))
    found += [
        power_chart(verdict.windows, run.hardware.get("devices", ()), f"{key}-power"),
    ]
    return [chart for chart in found if chart is not None]


def _tables(verdict: VerdictRecord) -> list[TableView]:
    tables = [_sides(verdict.comparison)] if verdict.comparison else []
    return [*tables, _windows(verdict.windows)] if verdict.windows else tables


def _windows(windows: Sequence[Window]) -> TableView:
    several = len({window.name for window in windows}) > 1
    headings: tuple[str, ...] = ("window", "J", "± J", "s", "W", "mJ/token", "tokens/s", "")
    rows: tuple[tuple[str, ...], ...] = tuple(
        (
            f"{number}  {window.name}" if several else str(number),
            f"{window.joules:,.3f}",
            f"{window.uncertainty_joules:,.3f}",
            f"{window.seconds:.2f}",
            f"{window.mean_watts:.1f}" if window.seconds > 0 else "",
            f"{1000 * window.joules_per_token:#.4g}" if window.tokens else "",
            f"{window.tokens_per_second:,.0f}" if window.tokens and window.seconds > 0 else "",
            f"invalid: {window.invalid_reason}" if window.invalid_reason else "",
        )
        for number, window in enumerate(windows, start=1)
    )
    if not any(row[-1] for row in rows):
        headings, rows = headings[:-1], tuple(row[:-1] for row in rows)
    return TableView("Windows", headings, rows, (False, *[True] * 6, False))


def _sides(comparison: Comparison) -> TableView:
    rows = tuple(side_rows(comparison))
    headings = ("", "base", "head", "change")
    return TableView("Base and head", headings, rows, (False, True, True, True))
