"""CodeCarbon's model as a meter: quiet, offline, of this process tree alone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pytest_energy import open_meter, window
from pytest_energy.errors import EnergyError
from pytest_energy.meters import Meter

pytest.importorskip("codecarbon")

BURN = "import time\nwhile time.process_time() < 0.4: pass\n"


@pytest.fixture
def meter() -> Iterator[Meter]:
    opened = open_meter("codecarbon")
    yield opened
    opened.close()


def cpu_joules(meter: Meter, cpu_seconds: float) -> float:
    """What the model makes of CPU time: the TDP, shared by the logical CPUs."""
    watts = meter.devices[0].power_limit_watts
    assert watts is not None
    return cpu_seconds * watts / multiprocessing.cpu_count()


def test_it_is_modelled_and_has_two_domains(meter: Meter) -> None:
    assert meter.method == "modelled"
    assert [device.domain for device in meter.devices] == ["cpu", "dram"]
    assert all((device.power_limit_watts or 0) > 0 for device in meter.devices)


@pytest.mark.realtime
def test_cpu_joules_follow_the_cpu_time_of_the_process(meter: Meter) -> None:
    spent = time.process_time()
    with window(meter, "work") as w:
        while time.process_time() - spent < 1:
            pass
    spent = time.process_time() - spent
    assert w.valid
    assert w.joules_by_domain["cpu"] == pytest.approx(cpu_joules(meter, spent), rel=0.1)
    watts = meter.devices[1].power_limit_watts
    assert watts is not None
    share = psutil.Process().memory_info().rss / psutil.virtual_memory().total
    assert w.record.notes["memory fraction"] == pytest.approx(share, rel=0.2)
    assert w.joules_by_domain["dram"] >= 0.75 * watts * share * spent
    assert w.joules_by_domain["dram"] <= 1.25 * watts * share * w.seconds


@pytest.mark.realtime
def test_children_count_whether_they_have_ended_or_not(meter: Meter) -> None:
    with window(meter, "ended") as w:
        subprocess.run([sys.executable, "-c", BURN], check=True)
    assert w.joules_by_domain["cpu"] >= 0.9 * cpu_joules(meter, 0.4)
    with (
        window(meter, "alive") as w,
        subprocess.Popen([sys.executable, "-c", BURN + "input()"], stdin=subprocess.PIPE) as child,
    ):
        before = meter.read().joules["cpu"]
        while meter.read().joules["cpu"] - before < 0.8 * cpu_joules(meter, 0.4):
            assert child.poll() is None
        child.communicate(b"\n")
    assert w.joules_by_domain["cpu"] >= 0.9 * cpu_joules(meter, 0.4)


def test_it_prints_nothing_and_leaves_logging_as_it_was(tmp_path: Path) -> None:
    code = """
import threading
from pytest_energy import open_meter, window
meter = open_meter("codecarbon")
with window(meter, "work"):
    sum(range(100000))
assert threading.active_count() == 1, threading.enumerate()
meter.close()
import logging
assert not logging.getLogger("codecarbon").disabled
"""
    here = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            f"import sys; sys.path.insert(0, {str(here)!r})\n{code}",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_user_who_silenced_codecarbon_keeps_it_silent(meter: Meter) -> None:
    logger = logging.getLogger("codecarbon")
    logger.disabled = True
    try:
        open_meter("codecarbon").close()
        assert logger.disabled
    finally:
        logger.disabled = False


def test_a_closed_meter_says_so() -> None:
    meter = open_meter("codecarbon")
    meter.close()
    with pytest.raises(EnergyError, match="meter `codecarbon` is closed"):
        meter.read()


@pytest.mark.realtime
def test_another_tree_is_counted_where_its_root_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    code = BURN + "print('burnt', flush=True)\ntime.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", f"import sys\nsys.stdin.readline()\n{code}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        monkeypatch.setenv("PYTEST_ENERGY_PROCESS_ROOT", str(other.pid))
        meter = open_meter("codecarbon")
        with window(meter, "burning") as w:
            other.stdin.write(b"\n")
            other.stdin.flush()
            other.stdout.readline()
        with window(meter, "its own work does not count") as own:
            spent = time.process_time()
            while time.process_time() - spent < 0.3:
                pass
        other.kill()
    assert w.joules_by_domain["cpu"] == pytest.approx(cpu_joules(meter, 0.4), rel=0.2)
    assert own.joules_by_domain["cpu"] <= cpu_joules(meter, 0.05)
    other.wait()
    with pytest.raises(EnergyError, match=f"`PYTEST_ENERGY_PROCESS_ROOT={other.pid}` is no proc"):
        meter.read()


def test_a_share_of_a_machine_that_a_scheduler_granted_is_not_the_machine(tmp_path: Path) -> None:
    scheduler = tmp_path / "scontrol"
    scheduler.write_text("#!/bin/sh\necho 'NumNodes=1 NumCPUs=1 NumTasks=1'\n")
    scheduler.chmod(0o755)
    code = "from pytest_energy import open_meter as o; print(o('codecarbon').resolution_joules)"

    def started(**variables: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code]
        environment = {**os.environ, **variables}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    resolutions = (
        started(),
        started(SLURM_JOB_ID="7", PATH=f"{tmp_path}:{os.environ['PATH']}"),
        started(SLURM_JOB_ID="7"),  # a container without the scheduler's programs
    )
    printed = [process.communicate()[0] for process in resolutions]
    assert [process.returncode for process in resolutions] == [0, 0, 0]
    assert printed == [printed[0]] * 3


@pytest.mark.fault(
    "CodeCarbon",
    "a child's time is lost within a window",
    "`unseen work`, never negative joules",
)
def test_a_child_whose_time_is_lost_makes_its_window_invalid(meter: Meter) -> None:
    code = BURN + "print('burnt', flush=True)\ntime.sleep(60)"
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            with window(meter, "its end is seen by nobody") as w:
                child.kill()
                child.wait()
    finally:
        signal.signal(signal.SIGCHLD, old)
    assert str(w.invalid_reason).startswith("unseen work: process ")
    assert w.record.joules_by_domain["cpu"] >= 0
