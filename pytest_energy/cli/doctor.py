"""`pytest-energy doctor`: which meters work here, which don't and why, and what this machine is."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_energy.baselines import baseline_path
from pytest_energy.baselines.reading import known_hardware
from pytest_energy.cli import add_baselines_option
from pytest_energy.metering.hardware import Hardware, identify
from pytest_energy.meters import Meter, open_meter, probe_meters
from pytest_energy.reports.tables import aligned


def add(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    add_baselines_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print each meter with its state, then the machine; 1 if no meter works."""
    probes = probe_meters()
    states = [f"works, {probe.method}" if probe.works else "no" for probe in probes]
    rows = [(probe.name, state, probe.detail) for probe, state in zip(probes, states, strict=True)]
    print("meters")
    print("\n".join(aligned(rows, indent=2)))
    if not any(probe.works for probe in probes):
        print("\nno meter works here, so nothing can be measured")
        return 1
    meter = open_meter("auto")
    try:
        _describe(meter, hardware_of(meter, options.baselines), options.baselines)
    finally:
        meter.close()
    return 0


def hardware_of(meter: Meter, folder: Path) -> Hardware:
    """The machine behind a meter, named as a folder's baseline files name it."""
    known = known_hardware(folder)
    return identify(meter, {key: globs for key, globs in known.items() if key != "cpu"})


def _describe(meter: Meter, hardware: Hardware, folder: Path) -> None:
    path = baseline_path(folder, hardware.key)
    print(f"\nhardware key: {hardware.key}")
    print(f"  meter used by `auto`: {meter.name}, {meter.method}")
    if meter.update_period_seconds:
        print(f"  its update period: {1000 * meter.update_period_seconds:.0f} ms")
    for device in hardware.devices:
        limit = f"limit {device.power_limit_watts:g} W" if device.power_limit_watts else ""
        parts = (f"{device.domain}: {device.name}", limit, device.uuid)
        print("  " + "  ".join(part for part in parts if part))
    print(f"  baseline file: {path}{'' if path.is_file() else ' (none yet)'}")
    print("environment")
    for name, value in hardware.environment.items():
        print(f"  {name}: {value}")
