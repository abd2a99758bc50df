"""The command `pytest-energy`: what works here, and what the baselines hold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pytest_energy.errors import EnergyError

USAGE_ERROR = 4
"""Exit code for bad input, as pytest's own."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    parser = _Parser(
        prog="pytest-energy", description="Energy as a tested property: tools beside the plugin."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    doctor = commands.add_parser("doctor", help="say which meters work here, and what this machine is")
    doctor.add_argument(
        "--baselines", type=Path, default=Path("baselines"), help="folder of the baseline files"
    )
    doctor.set_defaults(run=lambda options: run_doctor(options.baselines))
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except EnergyError as error:
        print(f"pytest-energy: {error}", file=sys.stderr)
        return USAGE_ERROR
    return code


def run_doctor(folder: Path) -> int:
    """Print each meter with its state, then the machine; 1 if no meter works."""
    from pytest_energy.baseline import baseline_path, known_hardware
    from pytest_energy.hardware import identify
    from pytest_energy.meters import open_meter, probe_meters

    probes = probe_meters()
    width = max(len(probe.name) for probe in probes)
    print("meters")
    for probe in probes:
        state = "works" if probe.works else "no"
        print(f"  {probe.name:<{width}}  {state:<5}  {probe.detail}")
    if not any(probe.works for probe in probes):
        print("no meter works here, so nothing can be measured")
        return 1
    meter = open_meter("auto")
    try:
        known = known_hardware(folder)
        hardware = identify(meter, {k: globs for k, globs in known.items() if k != "cpu"})
        print(f"\nhardware key: {hardware.key}")
        print(f"  meter: {meter.name} ({meter.method})")
        for device in hardware.devices:
            limit = f", limit {device.power_limit_watts:g} W" if device.power_limit_watts else ""
            print(f"  {device.domain}: {device.name}{limit}{'  ' + device.uuid if device.uuid else ''}")
        path = baseline_path(folder, hardware.key)
        print(f"  baseline file: {path}{'' if path.is_file() else ' (none yet)'}")
        print("environment")
        for name, value in hardware.environment.items():
            print(f"  {name}: {value}")
    finally:
        meter.close()
    return 0
