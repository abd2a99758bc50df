"""Claims as rows of text: each figure beside its bounds and the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_energy.claims import Cell, ClaimRecord, Figure, Table
from pytest_energy.units import quantity

_OUTCOMES = {True: "holds", False: "fails", None: "measured"}
_SHOWN_WHOLE = 1e4


def figure_rows(claim: ClaimRecord) -> list[tuple[str, str, str, str, str]]:
    """For each figure its name, value, bounds, the paper's figure, and whether it holds."""
    return [
        (figure.name, value(figure), bounds(figure), figure.paper or "", _OUTCOMES[figure.holds])
        for figure in claim.figures
    ]


def value(figure: Figure) -> str:
    """The figure with its 95 % interval, where it has one; the unit once, where that will do."""
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
    """What the figure must keep, such as `>= 0.99`; empty where it is only shown."""
    parts = []
    if figure.at_least is not None:
        parts.append(f">= {quantity(figure.at_least, figure.unit)}")
    if figure.at_most is not None:
        parts.append(f"<= {quantity(figure.at_most, figure.unit)}")
    return ", ".join(parts)


def cell(content: Cell) -> str:
    """A table's cell as text: four significant digits or whole, `-` where there is nothing."""
    if content is None:
        return "-"
    if isinstance(content, str):
        return content
    whole = isinstance(content, int) or abs(content) >= _SHOWN_WHOLE
    return f"{content:,.0f}" if whole else f"{content:.4g}"


def table_text(table: Table) -> str:
    """A table in plain characters: texts to the left, numbers to the right."""
    rows = [table.columns, *(tuple(cell(c) for c in row) for row in table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    numeric = [is_numeric(table.rows, i) for i in range(len(table.columns))]
    lines = [
        "  ".join(
            f"{text:>{width}}" if right else f"{text:<{width}}"
            for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([table.title, *lines])


def is_numeric(rows: Sequence[Sequence[Cell]], column: int) -> bool:
    """Whether a column holds numbers."""
    return any(not isinstance(row[column], (str, type(None))) for row in rows)
