"""Claims as rows of text: each figure beside its bounds and the paper's."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_energy.results import Comparison
from pytest_energy.results.claims import Cell, ClaimRecord, Figure, Table
from pytest_energy.units import percent, quantity

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


Row = tuple[str, str, str, str]


def side_rows(comparison: Comparison) -> list[Row]:
    """Name, base, head and change of each figure, then what differs in the environments."""
    base, head = comparison.base, comparison.head
    rows: list[Row] = [
        ("from", base.reference, head.reference, ""),
        _row("J/token", base.joules_per_token, head.joules_per_token, "J/token"),
        _row("power", base.mean_watts, head.mean_watts, "W"),
        (
            "tokens/s",
            f"{base.tokens_per_second:,.0f}",
            f"{head.tokens_per_second:,.0f}",
            _moved(base.tokens_per_second, head.tokens_per_second),
        ),
    ]
    if base.padding_overhead and head.padding_overhead:
        rows.append(_row("padding overhead", base.padding_overhead, head.padding_overhead, ""))
    names = dict.fromkeys((*base.environment, *head.environment))
    rows += [
        (name, base.environment.get(name, "none"), head.environment.get(name, "none"), "differs")
        for name in names
        if base.environment.get(name) != head.environment.get(name)
    ]
    return rows


def _row(name: str, base: float, head: float, unit: str) -> Row:
    return name, quantity(base, unit), quantity(head, unit), _moved(base, head)


def _moved(base: float, head: float) -> str:
    return percent(head / base - 1, signed=True) if base else ""


LEAST_WIDTH = 40


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
    width = max(width, LEAST_WIDTH)
    reach = max((abs(y) for _, y in points), default=0.0) or 1.0
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    labels = [f"{reach:+.3g}", "0", f"{-reach:+.3g}"]
    margin = max(map(len, labels))
    columns = width - margin - 2
    rows = height | 1  # odd, so that zero has a row
    counts = [[0] * columns for _ in range(rows)]
    for x, y in points:
        column = round((x - left) / (right - left or 1.0) * (columns - 1))
        counts[round((reach - y) / (2 * reach) * (rows - 1))][column] += 1
    shown = dict(zip((0, rows // 2, rows - 1), labels, strict=True))
    lines = [y_name]
    for number, row in enumerate(counts):
        empty = "-" if number == rows // 2 else " "
        cells = "".join(_cell(count) if count else empty for count in row)
        lines.append(f"{shown.get(number, ''):>{margin}} |{cells}".rstrip())
    low, high = f"{left:.4g}", f"{right:.4g}"
    lines.append(f"{'':>{margin}}  {low}{high:>{columns - len(low)}}")
    lines.append(f"{'':>{margin}}  {x_name:^{columns}}".rstrip())
    return "\n".join(lines)


def _cell(count: int) -> str:
    if count == 1:
        return "*"
    return str(count) if count < 10 else "+"
