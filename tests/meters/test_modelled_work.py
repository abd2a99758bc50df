"""Modelled joules are those of the work: what else a simulated machine does stays out of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from pytest_energy import open_meter, window
from pytest_energy.clocks import real_time
from pytest_energy.metering import OpenWindow
from pytest_energy.metering.hardware import identify
from pytest_energy.meters import Meter

pytest.importorskip("codecarbon")

ROOT = 100
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
TOTAL_BYTES = 16 << 30
HELD_BYTES = 4 << 30
CPUS = 4


class Machine:
    """The kernel's files of a machine with four CPUs, and its clock; time passes by `run`."""

    def __init__(self, folder: Path, tells: bool = True) -> None:
        self._folder, self._tells = folder, tells
        self.seconds = 1000.0
        self._cpu = self._busy = 500.0
        self._threads: list[list[float]] = []
        (folder / "meminfo").write_text(
            f"MemTotal: {TOTAL_BYTES >> 10} kB\nMemFree: 1024 kB\nMemAvailable: 1024 kB\n"
            "Buffers: 0 kB\nCached: 0 kB\n"
        )
        self.run(0.0, [(0.5, 0.0)])

    def run(self, seconds: float, threads: list[tuple[float, float]], others: float = 0.0) -> None:
        """Let time pass in which each thread of ours ran and waited so long (s).

        `others` is the CPU seconds of other processes.
        """
        self.seconds += seconds
        self._threads += [[0.0, 0.0] for _ in threads[len(self._threads) :]]
        for thread, (ran, waited) in zip(self._threads, threads, strict=True):
            thread[0] += ran
            thread[1] += waited
            self._cpu += ran
            self._busy += ran
        self._busy += others
        self._write()

    def _write(self) -> None:
        own = self._folder / str(ROOT)
        ticks = round(sum(thread[0] for thread in self._threads) * TICKS)
        fields = ["S", "1", "1", *["0"] * 8, str(ticks), *["0"] * 7, "7", "0"]
        fields += [str(HELD_BYTES // PAGE), *["0"] * 20]
        own.mkdir(exist_ok=True)
        (own / "stat").write_text(f"{ROOT} (work) {' '.join(fields)}")
        for number, (ran, waited) in enumerate(self._threads):
            folder = own / "task" / str(ROOT + number)
            folder.mkdir(parents=True, exist_ok=True)
            if self._tells:
                (folder / "schedstat").write_text(f"{ran * 1e9:.0f} {waited * 1e9:.0f} 7\n")
        (self._folder / "self").mkdir(exist_ok=True)
        (self._folder / "self" / "stat").write_text("")
        idle = CPUS * self.seconds - self._busy
        times = [self._busy, 0, 0, idle, *[0] * 6]
        line = " ".join(str(round(each * TICKS)) for each in times)
        (self._folder / "stat").write_text(f"cpu  {line}\n")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a machine's files are to be."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    monkeypatch.setenv("PYTEST_ENERGY_PROCESS_ROOT", str(ROOT))
    return tmp_path


@pytest.fixture
def clocked() -> Iterator[ExitStack]:
    """Ends what was simulated."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def machine(place: Path, clocked: ExitStack) -> Machine:
    """A machine that tells how long threads wait, and whose clock is the program's."""
    return started(Machine(place), clocked)


def started(machine: Machine, stack: ExitStack) -> Machine:
    """The machine, whose clock is the program's from now on."""
    stack.enter_context(real_time.simulated(lambda: machine.seconds, lambda _: None))
    return machine


def metered(
    machine: Machine,
    seconds: float,
    threads: list[tuple[float, float]],
    others: float = 0.0,
    meter: Meter | None = None,
) -> OpenWindow:
    """A window in which so much happens."""
    with window(meter or open_meter("codecarbon"), "work") as opened:
        machine.run(seconds, threads, others)
    return opened


def test_memory_is_the_share_that_the_work_holds(machine: Machine) -> None:
    meter = open_meter("codecarbon")
    watts = meter.devices[1].power_limit_watts
    assert watts is not None

    done = metered(machine, 2.0, [(2.0, 0.0)], meter=meter)

    share = HELD_BYTES / TOTAL_BYTES
    assert done.joules_by_domain["dram"] == pytest.approx(watts * share * 2.0)
    assert done.record.notes["memory fraction"] == pytest.approx(share)


@pytest.mark.fault(
    "CodeCarbon",
    "other processes take the core that the work would run on",
    "the time that it waits is not in its joules, which are the same as without them",
)
def test_waiting_for_a_core_costs_nothing(machine: Machine) -> None:
    alone = metered(machine, 2.0, [(2.0, 0.0)])
    beside = metered(machine, 5.5, [(2.0, 3.5)], others=20.0)

    assert beside.valid
    assert beside.joules == pytest.approx(alone.joules, rel=1e-3)
    assert beside.record.notes["waiting fraction"] == pytest.approx(3.5 / 5.5)


def test_more_threads_than_cores_wait_for_each_other_and_cost_the_same(machine: Machine) -> None:
    alone = metered(machine, 2.0, [(1.0, 1.0), (1.0, 1.0)])
    beside = metered(machine, 4.0, [(1.0, 3.0), (1.0, 3.0)], others=0.4)

    assert alone.valid
    assert beside.joules == pytest.approx(alone.joules, rel=1e-3)


def test_sleep_is_time_in_which_memory_is_held(machine: Machine) -> None:
    done = metered(machine, 10.0, [(2.0, 0.0)])
    watts = open_meter("codecarbon").devices[1].power_limit_watts
    assert watts is not None
    share = HELD_BYTES / TOTAL_BYTES
    assert done.joules_by_domain["dram"] == pytest.approx(watts * share * 10.0)


@pytest.mark.fault(
    "CodeCarbon",
    "threads that wait for each other spin while other processes hold one of them up",
    "the window is invalid: `waited for a core`",
)
def test_threads_that_are_held_up_are_no_evidence(machine: Machine) -> None:
    done = metered(machine, 5.0, [(4.0, 1.0), (3.0, 2.0)], others=12.0)
    assert str(done.invalid_reason).startswith("waited for a core: ")
    assert "OMP_NUM_THREADS=1" in str(done.invalid_reason)


def test_a_short_hold_up_within_a_window_is_weighed_with_all_of_it(machine: Machine) -> None:
    meter = open_meter("codecarbon")
    with window(meter, "long") as whole:
        with window(meter, "part") as part:
            machine.run(1.0, [(0.5, 0.5), (0.5, 0.5)], others=3.0)
        machine.run(20.0, [(20.0, 0.0), (20.0, 0.0)])
    assert not part.valid
    assert whole.valid


def test_a_kernel_that_does_not_tell_is_said(place: Path, clocked: ExitStack) -> None:
    machine = started(Machine(place, tells=False), clocked)
    meter = open_meter("codecarbon")
    assert "does not tell" in " ".join(getattr(meter, "remarks", ()))
    assert metered(machine, 2.0, [(2.0, 0.0)], meter=meter).valid


def test_a_baseline_knows_the_formula_that_it_was_made_with() -> None:
    meter = open_meter("codecarbon")
    assert identify(meter).environment["meter"] == "codecarbon, estimate 2 (modelled)"
