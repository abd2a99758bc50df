"""What real cards showed of their counter and their power reading, as a table.

Their looks are stored beside the tests; how they were taken is told in `docs/results-h200.md`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from pytest_energy.qualify import Figure
from recorded_cards import CARDS, Recorded, recorded


def main() -> None:
    """Print a row for each quantity, with a column for each card."""
    found = [recorded(name) for name in CARDS]
    print(
        "| | "
        + " | ".join(f"{each.card} ({name})" for name, each in zip(CARDS, found, strict=True))
        + " |"
    )
    print("| --- |" + " --- |" * len(found))
    for quantity, *cells in zip(*map(_rows, found), strict=True):
        print(f"| {quantity[0]} | " + " | ".join((quantity[1], *(c[1] for c in cells))) + " |")


def _rows(card: Recorded) -> list[tuple[str, str]]:
    counter, readings = card.counter, card.readings
    echoed = "cannot be told" if card.echoed is None else f"{card.echoed:.2f}"
    scatter = ", ".join(f"{100 * each.seen:.0f} %" for each in card.beats)
    explained = ", ".join(f"{100 * each.if_all_seen:.0f} %" for each in card.beats)
    return [
        ("call of the counter, median", f"{1000 * card.energy_call_seconds:.2f} ms"),
        ("call of the power reading, median", f"{1000 * card.power_call_seconds:.3f} ms"),
        ("counter: quantum", f"{card.quantum_joules:g} J"),
        ("counter: period", _ms(counter.period_seconds, 4)),
        ("counter: window", _ms(counter.window_seconds)),
        ("counter: lag", _ms(counter.lag_seconds)),
        ("power reading: period", _ms(readings.period_seconds)),
        ("power reading: window", _ms(readings.window_seconds)),
        ("power reading: lag", _ms(readings.lag_seconds)),
        ("power: rise", _ms(card.response.rise_seconds)),
        ("power: fall", _ms(card.response.fall_seconds)),
        ("square loads: scatter of the counter's power, as a share of the swing", scatter),
        ("the same, if all were seen", explained),
        ("even work: counter apart from the readings, of their scatter", echoed),
        ("what feeds the counter", card.feed),
    ]


def _ms(figure: Figure, places: int = 1) -> str:
    return f"{1000 * figure:.{places}f} ± {1000 * figure.doubt:.{places}f} ms"


if __name__ == "__main__":
    main()
