"""The run's summary for the terminal, and its verdicts' windows as text; pure."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.gate.carriers import ProfileChange
from pytest_energy.reports import screen, tables, wording
from pytest_energy.reports.next_steps import next_steps
from pytest_energy.results import ComparisonRecord, RunRecord, Side, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.footprint import footprint
from pytest_energy.text import safe_line
from pytest_energy.units import percent, quantity, ratio

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

MOST_MOVED = 6
"""Operators that the terminal shows of a profile; the page and the JSON have more."""

MOST_PAIRS = 12
"""Pairs that one line shows; the JSON has them all."""


def side_by_side(record: VerdictRecord, comparison: ComparisonRecord) -> list[str]:
    """Lines with both sides' figures, the pairs' changes, and how they came about."""
    what = "settled against" if comparison.settles else "against"
    count = len(comparison.pairs)
    drift = comparison.within_pair_drift
    moved = "" if drift is None else f", second of a pair {percent(drift, signed=True)}"
    lines = [f"{record.id} {what} {comparison.reference}, {count} pairs{moved}"]
    rows = [_row(comparison.base), _row(comparison.head)]
    lines += tables.aligned(rows, right=(1, 2, 3, 4), indent=2)
    lines.append(f"  pairs {pair_changes(comparison)}")
    if comparison.between_processes is not None:
        apart = percent(round(comparison.between_processes, 4))
        lines.append(f"  processes of the same code differ by {apart} (SD)")
    if comparison.left_open is not None:
        lines.append(f"  against the baseline {wording.left_open(comparison.left_open)}")
    lines += [f"  {note}" for note in comparison.notes]
    return lines


def profile_lines(record: VerdictRecord, profile: ProfileChange) -> list[str]:
    """Lines with the time of a token by phase, and the operators that moved the most."""
    shown = tables.profile_movers(profile, wording.against(record), MOST_MOVED)
    exchanged = [f"  {name}: {text}" for name, text in wording.exchanged(profile)]
    title = f"{record.id}: time of a token under the profiler"
    return [title, *shown.lines(indent=2), *exchanged]


def pair_changes(comparison: ComparisonRecord) -> str:
    """Each pair's head against its base, `+6.1 +5.8 … %`."""
    changes = [100 * (ratio(head, base) - 1) for base, head in comparison.pairs]
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


_PLAIN_WIDTH = 130


def render(
    record: RunRecord,
    *,
    region: str | None,
    colour: bool,
    verbose: bool,
    written: Sequence[tuple[Path, str]] = (),
    arguments: Sequence[str] = (),
    typed: Callable[[str], str] = str,
) -> str:
    """The whole summary; `written` names baseline files that changed, with their diffs.

    `arguments` are pytest's, which the next command repeats; `typed` says how a test is typed.
    """
    stream = io.StringIO()
    width = shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns if colour else _PLAIN_WIDTH
    console = _console(stream, max(width, 80), colour=colour)
    say = partial(_say, console)
    if record.verdicts:
        console.print(_table(record))
    if verbose:
        for claim in record.claims:
            _print_claim(console, claim)
    elif record.claims:
        wide = _console(stream, tables.UNWRAPPED, colour=colour)
        wide.print(_claims(record.claims))
    told = [_in_full(one) for one in record.verdicts] if verbose else []
    say(*(told or screen.explained(record.verdicts)))
    for verdict in record.verdicts:
        if verdict.comparison is not None:
            say(*side_by_side(verdict, verdict.comparison))
        if verdict.profile is not None:
            say(*profile_lines(verdict, verdict.profile))
    if not verbose:
        say(*screen.doubts(record))
    for warning in (wording if verbose else screen).warnings(record):
        say(f"warning: {warning}")
    for text in record.data:
        say(f"data: {text}")
    for path, diff in written:
        if diff:
            say("", f"{os.path.relpath(path)} changed; read it, then commit it:")
            say(*diff.split("\n"))
    say(wording.cost(record, footprint(record.cost.joules, region)))
    if record.wall_joules is not None:
        say(f"at the wall about {record.wall_joules:,.0f} J")
    if verbose and record.idle_watts is not None:
        say(f"idle before the first test: {quantity(record.idle_watts, 'W')}")
    for number, step in enumerate(next_steps(record, written, arguments, typed)):
        say(f"{'  or' if number else 'next'}: {step}")
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n")).strip("\n")


def _console(stream: io.StringIO, width: int, *, colour: bool) -> Console:
    """What writes into `stream`; its lines are folded at that many columns."""
    from rich.console import Console

    return Console(
        file=stream,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
    )


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(safe_line(line), markup=False, soft_wrap=True)


def _coloured(outcome: str, caveat: str = "") -> Text:
    from rich.text import Text

    return Text(outcome, style=wording.look(outcome).colour).append(caveat, style="default")


def _table(record: RunRecord) -> Table:
    verdicts = record.verdicts
    partly = any(wording.trained(verdict) for verdict in verdicts)
    added = ["trained parameters"] if partly else []
    rows: list[tuple[str | Text, ...]] = [
        (
            *wording.cells(verdict),
            *([wording.trained(verdict)] if partly else []),
            _coloured(verdict.outcome, wording.caveat(verdict)),
        )
        for verdict in verdicts
    ]
    headings = ("benchmark", "value", wording.held_against(record), "change", *added, "verdict")
    return tables.rich_table(headings, rows, right=range(1, 4 + len(added)), fold=(0,), ruled=True)


def _in_full(verdict: VerdictRecord) -> str:
    """All that is known of a verdict."""
    net = wording.shown(verdict, verdict.net_value)
    return screen.sentence(verdict) + (f" (net of idle {net})" if net else "")


def _claims(claims: Sequence[ClaimRecord]) -> Table:
    """A line for each claim."""
    rows = [
        (_coloured(outcome, caveat), figure, text)
        for outcome, caveat, figure, text in screen.claims(claims)
    ]
    return tables.rich_table(("outcome", "figure", "claim"), rows)


def _print_claim(console: Console, claim: ClaimRecord) -> None:
    modelled = " (modelled)" if claim.method == "modelled" else ""
    _say(console, f"{claim.claim}{modelled}")
    figures = tables.figures(claim)
    rows: list[tuple[str | Text, ...]]
    rows = [(*cells, _coloured(outcome)) for *cells, outcome in figures.rows]
    if rows:
        console.print(tables.rich_table(figures.headings, rows, fold=range(5), ruled=True))
    for one in map(tables.noted, claim.tables):
        _say(console, one.title, *one.lines(), "")
