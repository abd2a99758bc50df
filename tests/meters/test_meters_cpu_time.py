"""CPU time of a tree of real processes, among them some that nobody waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pytest_energy.meters.cpu_time import CpuTime

BURNT = 0.3
BURN = f"import time\nwhile time.process_time() < {BURNT}: pass\n"
# Prints the id of a child that does the rest, which loses its parent.
ORPHAN = "import os\npid = os.fork()\nif pid:\n    print(pid, flush=True)\n    os._exit(0)\n"


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the code; told to go on by lines, ended at the end."""
    command = [sys.executable, "-S", "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_until_gone(pid: int) -> None:
    give_up = time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < give_up:
        time.sleep(0.01)


def test_a_child_that_was_never_looked_at_counts_once_it_is_waited_for() -> None:
    tree = CpuTime(os.getpid())
    with child(BURN) as burning:
        burning.wait()
    seconds, faults = tree.read()
    assert BURNT - 0.02 <= seconds < 3 * BURNT
    assert faults == ()


@pytest.mark.fault(
    "CodeCarbon",
    "a child ends between two looks",
    "what was seen of it stays",
)
def test_what_was_seen_of_a_child_stays_when_it_ends() -> None:
    tree = CpuTime(os.getpid())
    with child(f"{BURN}print('burnt', flush=True)\ninput()") as burning:
        assert line(burning) == "burnt"
        before, _ = tree.read()
        burning.communicate("\n")
        after, faults = tree.read()
    assert BURNT - 0.02 <= before <= after < before + BURNT
    assert faults == ()


@pytest.mark.fault(
    "CodeCarbon",
    "a child loses its parent and burns on",
    "its time counts",
)
def test_one_that_loses_its_parent_is_followed_until_it_ends() -> None:
    tree = CpuTime(os.getpid())
    # The parent stays until the child was looked at once.
    code = ORPHAN.replace("    os._exit", "    input()\n    os._exit")
    go_on = "import sys, time\ntime.sleep(0.5)\n"
    with child(f"{code}{go_on}{BURN}print('burnt', flush=True)\ntime.sleep(60)") as parent:
        orphan = int(line(parent))
        tree.read()
        assert parent.stdin is not None
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert line(parent) == "burnt"
        burnt, faults = tree.read()
        os.kill(orphan, signal.SIGKILL)
        wait_until_gone(orphan)
        ended, _ = tree.read()
    assert BURNT - 0.05 <= burnt <= ended < 3 * BURNT
    assert faults == ()


@pytest.mark.fault(
    "CodeCarbon",
    "a child ends while `SIGCHLD` is ignored",
    "`unseen work`; the sum never falls",
)
def test_a_child_that_nobody_may_wait_for_is_a_fault_and_takes_nothing_back() -> None:
    tree = CpuTime(os.getpid())
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with child(f"{BURN}print('burnt', flush=True)\ntime.sleep(60)") as burning:
            assert line(burning) == "burnt"
            before, _ = tree.read()
            burning.kill()
            wait_until_gone(burning.pid)
            after, faults = tree.read()
    finally:
        signal.signal(signal.SIGCHLD, old)
    assert after >= before >= BURNT - 0.02
    assert len(faults) == 2
    assert faults[0].startswith(f"unseen work: process {os.getpid()} ignores `SIGCHLD`")
    assert faults[1].startswith("unseen work: a process of ours ended, and nobody of ours was told")


def burnt_orphan(parent: subprocess.Popen[str]) -> int:
    """The process id of an orphan that has burnt its time and goes on living."""
    orphan = int(line(parent))
    parent.wait()
    assert line(parent) == "burnt"
    return orphan


def test_one_that_has_lost_its_parent_before_anybody_looked_counts() -> None:
    tree = CpuTime(os.getpid())
    with child(f"{ORPHAN}{BURN}print('burnt', flush=True)\ntime.sleep(60)") as parent:
        orphan = burnt_orphan(parent)
        seconds, faults = tree.read()
        os.kill(orphan, signal.SIGKILL)
    assert BURNT - 0.05 <= seconds < 3 * BURNT
    assert faults == ()


@pytest.mark.fault(
    "CodeCarbon",
    "an orphan leaves its session as well",
    "its time is noted",
)
def test_one_that_has_left_its_group_as_well_is_noted() -> None:
    tree = CpuTime(os.getpid())
    code = f"{ORPHAN}os.setsid()\n{BURN}print('burnt', flush=True)\ntime.sleep(60)"
    with child(code) as parent:
        orphan = burnt_orphan(parent)
        tree.read()
        os.kill(orphan, signal.SIGKILL)
    assert tree.orphans_seconds >= BURNT - 0.05


def told_first() -> list[bytes]:
    """CPU time of ended children that the first of all processes was told."""
    with open("/proc/1/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[13:15]


def test_one_that_began_and_ended_between_looks_is_noted() -> None:
    tree = CpuTime(os.getpid())
    before = told_first()
    with child(f"{ORPHAN}{BURN}") as parent:
        orphan = int(line(parent))
        parent.wait()
        wait_until_gone(orphan)
    tree.read()
    if told_first() == before:
        pytest.skip("another process adopts here")
    assert tree.orphans_seconds >= BURNT / 2


def test_what_looking_costs_does_not_count() -> None:
    tree = CpuTime(os.getpid())
    spent = time.process_time()
    for _ in range(30):
        seconds, _ = tree.read()
    assert seconds < 0.2 * (time.process_time() - spent)


@pytest.mark.fault(
    "CodeCarbon",
    "`PYTEST_ENERGY_PROCESS_ROOT` names no process",
    "an error with its name and value",
)
def test_a_root_that_is_no_process() -> None:
    with child("pass") as ended, suppress(ProcessLookupError):
        ended.wait()
    with pytest.raises(Exception, match=f"PYTEST_ENERGY_PROCESS_ROOT={ended.pid}` is no process"):
        CpuTime(ended.pid)
