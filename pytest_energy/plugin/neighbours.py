"""Beside other plugins: whether pytest-xdist spreads the run, what pytest-benchmark is told.

PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_energy.metering.hardware import Hardware
    from pytest_energy.results import VerdictRecord
    from pytest_energy.results.run_results import RunResults

LEFT_OUT = pytest.StashKey[str]()
"""What the run was configured for and does not do, for its header."""

_ALONE = ("update", "compare", "settle")
"""Options whose windows workers of pytest-xdist would disturb."""


def uses_xdist(config: pytest.Config) -> bool:
    """Whether this run is spread over pytest-xdist's workers, or is one of them."""
    workers = config.getoption("numprocesses", None) or config.getoption("tx", None)
    return hasattr(config, "workerinput") or bool(workers)


def leave_workers_out(config: pytest.Config) -> None:
    """Measure in this process what is recorded or compared, if an ini file spreads the run.

    `PYTEST_ADDOPTS` counts as one. Who types an option of pytest-xdist as well is refused later.
    """
    asked = [name for name in _ALONE if config.getoption(f"energy_{name}")]
    if not asked or hasattr(config, "workerinput") or not uses_xdist(config):
        return
    from pytest_energy.reports.next_steps import asks_for_workers

    if not asks_for_workers(map(str, config.invocation_params.args)):
        stay_in_this_process(config)
        config.stash[LEFT_OUT] = (
            f"energy: pytest-xdist, which the configuration asks for, is left out: "
            f"`--energy-{asked[0]}` measures in one process"
        )


def stay_in_this_process(config: pytest.Config) -> None:
    """Undo what pytest-xdist was asked for, before it begins to distribute."""
    for name, value in (("numprocesses", 0), ("dist", "no"), ("tx", [])):
        if hasattr(config.option, name):
            setattr(config.option, name, value)


BENCHMARK_KEY = "energy"
"""Of `extra_info` in each benchmark, and of `machine_info`."""

_ANNOTATED = pytest.StashKey[bool]()
_FIGURES = ("id", "metric", "unit", "value", "uncertainty", "baseline", "change", "method")


def annotate(results: RunResults, item: pytest.Item, benchmark: object) -> None:
    """Put what was metered in a test into its `benchmark` fixture's `extra_info`."""
    records = results.of(item.nodeid)
    extra = getattr(benchmark, "extra_info", None)
    if records and isinstance(extra, MutableMapping):
        extra[BENCHMARK_KEY] = [benchmark_figures(record) for record in records]
        item.config.stash[_ANNOTATED] = True


def benchmark_figures(record: VerdictRecord) -> dict[str, Any]:
    """One verdict's row, of builtin types: J and s of each window, in the order of measuring."""
    row = {name: getattr(record, name) for name in _FIGURES}
    windows = [
        {"joules": w.joules, "seconds": w.seconds, "tokens": w.tokens, "valid": w.valid}
        for w in record.windows
    ]
    return {**row, "verdict": record.outcome, "windows": windows}


def describe_machine(
    hardware: Hardware | None, config: pytest.Config, machine_info: MutableMapping[str, Any]
) -> None:
    """Name the metered devices, if a benchmark was metered: figures belong to their hardware."""
    if hardware is not None and _ANNOTATED in config.stash:
        devices = [asdict(device) for device in hardware.devices]
        machine_info[BENCHMARK_KEY] = {"hardware": hardware.key, "devices": devices}
