"""`pytest-energy doctor`: which meters work here, which don't and why, and what this machine is."""

from __future__ import annotations

from pathlib import Path

from pytest_energy.baselines import baseline_path
from pytest_energy.baselines.reading import known_hardware
from pytest_energy.metering.hardware import Hardware, identify
from pytest_energy.meters import Meter, open_meter, probe_meters


def run(folder: Path) -> int:
    """Print each meter with its state, then the machine; 1 if no meter works."""
    probes = probe_meters()
    width = max(len(probe.name) for probe in probes)
    print("meters")
    for probe in probes:
        state = f"works, {probe.method}" if probe.works else "no"
        print(f"  {probe.name:<{width}}  {state:<16}  {probe.detail}")
    if not any(probe.works for probe in probes):
        print("\nno meter works here, so nothing can be measured")
        return 1
    meter = open_meter("auto")
    try:
        known = {key: globs for key, globs in known_hardware(folder).items() if key != "cpu"}
        _describe(meter, identify(meter, known), folder)
    finally:
        meter.close()
    return 0


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
