"""Joules to kWh and gCO2e."""

from __future__ import annotations

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.results.footprint import footprint, intensity


def test_a_kilowatt_hour_is_3_6_megajoules() -> None:
    pytest.importorskip("codecarbon")
    cost = footprint(3.6e6, "FRA")

    assert cost.kwh == pytest.approx(1.0)
    assert cost.grams is not None
    assert 10 < cost.grams < 150  # France's grid is among the cleanest, not zero
    assert cost.source == "France, CodeCarbon's data"


def test_the_world_mean_weighs_countries_by_what_they_generate() -> None:
    pytest.importorskip("codecarbon")
    world, france = intensity(None), intensity("fra")

    assert world is not None
    assert france is not None
    assert 300 < world.grams_per_kwh < 700
    assert world.grams_per_kwh > 3 * france.grams_per_kwh


def test_an_unknown_region_is_named() -> None:
    pytest.importorskip("codecarbon")
    with pytest.raises(EnergyError, match=r"`XYZ` is no country.*`USA`"):
        footprint(1.0, "XYZ")
