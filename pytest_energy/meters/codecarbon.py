"""Modelled joules of our process tree, from CodeCarbon's CPU and memory model."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.errors import MeterUnavailableError
from pytest_energy.meters.cpu_time import MOST_SHARE, CpuTime, RunQueue, Waits, machine_seconds
from pytest_energy.meters.process_tree import tree_root
from pytest_energy.meters.protocol import (
    LATENCY_SECONDS,
    MOST_WATTS,
    WAITED,
    Conditions,
    Device,
    FaultLog,
    Measured,
    Opened,
    Reading,
    fault,
)
from pytest_energy.outcomes import Method
from pytest_energy.text import encodable, one_line

NOT_INSTALLED = "meter `codecarbon`: CodeCarbon is not installed; `pip install codecarbon`"
FALLBACK_TDP_WATTS = 85.0
"""What CodeCarbon assumes where it cannot name the CPU."""
NOT_TOLD = (
    "the kernel does not tell how long processes wait for a core, so the joules of memory are "
    "those of the waits as well"
)
PARALLEL = 1.2
"""Threads ready to run, on the mean, from which on there is more than one."""


class CodeCarbonMeter:
    """CPU seconds of the process tree x TDP / logical CPUs, and its share of the memory's power.

    CodeCarbon's `process` tracking, integrated: CPU time is cumulative, so nothing has to be
    sampled. Memory draws CodeCarbon's watts for this machine, times the share of it that the tree
    holds, for as long as the work did not wait for a core. The figures are modelled, never
    measured.
    """

    name = "codecarbon"
    method: Method = "modelled"
    estimate = 2
    """Counts the changes of the formula: figures of another one are on another scale."""

    def __init__(self) -> None:
        import psutil

        probe()  # raises if it is not installed
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
        self._watts_per_byte = ram_watts / psutil.virtual_memory().total
        self._ram_watts = ram_watts
        self.resolution_joules = self._joules_per_cpu_second / os.sysconf("SC_CLK_TCK")
        self._cpu_time = CpuTime(tree_root())
        self._queue = RunQueue(self._cpu_time.pids)
        self.remarks: tuple[str, ...] = () if self._queue.is_known else (NOT_TOLD,)
        self._last = Look(real_time.monotonic(), watts=self._memory_watts())
        self._seconds_before = self._last.seconds
        self._faults = FaultLog()
        self._lock = threading.Lock()
        self._open = Opened(self.name)

    @property
    def modelled(self) -> str:
        """What the joules are worked out from, in a sentence."""
        return (
            f"`cpu` is CPU seconds of the run's processes times {self._joules_per_cpu_second:.3g} "
            f"W a core, `dram` their share of the memory times {self._ram_watts:.3g} W and seconds"
        )

    def read(self) -> Reading:
        """Modelled joules of CPU and memory since the meter was opened (J)."""
        look = self.look()
        return Reading(look.seconds, self._joules(look))

    def look(self) -> Look:
        """The state of the process tree now; raises `EnergyError` if its root is gone."""
        self._open.check()
        with self._lock:
            now = real_time.monotonic()
            cpu_seconds, wrong = self._cpu_time.read()
            waits = self._queue.read(self._cpu_time.pids)
            last, watts = self._last, self._memory_watts()
            self._seconds_before = last.seconds
            waited, seconds = waits.since(last.waits).total, now - last.seconds
            # Without the share of the time that went by in waits for a core.
            worked = seconds - min(seconds, waited.ready_seconds) * waited.share
            joules = last.memory_joules + (last.watts + watts) / 2 * worked
            self._last = Look(now, cpu_seconds, waits, watts, machine_seconds(), joules)
            for each in wrong:
                self._faults.add(now, each)
            return self._last

    def begin(self) -> Span:
        """A window, which can tell whether its work waited for a core."""
        return Span(self)

    def measured(self, first: Look, last: Look, late_seconds: float) -> Measured:
        """Joules between two looks, and whether what they stand for is known."""
        before, after = self._joules(first), self._joules(last)
        joules = {domain: after[domain] - before[domain] for domain in after}
        waits, notes = last.waits.since(first.waits), dict(self.conditions().notes)
        watts = sum(joules.values()) / max(last.seconds - first.seconds, LATENCY_SECONDS)
        doubt = watts * (late_seconds + LATENCY_SECONDS) + 2 * self.resolution_joules
        if self._ram_watts:
            notes["memory fraction"] = last.watts / self._ram_watts
        if share := waits.total.share:
            notes["waiting fraction"] = share
        faults = (*self.faults_since(first.seconds), *_crowded(first, last, waits))
        return Measured(joules, doubt, faults, notes)

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
        self._open.close()

    def _joules(self, look: Look) -> dict[str, float]:
        cpu_joules = look.cpu_seconds * self._joules_per_cpu_second
        return {"cpu": cpu_joules, "dram": look.memory_joules}

    def _memory_watts(self) -> float:
        # Pages that several processes share count for each of them, as CodeCarbon counts them.
        return min(self._ram_watts, self._watts_per_byte * self._cpu_time.resident_bytes)


@dataclass(frozen=True)
class Look:
    """The process tree at a moment: cumulative, but for `watts`, the power of what it holds.

    `machine` is CPU seconds of the machine, that there were and that were used, if known.
    """

    seconds: float
    cpu_seconds: float = 0.0
    waits: Waits = field(default_factory=Waits)
    watts: float = 0.0
    machine: tuple[float, float] | None = None
    memory_joules: float = 0.0

    def others_since(self, before: Look) -> float:
        """Others' share of all CPUs since an earlier look, 0 if unknown."""
        if not (self.machine and before.machine and self.machine[0] > before.machine[0]):
            return 0.0
        there, used = (self.machine[n] - before.machine[n] for n in (0, 1))
        return (used - self.cpu_seconds + before.cpu_seconds) / there


