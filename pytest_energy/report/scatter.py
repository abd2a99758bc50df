"""A scatter plot in plain characters, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence

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
