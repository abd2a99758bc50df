"""A calibration as a baseline file keeps it: a table of figures, checked and written."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_energy.calibration import Calibration

if TYPE_CHECKING:
    from pytest_energy.hardware import Hardware

NAMES: dict[str, type] = {
    "offset_watts": float,
    "offset_watts_low": float,
    "offset_watts_high": float,
    "slope": float,
    "slope_low": float,
    "slope_high": float,
    "r_squared": float,
    "pairs": int,
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
    """What a calibration goes by: the devices' UUIDs; for a CPU, which has none, the host as well.

    None where devices cannot be told apart.
    """
    if hardware.key == "cpu" and hardware.uuids:
        return f"{hardware.uuids}@{platform.node()}"
    return hardware.device


def from_table(values: Mapping[str, Any]) -> StoredCalibration:
    """The calibration that a table of `NAMES` states; `ValueError` says what is wrong with it."""
    missing = [name for name in NAMES if name not in values and name != "note"]
    if missing:
        raise ValueError(f"has no `{missing[0]}`; fit it anew, or remove the table")
    intervals = []
    for name in ("offset_watts", "slope"):
        low, high = values[f"{name}_low"], values[f"{name}_high"]
        if not low <= values[name] <= high:
            raise ValueError(f"has its `{name}` outside `{name}_low` to `{name}_high`; fit it anew")
        intervals.append((low, high))
    if not 0 < values["slope"] < float("inf"):
        raise ValueError("needs a `slope` above 0; fit it anew")
    fit = Calibration(
        offset_watts=values["offset_watts"],
        slope=values["slope"],
        offset_interval=intervals[0],
        slope_interval=intervals[1],
        r_squared=values["r_squared"],
        count=values["pairs"],
    )
    return StoredCalibration(fit, values["date"], values["wall"])


def as_table(stored: StoredCalibration) -> dict[str, Any]:
    """The figures in the order of `NAMES`, to six digits; the date is still text."""
    fit = stored.fit
    figures = (fit.offset_watts, *fit.offset_interval, fit.slope, *fit.slope_interval)
    rounded = [float(f"{figure:.6g}") for figure in (*figures, fit.r_squared)]
    return dict(zip(NAMES, (*rounded, fit.count, stored.date, stored.wall), strict=False))
