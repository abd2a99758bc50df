"""Joules to kWh and gCO2e, with CodeCarbon's own figures for the grid where it is installed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Grid:
    """Carbon intensity of a grid in gCO2e a kWh, and where the figure comes from."""

    grams_per_kwh: float
    source: str


@dataclass(frozen=True)
class Footprint:
    """What some joules amount to; `grams` is None where no grid figure is at hand."""

    joules: float
    grams: float | None
    source: str

    @property
    def kwh(self) -> float:
        """Kilowatt hours (kWh)."""
        return self.joules / JOULES_PER_KWH


def footprint(joules: float, region: str | None) -> Footprint:
    """Grams of CO2e for some joules in a region (ISO 3166 alpha-3, None: the world's mean)."""
    grid = intensity(region)
    if grid is None:
        return Footprint(joules, None, "install `codecarbon` for gCO2e")
    return Footprint(joules, joules / JOULES_PER_KWH * grid.grams_per_kwh, grid.source)


def intensity(region: str | None) -> Grid | None:
    """A grid's intensity from CodeCarbon's data files; None without CodeCarbon.

    The world's mean weighs each country by the electricity it generates. Raises `EnergyError`
    for a region that the data do not know.
    """
    mix = _energy_mix()
    if mix is None:
        return None
    if region is None:
        rows = [row for row in mix.values() if row.get("total_TWh") and row.get("carbon_intensity")]
        total = sum(float(row["total_TWh"]) for row in rows)
        mean = sum(float(row["total_TWh"]) * float(row["carbon_intensity"]) for row in rows) / total
        return Grid(mean, "world mean, CodeCarbon's data")
    row = mix.get(region.upper())
    if row is None or not row.get("carbon_intensity"):
        raise EnergyError(
            f"`{region}` is no country that CodeCarbon's data know; "
            f"give an ISO 3166 code of three letters such as `USA` or `DEU`"
        )
    return Grid(float(row["carbon_intensity"]), f"{row['country_name']}, CodeCarbon's data")


def _energy_mix() -> dict[str, dict[str, Any]] | None:
    spec = util.find_spec("codecarbon")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / "private_infra" / "global_energy_mix.json"
    if not path.is_file():
        return None
    mix: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return mix
