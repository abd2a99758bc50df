"""`pytest-energy calibrate`: from device joules to joules at the wall, by paired windows."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pytest_energy import baselines as baseline
from pytest_energy.baselines import writing as recording
from pytest_energy.baselines.calibration import (
    LEAST_PAIRS,
    Calibration,
    StoredCalibration,
    device_key,
    fit,
)
from pytest_energy.baselines.reading import known_hardware
from pytest_energy.errors import DataError, EnergyError
from pytest_energy.files import require_writable, unified_diff, write_atomically
from pytest_energy.metering.device_lock import device_lock
from pytest_energy.metering.hardware import CPU_BUDGET, GPU_BUDGET, Hardware, identify
from pytest_energy.meters import Meter, open_meter
from pytest_energy.meters.wall import WallMeter, open_wall
from pytest_energy.reports.tables import scatter
from pytest_energy.workloads.loads import SHARES, load_for, measure_pairs, settle_seconds

LOCK_TIMEOUT_SECONDS = 600.0

_COLUMNS = ("device_watts", "wall_watts")
_WIDEST = 100
_COARSE = 0.1  # half-width of the slope, relative, from which on a person is told

Watts = tuple[float, float]


@dataclass(frozen=True)
class Request:
    """What the command was asked for; either `wall` or `pairs` says where wall watts come from."""

    wall: str | None
    pairs: Path | None
    meter: str
    windows: int
    seconds: float
    baselines: Path
    write: bool


def run(request: Request) -> int:
    """Buy or read pairs, print the fit with its residuals, and store it where asked to."""
    if request.pairs is not None:
        pairs, wall = read_pairs(request.pairs), request.pairs.name
        hardware = _identity(request) if request.write else None
    elif request.wall is not None:
        pairs, wall, hardware = _measured(request, request.wall)
    else:
        raise EnergyError(
            "`--wall` or `--pairs` is missing: give the log file or http:// address of a plug "
            "meter, or a CSV of what was measured elsewhere"
        )
    fitted = fit(pairs)
    print(described(fitted, pairs))
    if request.write and hardware is not None:
        _store(request.baselines, hardware, fitted, wall)
    else:
        print("\nnot stored; `--write` keeps it in the hardware's baseline file")
    return 0


def read_pairs(path: Path) -> list[Watts]:
    """Pairs of mean watts from a CSV with columns `device_watts` and `wall_watts`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DataError(
                    f"`{path}` has no column `{missing[0]}`; its first line must name "
                    f"`{_COLUMNS[0]}` and `{_COLUMNS[1]}`"
                )
            return [_watts(path, rows.line_num, [row[name] for name in _COLUMNS]) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"`{path}` cannot be read: {error}; give a CSV file") from None


def described(fitted: Calibration, pairs: Sequence[Watts]) -> str:
    """The fit in a line, how far it can be trusted, and its residuals as a plot."""
    offset, slope = fitted.offset_interval, fitted.slope_interval
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    points = [(watts, left) for (watts, _), left in zip(pairs, fitted.residuals, strict=True)]
    plot = scatter(points, x_name="device W", y_name="wall W less fit", width=width)
    return (
        f"\nwall W = {fitted.offset_watts:.2f} + {fitted.slope:.4f} x device W\n"
        f"  offset  {fitted.offset_watts:.2f} W  (95 %: {offset[0]:.2f} to {offset[1]:.2f})\n"
        f"  slope   {fitted.slope:.4f}  (95 %: {slope[0]:.4f} to {slope[1]:.4f})\n"
        f"  R²      {fitted.r_squared:.4f} over {fitted.count} pairs\n\n{plot}{_warning(fitted)}"
    )


def _warning(fitted: Calibration) -> str:
    low, high = fitted.slope_interval
    half = (high - low) / 2
    if half <= _COARSE * abs(fitted.slope):
        return ""
    share = f"± {100 * half / abs(fitted.slope):.0f} %" if fitted.slope else "nothing"
    return (
        f"\nthe slope is known to {share} only: pair more or longer windows, and keep the machine "
        "otherwise idle"
    )


