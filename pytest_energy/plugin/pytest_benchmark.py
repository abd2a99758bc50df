"""What pytest-benchmark is told of a test that both meter: the same windows, nothing run twice."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import asdict
from typing import Any

import pytest

from pytest_energy.plugin.session import EnergySession
from pytest_energy.results import VerdictRecord
from pytest_energy.results.run_results import RunResults

KEY = "energy"
"""Of `extra_info` in each benchmark, and of `machine_info`."""

_ANNOTATED = pytest.StashKey[bool]()
_FIGURES = ("id", "metric", "unit", "value", "uncertainty", "baseline", "change", "method")


def annotate(results: RunResults, item: pytest.Item, benchmark: object) -> None:
    """Put what was metered in a test into its `benchmark` fixture's `extra_info`."""
    records = results.of(item.nodeid)
    extra = getattr(benchmark, "extra_info", None)
    if records and isinstance(extra, MutableMapping):
        extra[KEY] = [figures(record) for record in records]
        item.config.stash[_ANNOTATED] = True


def figures(record: VerdictRecord) -> dict[str, Any]:
    """One verdict's row, of builtin types: J and s of each window, in the order of measuring."""
    row = {name: getattr(record, name) for name in _FIGURES}
    windows = [
        {"joules": w.joules, "seconds": w.seconds, "tokens": w.tokens, "valid": w.valid}
        for w in record.windows
    ]
    return {**row, "verdict": record.outcome, "windows": windows}


def describe_machine(
    session: EnergySession, config: pytest.Config, machine_info: MutableMapping[str, Any]
) -> None:
    """Name the metered devices, if a benchmark was metered: figures belong to their hardware."""
    hardware = session.device.identified
    if hardware is not None and _ANNOTATED in config.stash:
        devices = [asdict(device) for device in hardware.devices]
        machine_info[KEY] = {"hardware": hardware.key, "devices": devices}
