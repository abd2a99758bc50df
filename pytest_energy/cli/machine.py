"""`pytest-energy doctor` and `calibrate`: which meters work here, and joules at the wall."""

from __future__ import annotations

import argparse
import csv
import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from pytest_energy.baselines import Header, baseline_path
from pytest_energy.baselines.reading import known_hardware, qualified, read, text_of
from pytest_energy.baselines.store import default_budget
from pytest_energy.baselines.tables import (
    LEAST_PAIRS,
    Calibration,
    StoredCalibration,
    device_key,
    fit,
    require_plausible,
)
from pytest_energy.cli import add_baselines_option, describe, say, write_text
from pytest_energy.clocks import real_time
from pytest_energy.errors import DataError, EnergyError
from pytest_energy.files import read_lines, require_writable, unified_diff
from pytest_energy.metering.device_lock import device_lock, lock_place
from pytest_energy.metering.hardware import Hardware, identify
from pytest_energy.meters import Meter, open_meter, probe_meters
from pytest_energy.meters.protocol import Device
from pytest_energy.meters.wall import WallMeter, open_wall
from pytest_energy.meters.wall.forms import figure
from pytest_energy.reports.tables import aligned, scatter
from pytest_energy.text import encodable, one_line, url
from pytest_energy.workloads.loads import SHARES, load_for, measure_pairs, settle_seconds

LOCK_TIMEOUT_SECONDS = 600.0

_COLUMNS = ("device_watts", "wall_watts")
_LARGEST_BYTES = 1 << 20
_MOST_PAIRS = 10_000
_MOST_WINDOWS = 1_000
_LONGEST_LINE = 1_000
_WIDEST = 100
_COARSE = 0.1  # half-width of the slope, relative, from which on a person is told

Watts = tuple[float, float]


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Register the arguments of `pytest-energy doctor`."""
    describe(
        parser,
        "Show which meters work here, the hardware key, what figures depend on, and what to do "
        "next. Exit code: 1 if no meter works.",
        "pytest-energy doctor",
    )
    add_baselines_option(parser)
    parser.set_defaults(run=run_doctor)


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Register the arguments of `pytest-energy calibrate`."""
    describe(
        parser,
        "Fit joules at the wall to the device's joules, from pairs measured here or read from a "
        "file.",
        "pytest-energy calibrate --wall http://192.168.1.20 --write",
        "pytest-energy calibrate --pairs pairs.csv",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--wall", metavar="SOURCE", type=url, help="log file, or http:// address of a plug"
    )
    what.add_argument("--pairs", metavar="FILE", type=Path, help="CSV: device_watts,wall_watts")
    parser.add_argument("--meter", metavar="NAME", default="auto", help="the device's meter (auto)")
    parser.add_argument(
        "--windows", metavar="N", type=int, default=12, help="pairs to measure (12)"
    )
    parser.add_argument("--seconds", metavar="S", type=float, default=20.0, help="of each (20)")
    add_baselines_option(parser)
    parser.add_argument("--write", action="store_true", help="store it in the baseline file")
    parser.set_defaults(run=run_calibrate)


def run_doctor(options: argparse.Namespace) -> int:
    """Print each meter with its state, then the machine; 1 if no meter works."""
    probes = probe_meters()
    rows = [
        (one.name, f"works, {one.method}" if one.works else "no", " ".join(one.detail.split()))
        for one in probes
    ]
    say("meters", *aligned(rows, indent=2))
    if not any(probe.works for probe in probes):
        say(
            "",
            "no meter works here, so nothing can be measured",
            "next: mend what the list says of the meter that you expect, or install CodeCarbon "
            "(`pip install codecarbon`), which models the joules of a CPU",
        )
        return 1
    with closing(open_meter("auto", qualified=qualified(options.baselines))) as meter:
        hardware = hardware_of(meter, options.baselines)
        path = baseline_path(options.baselines, hardware.key)
        say("", f"hardware key: {hardware.key}")
        say(f"  meter used by `auto`: {meter.name}, {meter.method}")
        if meter.update_period_seconds:
            say(f"  its update period: {1000 * meter.update_period_seconds:.0f} ms")
        if meter.method == "modelled":
            what = getattr(meter, "modelled", "all joules")
            effect = "verdicts inform, and fail nothing without `--energy-strict`"
            say(f"  modelled, not measured: {what}; {effect}")
        for domain, told in getattr(meter, "sensors", {}).items():
            say(f"  sensor of `{domain}`: {told}")
        for remark in getattr(meter, "remarks", ()):
            say(f"  note: {remark}")
    for device in hardware.devices:
        limit = _limit(device)
        parts = (f"{device.domain}: {device.shown}", limit, device.uuid)
        say("  " + "  ".join(part for part in parts if part))
    say(f"  baseline file: {path}{'' if path.is_file() else ' (none yet)'}")
    say(f"  device locks: {_lock_place()}")
    say("environment")
    for name, value in hardware.environment.items():
        say(f"  {name}: {value}")
    modelled = meter.method == "modelled"
    stored = path.is_file() and bool(read(path).entries)
    say(f"next: {_next_step(hardware.key, stored=stored, modelled=modelled)}")
    return 0


