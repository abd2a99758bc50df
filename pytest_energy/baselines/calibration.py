"""From device joules to joules at the wall: offset and slope, fitted to paired windows; pure."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pytest_energy.documents import SMALLEST, PositiveCount, Range
from pytest_energy.errors import EnergyError
from pytest_energy.stats.distributions import line

if TYPE_CHECKING:
    from pytest_energy.metering.hardware import Hardware


LEAST_PAIRS = 3
LEAST_SPREAD = 0.05
"""Device watts must range over this share of their largest, or a line through them says nothing."""
LEAST_WATTS = 0.001
LEAST_R_SQUARED = 0.9
COARSEST_SLOPE = 0.5
"""The widest half-width of a slope, relative, that is still one."""
LARGEST_FIGURE = 1e9
MOST_SLOPE = 2.0
"""Of a watt of a device, no supply and no fans that turn with its load lose another one."""


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
    if max(device) - min(device) <= max(LEAST_SPREAD * max(device), LEAST_WATTS):
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


def require_plausible(fitted: Calibration) -> None:
    """Raise `EnergyError` for a fit that no machine has; it says what to check."""
    wrong = _implausible(fitted)
    if wrong is not None:
        raise EnergyError(f"not stored: {wrong}")


def _implausible(fitted: Calibration) -> str | None:
    slope, (low, high) = fitted.slope, fitted.slope_interval
    if fitted.r_squared < LEAST_R_SQUARED or high - low > 2 * COARSEST_SLOPE * slope:
        return (
            f"wall watts do not surely rise with device watts: slope {slope:.3g} (95 %: {low:.3g} "
            f"to {high:.3g}), R² {fitted.r_squared:.3f}; see that the wall meter is this "
            "machine's, and that both meters' clocks agree. Measure more or longer windows while "
            "nothing else runs"
        )
    if slope < 1:
        return (
            f"wall watts rise by {slope:.3g} of device watts, and it must be 1 or more; see that "
            "all of this machine's power supplies are behind the wall meter, and that it reports "
            "watts. Device watts have to be measured, not modelled"
        )
    if slope > MOST_SLOPE:
        return (
            f"wall watts rise by {slope:.3g} of device watts, and it must be {MOST_SLOPE:g} or "
            "less; see that the load runs on the metered devices alone, and that nothing else is "
            "behind the wall meter"
        )
    if fitted.offset_interval[1] < 0:
        return (
            f"without the device the wall would give {fitted.offset_watts:.3g} W, surely below 0; "
            "see that all of this machine's power supplies are behind the wall meter, and pair "
            "windows from idle to full load"
        )
    return None


_Figure = Annotated[float, Range(-LARGEST_FIGURE, LARGEST_FIGURE, words="what a machine can have")]

KINDS: dict[str, Any] = {
    "offset_watts": _Figure,
    "offset_watts_low": _Figure,
    "offset_watts_high": _Figure,
    "slope": Annotated[float, Range(SMALLEST, LARGEST_FIGURE, words="above 0")],
    "slope_low": _Figure,
    "slope_high": _Figure,
    "r_squared": _Figure,
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
