"""Tables of every report: their rows as text, and rows, or points, for the terminal."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_energy.gate.carriers import ProfileChange
from pytest_energy.gate.carriers import Row as Part
from pytest_energy.metering import Window
from pytest_energy.reports import wording
from pytest_energy.results import ComparisonRecord, RunRecord
from pytest_energy.results.claims import Cell, ClaimRecord, Figure, Table
from pytest_energy.text import safe_line
from pytest_energy.units import percent, quantity

if TYPE_CHECKING:
    import rich.table
    from rich.text import Text

_SHOWN_WHOLE = 1e4
UNWRAPPED = 100_000
"""Columns of a terminal on which no line is too long."""


def rich_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Collection[int] = (),
    fold: Collection[int] = (),
    ruled: bool = False,
) -> rich.table.Table:
    """A table of texts, safe to show; columns `right` are aligned as numbers, `fold` may narrow.

    One with a rule below its headings is for reports; without, columns are two blanks apart.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    style = box.SIMPLE_HEAD if ruled else None
    padding = (0, 1) if ruled else (0, 2, 0, 0)
    table = Table(box=style, padding=padding, pad_edge=False, show_edge=False)
    table.show_header = any(headings)
    # As text: names of tests may hold brackets, which rich would take for markup.
    for number, heading in enumerate(headings):
        table.add_column(
            Text(safe_line(heading)),
            justify="right" if number in right else "left",
            no_wrap=number not in fold,
            overflow="fold",
        )
    for row in rows:
        cells = (Text(safe_line(one)) if isinstance(one, str) else one for one in row)
        table.add_row(*cells)
    return table


def aligned(
    rows: Sequence[Sequence[str]],
    headings: Sequence[str] = (),
    *,
    right: Collection[int] = (),
    indent: int = 0,
) -> list[str]:
    """A line for each row, and for the headings: columns in plain characters, never wrapped."""
    from rich.console import Console

    if not rows and not headings:
        return []
    # Not the terminal's own: a dumb one would have 80 columns, and what is longer would be cut.
    console = Console(file=io.StringIO(), force_terminal=False, width=UNWRAPPED, color_system=None)
    with console.capture() as captured:
        console.print(rich_table(headings or [""] * len(rows[0]), rows, right=right))
    return [" " * indent + line.rstrip() for line in captured.get().splitlines()]


@dataclass(frozen=True)
class TextTable:
    """A table of texts for any report; `right` are the columns of numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Collection[int] = ()
    title: str = ""

    def lines(self, indent: int = 0) -> list[str]:
        """The table in plain characters, as of `aligned`."""
        return aligned(self.rows, self.headings, right=self.right, indent=indent)


def figures(claim: ClaimRecord) -> TextTable:
    """For each figure its name, value, bounds, the paper's figure, and whether it holds."""
    rows = [
        (figure.name, value(figure), bounds(figure), figure.paper or "", figure.outcome)
        for figure in claim.figures
    ]
    return TextTable(("figure", "value", "claimed", "paper", "outcome"), rows, right=(1, 2))


def value(figure: Figure) -> str:
    """The figure with its 95 % interval, if it has one; the unit once, if that will do."""
    if figure.value is None:
        return "-"
    shown = quantity(figure.value, figure.unit)
    if figure.low is None or figure.high is None:
        return shown
    low, high = quantity(figure.low, figure.unit), quantity(figure.high, figure.unit)
    parts = [text.partition(" ") for text in (shown, low, high)]
    number, least, most = (number for number, _, _ in parts)
    if len({unit for _, _, unit in parts}) > 1:
        return f"{shown} ({low} to {high})"
    return f"{number} ({least} to {most}) {parts[0][2]}".rstrip()


def bounds(figure: Figure) -> str:
    """What the figure must keep, such as `>= 0.99`; empty if it is only shown."""
    both = ((">=", figure.at_least), ("<=", figure.at_most))
    return ", ".join(f"{sign} {quantity(at, figure.unit)}" for sign, at in both if at is not None)


def cell(content: Cell) -> str:
    """A table's cell as text: four significant digits or whole, `-` if there is nothing."""
    if content is None:
        return "-"
    if isinstance(content, str):
        return content
    whole = isinstance(content, int) or abs(content) >= _SHOWN_WHOLE
    return f"{content:,.0f}" if whole else f"{content:.4g}"


def noted(table: Table) -> TextTable:
    """A table that a claim has noted; columns with a number in them are columns of numbers."""
    rows = [[cell(content) for content in row] for row in table.rows]
    right = [
        number
        for number in range(len(table.columns))
        if any(not isinstance(row[number], (str, type(None))) for row in table.rows)
    ]
    return TextTable(table.columns, rows, right, table.title)