def _next_step(key: str, *, stored: bool, modelled: bool) -> str:
    """The command to go on with, from the folder of a project whose tests are metered."""
    hardware = shlex.quote(f"--energy-hw={key}")
    if stored:
        return f"pytest {hardware}   # gates by the baseline file"
    if modelled:
        return "pytest   # the first run records for this machine alone, the second compares"
    return f"pytest {hardware} --energy-update=new   # on an idle machine: records a baseline"


def _limit(device: Device) -> str:
    if not device.power_limit_watts:
        return ""
    whose = "limit" if device.joules_limit_watts else "the GPU's limit"
    return f"{whose} {device.power_limit_watts:g} W"


def _lock_place() -> str:
    try:
        return lock_place()
    except EnergyError as error:
        return str(error)


def hardware_of(meter: Meter, folder: Path) -> Hardware:
    """The machine behind a meter, named as a folder's baseline files name it."""
    known = known_hardware(folder)
    return identify(meter, {key: globs for key, globs in known.items() if key != "cpu"})


def run_calibrate(options: argparse.Namespace) -> int:
    """Measure or read pairs, print the fit with its residuals, and store it if asked to."""
    if options.pairs is None and options.wall is None:
        raise EnergyError(
            "`--wall` or `--pairs` is missing: give the log file or http:// address of a plug "
            "meter, or a CSV of what was measured elsewhere"
        )
    hardware = hardware_to_change(options.meter, options.baselines) if options.write else None
    if options.pairs is not None:
        pairs, wall = read_pairs(options.pairs), one_line(encodable(options.pairs.name))
    else:
        pairs, wall = _measured(options)
    fitted = fit(pairs)
    say(*described(fitted, pairs).split("\n"))
    require_plausible(fitted)
    if hardware is not None:
        _store(options.baselines, hardware, fitted, wall)
    else:
        say("", "not stored; `--write` keeps it in the hardware's baseline file")
    return 0


def hardware_to_change(meter_name: str, folder: Path) -> Hardware:
    """The machine whose file takes a result, which can be written: else nothing is measured."""
    with closing(open_meter(meter_name)) as meter:
        hardware = hardware_of(meter, folder)
    require_writable(baseline_path(folder, hardware.key), "--baselines")
    return hardware


def read_pairs(path: Path) -> list[Watts]:
    """Pairs of mean watts from a CSV with columns `device_watts` and `wall_watts`."""
    expected = f"a CSV whose first line names `{_COLUMNS[0]}` and `{_COLUMNS[1]}`"
    first, *lines = read_lines(path, expected, _LARGEST_BYTES)
    if len(lines) > _MOST_PAIRS:
        raise DataError(f"`{path}` has {len(lines):,} lines; give {_MOST_PAIRS:,} pairs at most")
    names = [name.strip() for name in _cells(path, 1, first)]
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise DataError(
            f"`{path}` has no column `{missing[0]}`; its first line must name "
            f"`{_COLUMNS[0]}` and `{_COLUMNS[1]}`"
        )
    where = [names.index(name) for name in _COLUMNS]
    rows = [(number, line) for number, line in enumerate(lines, 2) if line.strip()]
    return [_watts(path, number, _cells(path, number, line), where) for number, line in rows]


