"""Recording on a processor that others use is refused, and says who they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pytest_energy.metering.cpu_load import (
    CpuUse,
    Process,
    cpu_use,
    disturbance,
    others,
    require_quiet_cpu,
)
from pytest_energy.meters.cpu_time import MOST_SHARE

OWN = 100
BEFORE = CpuUse(
    seconds=1000.0,
    busy_seconds=100.0,
    processes={
        1: Process("init", 0, 5.0),
        OWN: Process("pytest", 1, 10.0),
        101: Process("worker", OWN, 3.0),
        200: Process("cc1plus", 1, 50.0),
    },
)


def later(**seconds: float) -> CpuUse:
    """Ten CPU seconds later, each process having used so many more."""
    processes = {
        pid: replace(each, seconds=each.seconds + seconds.get(each.name, 0.0))
        for pid, each in BEFORE.processes.items()
    }
    processes[300] = Process("new", 101, seconds.get("new", 0.0))
    busy = BEFORE.busy_seconds + sum(seconds.values())
    return CpuUse(BEFORE.seconds + 10, busy, processes)


def test_what_this_process_and_its_descendants_use_is_not_others() -> None:
    found = others(BEFORE, later(pytest=2.0, worker=3.0, new=1.0), OWN)
    assert found.share == pytest.approx(0.0)
    assert found.names == ()


def test_others_are_named_the_busiest_first() -> None:
    found = others(BEFORE, later(pytest=2.0, cc1plus=3.0, init=0.5), OWN)
    assert found.share == pytest.approx(0.35)
    assert found.who == "`cc1plus` (process 200) 30 %, `init` (process 1) 5 %"


def test_what_those_who_are_named_have_not_used_is_told_as_well() -> None:
    found = others(BEFORE, later(cc1plus=0.5, gone=2.0), OWN)
    assert found.share == pytest.approx(0.25)
    rest = "processes that have ended or use little 20 %"
    assert found.who == f"`cc1plus` (process 200) 5 %, {rest}"


def test_a_child_that_has_ended_was_ours_too() -> None:
    after = later(ended=4.0)
    mine = replace(after.processes[101], ended_seconds=3.0)

    found = others(BEFORE, replace(after, processes={**after.processes, 101: mine}), OWN)

    assert found.share == pytest.approx(0.1)


def test_work_that_no_listed_process_did_counts() -> None:
    found = others(BEFORE, later(elsewhere=4.0), OWN)
    assert found.share == pytest.approx(0.4)
    assert found.who == "none of them is named, since they have ended or use little each"


def test_a_process_whose_name_is_no_text_is_seen_like_others(tmp_path: Path) -> None:
    program = os.fsencode(tmp_path) + b"/caf\xe9 (x) y"
    os.symlink("/bin/sh", program)
    loop = "while [ $((i += 1)) -lt 100000 ]; do :; done; echo done; read line"
    with subprocess.Popen(
        [program, "-c", loop], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        found = cpu_use()
        child.communicate()
    assert found is not None
    assert 0 < found.processes[child.pid].seconds < found.busy_seconds < found.seconds
    assert found.processes[child.pid].parent == os.getpid()
    assert found.processes[child.pid].name == "caf? (x) y"


def test_where_the_kernel_does_not_tell_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cpu_use()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert cpu_use() is None
    require_quiet_cpu(0.0)
    assert disturbance(before) is None


@pytest.fixture
def busy() -> Iterator[None]:
    """Processes that use more of the CPU than is allowed, and are not those of the run within."""
    count = int((os.cpu_count() or 1) * 3 * MOST_SHARE) + 1
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.realtime
def test_recording_beside_others_work_ends_before_it_begins(
    pytester: pytest.Pytester, busy: None
) -> None:
    pytester.makepyfile("def test_mine(energy_gate): raise AssertionError('it ran')")

    result = pytester.runpytest_subprocess("--energy-meter=codecarbon", "--energy-update=new")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: `--energy-update` records*other processes use * % of this*CPU (`*`*), more than*"]
    )
    assert not (pytester.path / "baselines").exists()


@pytest.mark.realtime
def test_metering_beside_others_work_goes_on_and_says_so(
    pytester: pytest.Pytester, busy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(pytester.path / "locks"))
    pytester.makepyfile(
        """
        import time

        def test_mine(energy):
            with energy.window("train"):
                time.sleep(0.5)
        """
    )

    result = pytester.runpytest_subprocess("--energy-meter=codecarbon", "--energy-json=run.json")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["warning: other processes used * % of this*CPU meanwhile, in * s: `*` (process *) * %*"]
    )
    run = json.loads((pytester.path / "run.json").read_text())["run"]
    assert run["disturbance"].startswith("other processes")


@pytest.mark.realtime
def test_ones_own_children_are_not_others(busy: None) -> None:
    before = cpu_use()
    time.sleep(0.4)
    after = cpu_use()
    assert before is not None
    assert after is not None
    nobodys = others(before, after, own=1 << 30)
    ours = others(before, after, os.getpid())
    assert nobodys.share > ours.share