def sides(comparison: ComparisonRecord) -> TextTable:
    """Name, base, head and change of each figure, then what differs in the environments."""
    base, head = comparison.base, comparison.head
    speeds = base.tokens_per_second, head.tokens_per_second
    rows = [
        ("from", base.reference, head.reference, ""),
        _row("J/token", base.joules_per_token, head.joules_per_token, "J/token"),
        _row("power", base.mean_watts, head.mean_watts, "W"),
        ("tokens/s", *(f"{speed:,.0f}" for speed in speeds), _moved(*speeds)),
    ]
    if base.padding_overhead and head.padding_overhead:
        rows.append(_row("padding overhead", base.padding_overhead, head.padding_overhead, ""))
    names = dict.fromkeys((*base.environment, *head.environment))
    rows += [
        (name, base.environment.get(name, "none"), head.environment.get(name, "none"), "differs")
        for name in names
        if base.environment.get(name) != head.environment.get(name)
    ]
    return TextTable(("", "base", "head", "change"), rows, (1, 2, 3), "Base and head")


def profile_tables(
    profile: ProfileChange, sides: tuple[str, str] = ("base", "head")
) -> list[TextTable]:
    """The time of a token by phase, operator, module and kernel; those that there are."""
    tables = []
    for what in ("phase", "operator", "module", "kernel"):
        headings = [what, *(f"{side}, µs" for side in sides), "change", "points", "calls a step"]
        rows = [_profile_row(row, profile) for row in getattr(profile, f"{what}s")]
        width = 6 if any(row[5] for row in rows) else 5
        if rows:
            title = f"Time of a token by {what}, under the profiler"
            cut = [row[:width] for row in rows]
            tables.append(TextTable(headings[:width], cut, range(1, width), title))
    return tables


def profile_movers(profile: ProfileChange, sides: tuple[str, str], most: int) -> TextTable:
    """The phases, then the operators whose time has moved the most."""
    moved = sorted(profile.operators, key=lambda row: -abs(row.moved))[:most]
    rows = [_profile_row(row, profile)[:5] for row in (*profile.phases, *moved)]
    headings = ("", *(f"{side}, µs" for side in sides), "change", "points")
    return TextTable(headings, rows, range(1, 5))


def _profile_row(row: Part, profile: ProfileChange) -> tuple[str, ...]:
    points = f"{round(100 * row.moved / profile.base, 1) + 0.0:+.1f}"
    calls = ""
    if row.base_calls is not None and row.head_calls is not None:
        then, now = f"{row.base_calls:.4g}", f"{row.head_calls:.4g}"
        calls = then if then == now else f"{then} -> {now}"
    return (
        row.name,
        f"{1e6 * row.base:,.3f}",
        f"{1e6 * row.head:,.3f}",
        _moved(row.base, row.head),
        points,
        calls,
    )


def _row(name: str, base: float, head: float, unit: str) -> tuple[str, str, str, str]:
    return name, quantity(base, unit), quantity(head, unit), _moved(base, head)


def _moved(base: float, head: float) -> str:
    return percent(head / base - 1, signed=True) if base else ""


def each_window(windows: Sequence[Window]) -> TextTable:
    """A row for each window; named if there are several names."""
    several = len({window.name for window in windows}) > 1
    rows = [
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
    ]
    columns = 8 if any(row[-1] for row in rows) else 7
    headings = ("window", "J", "± J", "s", "W", "mJ/token", "tokens/s", "")
    shown = [row[:columns] for row in rows]
    return TextTable(headings[:columns], shown, range(1, 7), "Windows")


def windows_table(windows: Sequence[Window]) -> str:
    """Windows as text, one line each."""
    return "\n".join(each_window(windows).lines(indent=2))


def changed_environment(record: RunRecord) -> TextTable:
    """What differs from the other environments: name, then and now, each once."""
    rows = (
        (name, then or "none", now or "none")
        for verdict in record.verdicts
        for name, (then, now) in verdict.changed_environment.items()
    )
    return TextTable(("", wording.held_against(record), "now"), list(dict.fromkeys(rows)))


LEAST_PLOT_WIDTH = 40


def scatter(
    points: Sequence[tuple[float, float]],
    *,
    x_name: str,
    y_name: str,
    width: int = 72,
    height: int = 11,
) -> str:
    """Plot points (x, y) about y = 0, `height` rows high and no line wider than `width`.

    A cell shows how many points fall in it, from 2 on; `*` is one, `+` more than nine.
    """
    width = max(width, LEAST_PLOT_WIDTH)
    reach = max((abs(y) for _, y in points), default=0.0) or 1.0
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    rows = height | 1  # odd, so that zero has a row
    labels = {0: f"{reach:+.3g}", rows // 2: "0", rows - 1: f"{-reach:+.3g}"}
    margin = max(map(len, labels.values()))
    columns = width - margin - 2
    counts = [[0] * columns for _ in range(rows)]
    for x, y in points:
        column = round((x - left) / (right - left or 1.0) * (columns - 1))
        counts[round((reach - y) / (2 * reach) * (rows - 1))][column] += 1
    lines = [y_name]
    for number, row in enumerate(counts):
        empty = "-" if number == rows // 2 else " "
        marks = [empty, "*", *"23456789"]
        cells = "".join(marks[count] if count < 10 else "+" for count in row)
        lines.append(f"{labels.get(number, ''):>{margin}} |{cells}".rstrip())
    low, high = f"{left:.4g}", f"{right:.4g}"
    lines.append(f"{'':>{margin}}  {low}{high:>{columns - len(low)}}")
    lines.append(f"{'':>{margin}}  {x_name:^{columns}}".rstrip())
    return "\n".join(lines)