def _measured(request: Request, source: str) -> tuple[list[Watts], str, Hardware]:
    if request.windows < LEAST_PAIRS:
        raise EnergyError(f"`--windows={request.windows}` is too few; give {LEAST_PAIRS} or more")
    if not 0 < request.seconds <= 3600:
        raise EnergyError(f"`--seconds={request.seconds:g}` is out of range; give 1 to 3600")
    wall = open_wall(source)
    try:
        faults = wall.conditions().faults
        if faults:
            raise EnergyError(f"{faults[0]}; it must be written while windows are bought")
        meter = open_meter(request.meter)
        try:
            names = [device.uuid or device.domain for device in meter.devices]
            with device_lock(names, LOCK_TIMEOUT_SECONDS, print):
                pairs = _bought(request, meter, wall)
            return pairs, wall.devices[0].name, _hardware(meter, request.baselines)
        finally:
            meter.close()
    finally:
        wall.close()


def _bought(request: Request, meter: Meter, wall: WallMeter) -> list[Watts]:
    load = load_for(meter.devices)
    devices = ", ".join(f"`{device.domain}` {device.name}" for device in meter.devices)
    each = request.seconds + settle_seconds(wall, request.seconds)
    print(
        f"device: {devices} ({meter.name}, {meter.method})\n"
        f"wall: `{wall.devices[0].name}`, a reading every {wall.update_period_seconds:.3g} s\n"
        f"load: {load.text}, {', '.join(f'{100 * share:.0f}' for share in SHARES)} % of the time\n"
        f"{request.windows} windows of {request.seconds:g} s, "
        f"about {request.windows * each / 60:.0f} min\n\n"
        f"{'load':>6}{'device W':>12}{'wall W':>12}{'± W':>9}",
        flush=True,
    )
    pairs = []
    for pair in measure_pairs(meter, wall, load, request.windows, request.seconds):
        pairs.append(pair.watts)
        doubt = pair.wall.uncertainty_joules / pair.wall.seconds
        line = f"{100 * pair.share:>5.0f}%{pair.watts[0]:>12.2f}{pair.watts[1]:>12.2f}{doubt:>9.2f}"
        print(line, flush=True)
    return pairs


def _watts(path: Path, line: int, cells: Sequence[str | None]) -> Watts:
    try:
        device, wall = (float(cell or "") for cell in cells)
    except ValueError:
        raise DataError(
            f"`{path}` line {line}: {' and '.join(repr(cell) for cell in cells)} are no watts; "
            "mend or remove the line"
        ) from None
    return device, wall


def _identity(request: Request) -> Hardware:
    meter = open_meter(request.meter)
    try:
        return _hardware(meter, request.baselines)
    finally:
        meter.close()


def _hardware(meter: Meter, folder: Path) -> Hardware:
    known = known_hardware(folder)
    return identify(meter, {key: globs for key, globs in known.items() if key != "cpu"})


def _store(folder: Path, hardware: Hardware, fitted: Calibration, wall: str) -> None:
    device = device_key(hardware)
    if device is None:
        raise EnergyError("the devices have no UUID to store a calibration by; use another meter")
    low, high = fitted.slope_interval
    if low <= 0:
        raise EnergyError(
            f"not stored: wall watts do not surely rise with device watts (slope {low:.3g} to "
            f"{high:.3g}); see that the wall meter is this machine's, and buy more or longer "
            "windows"
        )
    budget = CPU_BUDGET if hardware.key == "cpu" else GPU_BUDGET
    header = recording.Header(
        key=hardware.key,
        match=tuple(f"{name}*" for name in hardware.names),
        tokens_per_window=budget.tokens,
        max_tokens_per_batch=budget.max_tokens_per_batch,
    )
    path = baseline.baseline_path(folder, hardware.key)
    require_writable(path, "--baselines")
    old = path.read_text(encoding="utf-8") if path.is_file() else None
    date = datetime.now(timezone.utc).replace(microsecond=0).isoformat()
    stored = StoredCalibration(fitted, date, wall)
    new = recording.calibrated(old, header, device, stored)
    write_atomically(path, new)
    print(f"\n{path} changed; read it, then commit it:")
    print(unified_diff(old, new, path.name))
