"""Figures as a person reads them."""

from __future__ import annotations

import pytest

from pytest_energy.units import difference, percent, quantity, quantity_with_uncertainty, unbroken


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00512, "J/token", "5.120 mJ/token"),
        (0.000812345, "J/token", "812.3 µJ/token"),
        (9.99996e-4, "J/token", "1.000 mJ/token"),
        (999.96, "J", "1.000 kJ"),
        (123.456, "J", "123.5 J"),
        (0.0, "J", "0 J"),
        (300.0, "W", "300.0 W"),
        (12.3456, "kg", "12.35 kg"),
        (0.4812, "fraction", "48.1 %"),
        (-0.002, "J", "-2.000 mJ"),
    ],
)
def test_quantities(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_a_quantity_and_its_half_width_share_a_prefix() -> None:
    assert quantity_with_uncertainty(0.00512, 0.0000141, "J/token") == "5.120 ± 0.014 mJ/token"
    assert quantity_with_uncertainty(0.5, 0.012, "fraction") == "50.0 ± 1.2 %"


def test_changes() -> None:
    assert percent(0.02) == "2 %"
    assert percent(0.0253) == "2.53 %"
    assert percent(0.041, signed=True) == "+4.1 %"
    assert percent(-0.0001, signed=True) == "+0.0 %"
    assert difference(-0.06, "J/token") == "-6.0 %"
    assert difference(0.01, "fraction", signed=False) == "1 point"
    assert difference(-0.03, "fraction") == "-3.0 points"


def test_a_figure_and_its_unit_stay_on_one_line() -> None:
    text = "uses 5.120 ± 0.014 mJ/token, +6.2 % or 1.3 points; see `-k 5 J` in 3 steps of 2 s"

    assert unbroken(text).replace("\u00a0", "~") == (
        "uses 5.120~±~0.014~mJ/token, +6.2~% or 1.3~points; see `-k 5 J` in 3 steps of 2~s"
    )