def _crowded(first: Look, last: Look, waits: Waits) -> Iterator[str]:
    """The fault of a window whose CPU time is not the work's own.

    Threads of a process that wait for each other spin while one of them has no core, and that is
    CPU time. One thread at a time costs the same, however long it waits.
    """
    others, most = last.others_since(first), PARALLEL * (last.seconds - first.seconds)
    parallel = [one for one in waits.by_process.values() if one.ready_seconds > most]
    share = max((one.share for one in parallel), default=0.0)
    if share > MOST_SHARE and others > MOST_SHARE:
        yield fault(
            WAITED,
            f"threads of one process had none for {100 * share:.0f} % of their time, while other "
            f"processes used {100 * others:.0f} % of all CPUs; stop those, or use one thread "
            "(`OMP_NUM_THREADS=1`)",
        )


class Span:
    """A window from one look at the process tree to another."""

    def __init__(self, meter: CodeCarbonMeter) -> None:
        self._meter = meter
        self._first = meter.look()
        self.started = real_time.monotonic()

    def work_started(self, started: float) -> None:
        """Begin anew: the tree can be looked at whenever it is wanted."""
        self._first, self.started = self._meter.look(), started

    def end(self, ended: float) -> Measured:
        """Joules from the beginning until now; `ended` is when the work did (s)."""
        last = self._meter.look()
        late = max(0.0, last.seconds - ended) + max(0.0, self.started - self._first.seconds)
        return self._meter.measured(self._first, last, late)


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
    # The whole machine's TDP and memory, not what a scheduler granted of them.
    granted = {module: getattr(module, "SLURM_JOB_ID", None) for module in (util, ram)}
    util.SLURM_JOB_ID = ram.SLURM_JOB_ID = None
    try:
        tdp = cpu.TDP()
        watts = float(tdp.tdp) * util.count_physical_cpus() if tdp.tdp else FALLBACK_TDP_WATTS
        cpus, ram_watts = int(util.count_cpus()), float(ram.RAM().total_power().W)
        if not (0 < watts <= MOST_WATTS and cpus > 0 and 0 <= ram_watts <= MOST_WATTS):
            raise ValueError(f"a TDP of {watts} W, {cpus} CPUs, {ram_watts} W of memory")
        return str(tdp.model), watts, cpus, ram_watts
    finally:
        for module, job in granted.items():
            module.SLURM_JOB_ID = job
