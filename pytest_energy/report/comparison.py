"""Base and head side by side, as text; pure."""

from __future__ import annotations

from pytest_energy.records import Comparison, Side, VerdictRecord
from pytest_energy.units import percent, quantity

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
