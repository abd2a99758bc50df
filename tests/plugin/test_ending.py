"""Runs that a signal ends: nothing of theirs is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

psutil: Any = pytest.importorskip("psutil")

RANK = """
import os, signal, time
from pytest_energy.channels import connect
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.environ["RANK"] == "0":
    channel = connect()
    channel.receive()
    channel.send("done", returned={})
time.sleep(600)
"""
ENDED = """
import os
from pathlib import Path

def test_ended(energy):
    from pytest_energy.workloads.distributed.rank_group import RankGroup
    ranks = RankGroup(2, 1, "spending", 60, program=(os.environ["PROGRAM"],))
    os.kill(os.getpid(), int(os.environ["SIGNAL"]))
    ranks.call("window")
"""
CAUGHT = """
import os, signal, time
import pytest

def test_caught(energy):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except {caught}:
        pass

def test_next(energy):
    print("went on")
"""
FORKED = """
import os, signal

def test_forked(energy):
    child = os.fork()
    if not child:
        signal.pause()
    os.kill(child, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
"""


@pytest.fixture
def place(pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the inner run's temporary files are."""
    place = pytester.mkdir("tmp")
    program = pytester.path / "rank.py"
    program.write_text(RANK)
    monkeypatch.setenv("PROGRAM", str(program))
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(pytester.path / "locks"))
    return place


def ended_by(number: int, pytester: pytest.Pytester) -> subprocess.CompletedProcess[str]:
    test = pytester.makepyfile(test_ended=ENDED)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(test)]
    variables = {**os.environ, "SIGNAL": str(int(number))}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)


def left_alive(pytester: pytest.Pytester) -> list[Any]:
    program = str(pytester.path / "rank.py")
    return [
        each for each in psutil.process_iter(["cmdline"]) if program in (each.info["cmdline"] or [])
    ]


def ours(place: Path) -> list[Path]:
    return list(place.glob("pytest-energy-*"))


@pytest.mark.fault(
    "processes and signals",
    "a run is ended by `SIGINT`, `SIGTERM` or `SIGHUP`",
    "no process and no folder is left",
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_in_order(
    pytester: pytest.Pytester, place: Path, number: signal.Signals
) -> None:
    done = ended_by(number, pytester)

    assert done.returncode == (2 if number == signal.SIGINT else 128 + number), done.stdout
    assert left_alive(pytester) == []
    assert ours(place) == []
    assert number == signal.SIGINT or f"ended by {number.name}" in done.stdout


@pytest.mark.parametrize("caught", ["Exception", "BaseException"])
def test_a_signal_ends_a_run_whatever_catches_it(
    pytester: pytest.Pytester, place: Path, caught: str
) -> None:
    pytester.makepyfile(CAUGHT.format(caught=caught))
    result = pytester.runpytest_subprocess("-s")

    assert result.ret == 128 + signal.SIGTERM
    assert "went on" not in result.stdout.str()
    assert "ended by SIGTERM" in result.stdout.str()


def test_a_signal_after_the_tests_lets_what_is_open_be_closed(
    pytester: pytest.Pytester, place: Path
) -> None:
    pytester.makeconftest(
        """
        import os, signal
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_unconfigure():
            os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    pytester.makepyfile("def test_it(energy): pass")

    result = pytester.runpytest_subprocess()

    assert result.ret == 0
    assert result.stderr.str() == ""
    assert ours(place) == []


@pytest.mark.attack(
    "ends",
    "something kills a run, which leaves folders and ranks",
    "the next run removes the folders",
)
def test_what_a_killed_run_left_is_gone_after_the_next(
    pytester: pytest.Pytester, place: Path
) -> None:
    assert ended_by(signal.SIGKILL, pytester).returncode == -signal.SIGKILL
    assert len(ours(place)) == 1
    for orphan in left_alive(pytester):
        orphan.kill()

    ended_by(signal.SIGTERM, pytester)

    assert ours(place) == []


def test_a_forked_process_ends_as_it_always_did(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makepyfile(FORKED)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)


def test_the_signals_are_given_back(pytester: pytest.Pytester, place: Path) -> None:
    pytester.makepyfile("def test_it(energy): pass")
    before = signal.getsignal(signal.SIGTERM)
    pytester.runpytest_inprocess().assert_outcomes(passed=1)
    assert signal.getsignal(signal.SIGTERM) is before
