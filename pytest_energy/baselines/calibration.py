"""From device joules to joules at the wall: offset and slope, fitted to paired windows; pure."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_energy.documents import Positive, PositiveCount
from pytest_energy.errors import EnergyError
from pytest_energy.stats.distributions import line

if TYPE_CHECKING:
    from pytest_energy.metering.hardware import Hardware


LEAST_PAIRS = 3
LEAST_SPREAD = 0.05
"""Device watts must range over this share of their largest, or a line through them says nothing."""


@dataclass(frozen=True)
class Calibration:
    """Wall watts = `offset_watts` + `slope` x device watts; 95 % intervals of both (low, high).

    The offset is what the rest of the machine draws at the wall; the slope is the power-loss
    coefficient. `residuals` (W, wall less fit) belong to the pairs in order; none once stored.
    """

    offset_watts: float
    slope: float
    offset_interval: tuple[float, float]
    slope_interval: tuple[float, float]
    r_squared: float
    count: int
    residuals: tuple[float, ...] = ()

    def wall_joules(self, joules: float, seconds: float) -> float:
        """Joules at the wall (J) for a device's joules over so many seconds."""
        return self.offset_watts * seconds + self.slope * joules


def fit(pairs: Sequence[tuple[float, float]]) -> Calibration:
    """Least squares through (device watts, wall watts), intervals by Student's t.

    Raises `EnergyError` for fewer than three pairs, figures that are no watts, or no spread.
    """
    if len(pairs) < LEAST_PAIRS:
        raise EnergyError(
            f"{len(pairs)} pairs make no calibration; measure at least {LEAST_PAIRS}, at "
            f"several loads"
        )
    if not all(math.isfinite(watts) and watts >= 0 for pair in pairs for watts in pair):
        raise EnergyError("`pairs` hold a figure that is no number of watts from 0; drop that pair")
    device, wall = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if max(device) - min(device) <= LEAST_SPREAD * max(device):
        raise EnergyError(
            f"device watts have no spread ({min(device):.4g} to {max(device):.4g} W), so they fix "
            "no slope; pair windows from idle to full load"
        )
    found = line(device, wall)
    return Calibration(
        offset_watts=found.intercept,
        slope=found.slope,
        offset_interval=found.intercept_interval,
        slope_interval=found.interval,
        r_squared=found.r_squared if max(wall) > min(wall) else 0.0,
        count=len(pairs),
        residuals=found.residuals,
    )


KINDS: dict[str, Any] = {
    "offset_watts": float,
    "offset_watts_low": float,
    "offset_watts_high": float,
    "slope": Positive,
    "slope_low": float,
    "slope_high": float,
    "r_squared": float,
    "pairs": PositiveCount,
    "date": str,
    "wall": str,
    "note": str,
}


@dataclass(frozen=True)
class StoredCalibration:
    """How a device's joules become joules at the wall: when it was fitted, on which wall meter."""

    fit: Calibration
    date: str
    wall: str


def device_key(hardware: Hardware) -> str | None:
    """What a calibration goes by: the devices' UUIDs, of a CPU with its host; None without any."""
    if hardware.key == "cpu" and hardware.uuids:
        return f"{hardware.uuids}@{platform.node()}"
    return hardware.device


def from_table(values: Mapping[str, Any]) -> StoredCalibration:
    """The calibration that a table of `KINDS` states; `ValueError` says what is wrong with it."""
    missing = [name for name in KINDS if name not in values and name != "note"]
    if missing:
        raise ValueError(f"has no `{missing[0]}`; fit it anew, or remove the table")
    offset, slope = (
        (values[f"{name}_low"], values[f"{name}_high"]) for name in ("offset_watts", "slope")
    )
    for name, (low, high) in (("offset_watts", offset), ("slope", slope)):
        if not low <= values[name] <= high:
            raise ValueError(f"has its `{name}` outside `{name}_low` to `{name}_high`; fit it anew")
    fit = Calibration(
        values["offset_watts"], values["slope"], offset, slope, values["r_squared"], values["pairs"]
    )
    return StoredCalibration(fit, values["date"], values["wall"])


def as_table(stored: StoredCalibration) -> dict[str, Any]:
    """The figures in the order of `KINDS`, to six digits; the date is still text."""
    fit = stored.fit
    figures = (fit.offset_watts, *fit.offset_interval, fit.slope, *fit.slope_interval)
    rounded = [float(f"{figure:.6g}") for figure in (*figures, fit.r_squared)]
    return dict(zip(KINDS, (*rounded, fit.count, stored.date, stored.wall), strict=False))
