"""Modelled joules of our process tree, from CodeCarbon's CPU and memory model."""

from __future__ import annotations

import logging
import os
import threading
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.cpu_time import CpuTime
from pytest_energy.meters.process_tree import tree_root
from pytest_energy.meters.protocol import MOST_WATTS, Conditions, Device, FaultLog, Reading
from pytest_energy.outcomes import Method
from pytest_energy.text import encodable, one_line

NOT_INSTALLED = "meter `codecarbon`: CodeCarbon is not installed; `pip install codecarbon`"
FALLBACK_TDP_WATTS = 85.0
"""What CodeCarbon assumes where it cannot name the CPU."""


class CodeCarbonMeter:
    """CPU seconds of the process tree x TDP / logical CPUs, and constant watts for the memory.

    CodeCarbon's `process` tracking, integrated exactly: CPU time is cumulative, so nothing has to
    be sampled, and a neighbour's load does not enter. The figures are modelled, never measured.
    """

    name = "codecarbon"
    method: Method = "modelled"

    def __init__(self) -> None:
        if find_spec("codecarbon") is None:
            raise MeterUnavailableError(NOT_INSTALLED)
        logger = logging.getLogger("codecarbon")
        # Its log lines stay out of the terminal, and the user's own logging stays as it is.
        disabled, logger.disabled = logger.disabled, True
        try:
            model, tdp_watts, cpus, ram_watts = _model()
        except Exception as error:  # it asks programs of the machine, which may be missing or odd
            raise MeterUnavailableError(
                "meter `codecarbon`: CodeCarbon finds no model of this machine "
                f"({type(error).__name__}: {error})"
            ) from error
        finally:
            logger.disabled = disabled
        self.devices: tuple[Device, ...] = (
            Device("cpu", one_line(encodable(model)), "cpu", power_limit_watts=tdp_watts),
            Device("dram", "memory", "dram", power_limit_watts=ram_watts),
        )
        self.update_period_seconds = 0.0
        self._joules_per_cpu_second = tdp_watts / cpus
        self._ram_watts = ram_watts
        self.resolution_joules = self._joules_per_cpu_second / os.sysconf("SC_CLK_TCK")
        self._opened = self._seconds = self._seconds_before = real_time.monotonic()
        self._cpu_time = CpuTime(tree_root())
        self._faults = FaultLog()
        self._lock = threading.Lock()
        self._closed = False

    def read(self) -> Reading:
        """Modelled joules of CPU and memory since the meter was opened (J)."""
        if self._closed:
            raise EnergyError("meter `codecarbon` is closed: open another one")
        with self._lock:
            now = real_time.monotonic()
            cpu_seconds, wrong = self._cpu_time.read()
            self._seconds_before, self._seconds = self._seconds, now
            for each in wrong:
                self._faults.add(now, each)
        joules = {
            "cpu": cpu_seconds * self._joules_per_cpu_second,
            "dram": (now - self._opened) * self._ram_watts,
        }
        return Reading(now, joules)

    def conditions(self) -> Conditions:
        """Whether the CPU time of all processes was seen up to the last reading."""
        orphans = self._cpu_time.orphans_seconds
        notes = {"orphans cpu_seconds": orphans} if orphans else {}
        return Conditions(self.faults_since(self._seconds_before), notes)

    def faults_since(self, seconds: float) -> tuple[str, ...]:
        """What of our processes' work after that time was not seen."""
        return self._faults.since(seconds)

    def close(self) -> None:
        """Nothing is held; reading afterwards is an error."""
        self._closed = True


def probe() -> tuple[Method, str]:
    """That the model is installed; `MeterUnavailableError` says how to get it."""
    if find_spec("codecarbon") is None:
        raise MeterUnavailableError(NOT_INSTALLED)
    return "modelled", "model of this machine's CPU and memory, not a measurement"


def _model() -> tuple[str, float, int, float]:
    """CPU name, TDP (W), logical CPUs and memory power (W), as CodeCarbon finds them offline."""
    cpu: Any = import_module("codecarbon.core.cpu")
    util: Any = import_module("codecarbon.core.util")
    ram: Any = import_module("codecarbon.external.ram")
    # All of the machine's processors share its TDP, not those alone that a scheduler granted.
    job, util.SLURM_JOB_ID = getattr(util, "SLURM_JOB_ID", None), None
    try:
        tdp = cpu.TDP()
        watts = float(tdp.tdp) * util.count_physical_cpus() if tdp.tdp else FALLBACK_TDP_WATTS
        cpus, ram_watts = int(util.count_cpus()), float(ram.RAM().total_power().W)
        if not (0 < watts <= MOST_WATTS and cpus > 0 and 0 <= ram_watts <= MOST_WATTS):
            raise ValueError(f"a TDP of {watts} W, {cpus} CPUs, {ram_watts} W of memory")
        return str(tdp.model), watts, cpus, ram_watts
    finally:
        util.SLURM_JOB_ID = job
