"""An A/B comparison as rows of text: both sides beside each other."""

from __future__ import annotations

from pytest_energy.records import Comparison
from pytest_energy.units import percent, quantity

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
