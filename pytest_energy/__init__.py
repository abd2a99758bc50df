"""Energy as a tested property; the public names are imported on first use. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_energy import clocks as _clocks  # noqa: F401 - before a test can patch them

if TYPE_CHECKING:
    from pytest_energy.checks.measuring import Sampler, Summary, summarise
    from pytest_energy.errors import DataError, EnergyError, MeterUnavailableError
    from pytest_energy.files import digest_of
    from pytest_energy.gate.gates import SequentialGate
    from pytest_energy.metering import OpenWindow, Window, window
    from pytest_energy.meters import open_meter
    from pytest_energy.meters.protocol import Conditions, Device, Measured, Meter, Reading
    from pytest_energy.meters.wall import open_wall
    from pytest_energy.plugin.fixtures import Energy, EnergyGate, user_errors
    from pytest_energy.plugin.session import EnergySession
    from pytest_energy.results import VerdictRecord
    from pytest_energy.results.claims import Cell, EnergyClaim, Plot, Series, Table
    from pytest_energy.results.footprint import JOULES_PER_KWH, FullRun, full_run
    from pytest_energy.stats.distributions import log_log, through_origin
    from pytest_energy.stats.noise import SessionStats
    from pytest_energy.units import FRACTION, quantity
    from pytest_energy.workloads.architectures import brings_weights, checkpoint_names
    from pytest_energy.workloads.data import open_data
    from pytest_energy.workloads.data.examples import (
        GROUPED_BATCHES,
        PADDINGS,
        Batches,
        DataSource,
        Example,
        Question,
        Tagged,
        grouped,
    )
    from pytest_energy.workloads.data.features import make_examples, question_parts
    from pytest_energy.workloads.distributed import DistributedFineTuning, visible_gpus
    from pytest_energy.workloads.finetune import FineTuning, Workload, prepare
    from pytest_energy.workloads.tasks import FINE_TUNING_TASKS, TASKS, Task, get_task
    from pytest_energy.workloads.trainers import BudgetedWindows
    from pytest_energy.workloads.trainers.lightning_callback import LightningEnergyCallback
    from pytest_energy.workloads.trainers.transformers_callback import EnergyCallback


__all__ = [
    "FINE_TUNING_TASKS",
    "FRACTION",
    "GROUPED_BATCHES",
    "JOULES_PER_KWH",
    "PADDINGS",
    "TASKS",
    "Batches",
    "BudgetedWindows",
    "Cell",
    "Conditions",
    "DataError",
    "DataSource",
    "Device",
    "DistributedFineTuning",
    "Energy",
    "EnergyCallback",
    "EnergyClaim",
    "EnergyError",
    "EnergyGate",
    "EnergySession",
    "Example",
    "FineTuning",
    "FullRun",
    "LightningEnergyCallback",
    "Measured",
    "Meter",
    "MeterUnavailableError",
    "OpenWindow",
    "Plot",
    "Question",
    "Reading",
    "Sampler",
    "SequentialGate",
    "Series",
    "SessionStats",
    "Summary",
    "Table",
    "Tagged",
    "Task",
    "VerdictRecord",
    "Window",
    "Workload",
    "brings_weights",
    "checkpoint_names",
    "digest_of",
    "full_run",
    "get_task",
    "grouped",
    "log_log",
    "make_examples",
    "open_data",
    "open_meter",
    "open_wall",
    "prepare",
    "quantity",
    "question_parts",
    "summarise",
    "through_origin",
    "user_errors",
    "visible_gpus",
    "window",
]

_HOMES = {
    name: f"pytest_energy.{module}"
    for module, names in {
        "checks.measuring": "Sampler Summary summarise",
        "errors": "DataError EnergyError MeterUnavailableError",
        "files": "digest_of",
        "gate.gates": "SequentialGate",
        "metering": "OpenWindow Window window",
        "meters": "open_meter",
        "meters.protocol": "Conditions Device Measured Meter Reading",
        "meters.wall": "open_wall",
        "plugin.fixtures": "Energy EnergyGate user_errors",
        "plugin.session": "EnergySession",
        "results": "VerdictRecord",
        "results.claims": "Cell EnergyClaim Plot Series Table",
        "results.footprint": "JOULES_PER_KWH FullRun full_run",
        "stats.distributions": "log_log through_origin",
        "stats.noise": "SessionStats",
        "units": "FRACTION quantity",
        "workloads.architectures": "brings_weights checkpoint_names",
        "workloads.data": "open_data",
        "workloads.data.examples": (
            "GROUPED_BATCHES PADDINGS Batches DataSource Example Question Tagged grouped"
        ),
        "workloads.data.features": "make_examples question_parts",
        "workloads.distributed": "DistributedFineTuning visible_gpus",
        "workloads.finetune": "FineTuning Workload prepare",
        "workloads.tasks": "FINE_TUNING_TASKS TASKS Task get_task",
        "workloads.trainers": "BudgetedWindows",
        "workloads.trainers.lightning_callback": "LightningEnergyCallback",
        "workloads.trainers.transformers_callback": "EnergyCallback",
    }.items()
    for name in names.split()
}
"""The module of each."""

if not TYPE_CHECKING:  # a name that is not there must be an error to a type checker

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first asked for, so that the plugin starts cheaply.

        `dir` does not list them: what looks at all of a module, as freezegun does, would load them.
        """
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
