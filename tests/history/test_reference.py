"""What the reference load says of a change: planted in the figure, in the load, or in both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planted import Day, changed, days, series
from pytest_energy.history import Series
from pytest_energy.history.drift import report
from pytest_energy.results import REFERENCE_LOAD


def load(sessions: list[Day], hardware: str = "h200") -> Series:
    return replace(
        series(sessions), metric=REFERENCE_LOAD, id="reference-load/1", unit="J", hardware=hardware
    )


def reason(figure: Series, *loads: Series) -> str:
    found = next(one for one in report([figure, *loads]).series if one.series.id == figure.id)
    (change,) = found.change_points
    return change.reason or ""


FIGURE = series(changed(days(120), 70, 1.03))


def test_a_card_that_costs_more_is_told_from_the_code() -> None:
    said = reason(FIGURE, load(changed(days(120, seed=2, noise=0.002), 70, 1.024)))

    assert said.endswith("more as well: the card, not the code.")
    assert "The reference load takes 2." in said


def test_a_load_that_stays_clears_the_card() -> None:
    said = reason(FIGURE, load(days(120, seed=2, noise=0.002)))
    assert "The reference load takes as much as before (0." in said
    assert said.endswith(": not the card.")


def test_a_load_that_moves_less_has_a_part_in_it() -> None:
    said = reason(FIGURE, load(changed(days(120, seed=2, noise=0.001), 70, 1.01)))
    assert said.endswith("more as well: the card has a part in it.")


def test_a_processor_is_a_machine() -> None:
    figure = replace(FIGURE, hardware="cpu")
    moved = changed(days(120, seed=2, noise=0.002), 70, 1.03)
    assert reason(figure, load(moved, "cpu")).endswith("as well: the machine, not the code.")


@pytest.mark.parametrize(
    "other",
    [
        load(days(120, seed=2, noise=0.05)),  # too restless to tell
        load(days(72, seed=2)),  # two sessions after the change
        load(days(120, seed=2), "a100"),
        load([replace(day, device="GPU-b") for day in days(120, seed=2)]),
    ],
)
def test_a_load_that_cannot_tell_says_nothing(other: Series) -> None:
    assert "reference load" not in reason(FIGURE, other)
