"""Base and head side by side, as text; pure."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.reports import wording
from pytest_energy.reports.next_command import next_command
from pytest_energy.reports.tables import figure_rows, table_text
from pytest_energy.results import Comparison, RunRecord, Side, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.footprint import footprint
from pytest_energy.units import percent, quantity

if TYPE_CHECKING:
    from rich.console import Console


MOST_PAIRS = 12
"""Pairs that one line shows; the JSON has them all."""


def side_by_side(record: VerdictRecord, comparison: Comparison) -> list[str]:
    """Lines with both sides' figures, the pairs' changes, and how they came about."""
    what = "settled against" if comparison.settles else "against"
    count = len(comparison.pairs)
    drift = comparison.within_pair_drift
    moved = "" if drift is None else f", second of a pair {percent(drift, signed=True)}"
    lines = [f"{record.id} {what} {comparison.reference}, {count} pairs{moved}"]
    rows = [_row(comparison.base), _row(comparison.head)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for name, *figures, reference in rows:
        cells = [cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=False)]
        lines.append("  ".join([f"  {name}", *cells, reference]))
    lines.append(f"  pairs {pair_changes(comparison)}")
    lines += [f"  {note}" for note in comparison.notes]
    return lines


def pair_changes(comparison: Comparison) -> str:
    """Each pair's head against its base, `+6.1 +5.8 … %`."""
    changes = [100 * (head / base - 1) for base, head in comparison.pairs]
    shown = " ".join(f"{round(change, 1) + 0.0:+.1f}" for change in changes[:MOST_PAIRS])
    more = len(changes) - MOST_PAIRS
    return f"{shown} %" if more <= 0 else f"{shown} % and {more} more"


def _row(side: Side) -> list[str]:
    overhead = side.padding_overhead
    return [
        side.name,
        quantity(side.joules_per_token, "J/token"),
        quantity(side.mean_watts, "W"),
        f"{side.tokens_per_second:,.0f} tokens/s",
        "" if overhead is None else f"padding x {overhead:.2f}",
        side.reference,
    ]


_COLOURS = {
    "within": "green",
    "recorded": "cyan",
    "measured": "default",
    "regression": "red",
    "improvement": "magenta",
    "inconclusive": "yellow",
    "invalid": "red",
    "missing": "red",
}
_PLAIN_WIDTH = 130


def render(
    record: RunRecord,
    *,
    region: str | None,
    colour: bool,
    verbose: bool,
    written: Sequence[tuple[Path, str]] = (),
    arguments: Sequence[str] = (),
) -> str:
    """The whole summary; `written` names baseline files that changed, with their diffs.

    `arguments` are pytest's, which the next command repeats.
    """
    from rich.console import Console

    stream = io.StringIO()
    width = shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns if colour else _PLAIN_WIDTH
    console = Console(
        file=stream,
        width=max(width, 80),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
    )
    if record.verdicts:
        console.print(_table(record.verdicts))
    for claim in record.claims:
        _print_claim(console, claim)
    for verdict in record.verdicts:
        # A failed test has said its sentence above; what only informs says it here.
        explained = verdict.outcome in wording.EXPLAINED or verdict.comparison is not None
        if verbose or (explained and not verdict.fails):
            net = f" {_net(verdict)}" if verbose and verdict.net_value is not None else ""
            text = f"{wording.name(verdict)}: {verdict.outcome}. {wording.reason(verdict)}{net}"
            console.print(text, markup=False, soft_wrap=True)
        if verdict.comparison is not None:
            lines = side_by_side(verdict, verdict.comparison)
            console.print("\n".join(lines), markup=False, soft_wrap=True)
    for warning in wording.warnings(record):
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
    for path, diff in written:
        if diff:
            short = os.path.relpath(path)
            console.print(f"\n{short} changed; read it, then commit it:", markup=False)
            console.print(diff, markup=False, soft_wrap=True)
    cost = wording.cost(record, footprint(record.cost.joules, region))
    console.print(cost, markup=False)
    if record.wall_joules is not None:
        console.print(f"at the wall about {record.wall_joules:,.0f} J", markup=False)
    if verbose and record.idle_watts is not None:
        text = f"idle before the first test: {quantity(record.idle_watts, 'W')}"
        console.print(text, markup=False)
    following = next_command(record, written, arguments)
    if following:
        console.print(f"next: {following}", markup=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()).strip("\n")


def sentence(record: VerdictRecord) -> str:
    """A verdict in a few words, for a line of its own."""
    parts = [wording.value(record), wording.change(record), record.outcome]
    return "  ".join(part for part in parts if part)


def windows_table(record: VerdictRecord) -> str:
    """The windows of a verdict, one line each."""
    lines = [f"{'window':>8}{'J':>12}{'± J':>9}{'s':>8}{'W':>8}{'mJ/token':>11}{'tokens/s':>11}"]
    for number, window in enumerate(record.windows, start=1):
        line = (
            f"{number:>8}{window.joules:>12.3f}{window.uncertainty_joules:>9.3f}"
            f"{window.seconds:>8.2f}{window.mean_watts:>8.1f}"
        )
        if window.tokens:
            line += f"{1000 * window.joules_per_token:>11.4g}{window.tokens_per_second:>11,.0f}"
        lines.append(line + ("" if window.valid else f"  invalid: {window.invalid_reason}"))
    return "\n".join(lines)


def _table(verdicts: Sequence[VerdictRecord]) -> object:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("benchmark", overflow="fold")
    for heading in ("value", "baseline", "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    partly = any(wording.trained(verdict) for verdict in verdicts)
    if partly:
        table.add_column("trained parameters", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for verdict in verdicts:
        # As text: names of tests may hold brackets, which rich would take for markup.
        outcome = Text(verdict.outcome, style=_COLOURS.get(verdict.outcome, "default"))
        table.add_row(
            Text(wording.name(verdict)),
            Text(wording.value(verdict)),
            Text(wording.baseline(verdict)),
            Text(wording.change(verdict)),
            *([Text(wording.trained(verdict))] if partly else []),
            outcome.append(wording.caveat(verdict), style="default"),
        )
    return table


def _print_claim(console: Console, claim: ClaimRecord) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    modelled = " (modelled)" if claim.method == "modelled" else ""
    console.print(f"{claim.claim}{modelled}", markup=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("figure", "value", "claimed", "paper", "outcome"):
        table.add_column(heading, overflow="fold", justify="left")
    for *cells, outcome in figure_rows(claim):
        colour = _COLOURS[{"holds": "within", "fails": "regression"}.get(outcome, "measured")]
        table.add_row(*map(Text, cells), Text(outcome, style=colour))
    if claim.figures:
        console.print(table)
    for one in claim.tables:
        console.print(f"{table_text(one)}\n", markup=False, soft_wrap=True)


def _net(verdict: VerdictRecord) -> str:
    return f"(net of idle {wording.shown(verdict, verdict.net_value)})"