def _cells(path: Path, number: int, line: str) -> list[str]:
    if len(line) > _LONGEST_LINE:
        what = f"is longer than {_LONGEST_LINE:,} characters"
        raise DataError(f"`{path}` line {number}: {what}; mend or remove the line")
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise DataError(f"`{path}` line {number}: {error}; mend or remove the line") from None


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


def _measured(options: argparse.Namespace) -> tuple[list[Watts], str]:
    """Pairs measured here, and the name of the wall meter."""
    if options.windows < LEAST_PAIRS:
        raise EnergyError(f"`--windows={options.windows}` is too few; give {LEAST_PAIRS} or more")
    if options.windows > _MOST_WINDOWS:
        raise EnergyError(
            f"`--windows={options.windows}` is too many; give {_MOST_WINDOWS} or fewer"
        )
    if not 0 < options.seconds <= 3600:
        raise EnergyError(f"`--seconds={options.seconds:g}` is out of range; give 1 to 3600")
    with closing(open_wall(options.wall)) as wall:
        faults = wall.conditions().faults
        if faults:
            raise EnergyError(f"{faults[0]}; it must be written while windows are measured")
        known = qualified(options.baselines)
        with closing(open_meter(options.meter, qualified=known)) as meter:
            names = [device.uuid or device.domain for device in meter.devices]
            with device_lock(names, LOCK_TIMEOUT_SECONDS, say):
                pairs = _pairs(meter, wall, options.windows, options.seconds)
            return pairs, wall.devices[0].name


def _pairs(meter: Meter, wall: WallMeter, windows: int, seconds: float) -> list[Watts]:
    load = load_for(meter.devices)
    devices = ", ".join(f"`{device.domain}` {device.shown}" for device in meter.devices)
    each = seconds + settle_seconds(wall, seconds)
    say(
        f"device: {devices} ({meter.name}, {meter.method})",
        f"wall: `{wall.devices[0].name}`, a reading every {wall.update_period_seconds:.3g} s",
        f"load: {load.text}, {', '.join(f'{100 * share:.0f}' for share in SHARES)} % of the time",
        f"{windows} windows of {seconds:g} s, about {windows * each / 60:.0f} min",
        "",
        f"{'load':>6}{'device W':>12}{'wall W':>12}{'± W':>9}",
    )
    pairs = []
    # A row is shown as soon as it is measured, so its columns have widths that are fixed.
    for pair in measure_pairs(meter, wall, load, windows, seconds):
        pairs.append(pair.watts)
        doubt = pair.wall.uncertainty_joules / pair.wall.seconds
        line = f"{100 * pair.share:>5.0f}%{pair.watts[0]:>12.2f}{pair.watts[1]:>12.2f}{doubt:>9.2f}"
        say(line)
    return pairs


def _watts(path: Path, number: int, cells: Sequence[str], where: Sequence[int]) -> Watts:
    found = [cells[i].strip() if i < len(cells) else "" for i in where]
    try:
        device, wall = (figure(cell) for cell in found)
    except ValueError:
        shown = " and ".join(f"'{one_line(cell, 40)}'" for cell in found)
        raise DataError(
            f"`{path}` line {number}: {shown} are no watts; mend or remove the line"
        ) from None
    return device.value, wall.value


def _store(folder: Path, hardware: Hardware, fitted: Calibration, wall: str) -> None:
    from pytest_energy.baselines.writing import calibrated

    device = device_key(hardware)
    if device is None:
        raise EnergyError("the devices have no UUID to store a calibration by; use another meter")
    date = real_time.utc().replace(microsecond=0).isoformat()
    stored = StoredCalibration(fitted, date, wall)
    rewrite(folder, hardware, lambda old, header: calibrated(old, header, device, stored))


def rewrite(folder: Path, hardware: Hardware, changed: Callable[[str | None, Header], str]) -> None:
    """Change the text of a hardware's baseline file, which need not exist, and show how."""
    path = baseline_path(folder, hardware.key)
    old = text_of(path) if path.is_file() else None
    new = changed(old, Header.of(hardware, default_budget(hardware.key)))
    write_text(path, new)
    say("", f"{path} changed; read it, then commit it:")
    say(*unified_diff(old, new, path.name).split("\n"))
