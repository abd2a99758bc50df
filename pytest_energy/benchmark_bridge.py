"""What pytest-benchmark is told of a test that both meter: the same windows, nothing run twice."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from pytest_energy.records import VerdictRecord
from pytest_energy.session import EnergySession

KEY = "energy"
"""Of `extra_info` in each benchmark, and of `machine_info`."""

_BRIDGED = pytest.StashKey[bool]()
_FIGURES = ("id", "metric", "unit", "value", "uncertainty", "baseline", "change", "method")


def annotate(session: EnergySession, item: pytest.Item, benchmark: object) -> None:
    """Put what was metered in a test into its `benchmark` fixture's `extra_info`."""
    records = [record for record in session.verdicts if record.nodeid == item.nodeid]
    extra = getattr(benchmark, "extra_info", None)
    if records and isinstance(extra, MutableMapping):
        extra[KEY] = [figures(record) for record in records]
        item.config.stash[_BRIDGED] = True


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
    hardware = session.run_record().hardware
    if hardware and _BRIDGED in config.stash:
        machine_info[KEY] = {"hardware": hardware["key"], "devices": list(hardware["devices"])}
