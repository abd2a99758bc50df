"""From device joules to joules at the wall: offset and slope, fitted to paired windows; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_energy.errors import EnergyError
from pytest_energy.statistics import f_quantile

COVERAGE = 0.95
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
            f"{len(pairs)} pairs make no calibration; buy at least {LEAST_PAIRS}, at several loads"
        )
    if not all(math.isfinite(watts) and watts >= 0 for pair in pairs for watts in pair):
        raise EnergyError("`pairs` hold a figure that is no number of watts from 0; drop that pair")
    device, wall = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if max(device) - min(device) <= LEAST_SPREAD * max(device):
        raise EnergyError(
            f"device watts have no spread ({min(device):.4g} to {max(device):.4g} W), so they fix "
            "no slope; pair windows from idle to full load"
        )
    middle_x, middle_y = fmean(device), fmean(wall)
    spread = math.fsum((x - middle_x) ** 2 for x in device)
    slope = math.fsum((x - middle_x) * (y - middle_y) for x, y in pairs) / spread
    offset = middle_y - slope * middle_x
    residuals = tuple(y - (offset + slope * x) for x, y in pairs)
    unexplained = math.fsum(residual**2 for residual in residuals)
    total = math.fsum((y - middle_y) ** 2 for y in wall)
    degrees = len(pairs) - 2
    noise = math.sqrt(unexplained / degrees)
    wide = student_t(degrees) * noise
    return Calibration(
        offset_watts=offset,
        slope=slope,
        offset_interval=_around(offset, wide * math.sqrt(1 / len(pairs) + middle_x**2 / spread)),
        slope_interval=_around(slope, wide / math.sqrt(spread)),
        r_squared=1 - unexplained / total if total > 0 else 0.0,
        count=len(pairs),
        residuals=residuals,
    )


def student_t(degrees: int) -> float:
    """What Student's t with these degrees of freedom stays within 19 times in 20, either side."""
    return math.sqrt(f_quantile(COVERAGE, 1, degrees))


def _around(value: float, half: float) -> tuple[float, float]:
    return value - half, value + half
