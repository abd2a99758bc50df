"""Two runs never meter one device at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.metering.device_lock import HELD_VARIABLE, device_lock, held_devices

HOLD = """
import sys, time
from pytest_energy.metering.device_lock import device_lock
with device_lock(sys.argv[1:], 10, print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


@contextmanager
def holder(*uuids: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, *uuids],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if process.stdin is not None:
            process.stdin.close()


def is_free(uuid: str) -> bool:
    """Whether another process can take the device's lock at once."""
    command = [sys.executable, "-c", HOLD.replace("10", "0"), uuid]
    done = subprocess.run(command, input="", capture_output=True, text=True)
    assert done.returncode == 0 or "is being metered by process" in done.stderr
    return done.returncode == 0


def test_second_gives_up_and_says_who_holds_it() -> None:
    told: list[str] = []
    with (
        holder("GPU-a") as process,
        pytest.raises(EnergyError, match=rf"device `GPU-a` .*process {process.pid} \(python"),
        device_lock(["GPU-b", "GPU-a"], 0.3, told.append),
    ):
        pytest.fail("entered while another process held the device")
    assert len(told) == 1
    assert f"waiting for process {process.pid} (python" in told[0]


def test_second_enters_when_the_first_lets_go() -> None:
    told: list[str] = []
    with holder("GPU-a") as process:

        def let_go(text: str) -> None:
            told.append(text)
            assert process.stdin is not None
            process.stdin.close()

        with device_lock(["GPU-a"], 30, let_go):
            assert len(told) == 1


def test_a_killed_holder_frees_the_device() -> None:
    with holder("GPU-a") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with device_lock(["GPU-a"], 0, pytest.fail):
            pass


def test_other_devices_are_free() -> None:
    with holder("GPU-a"), device_lock(["GPU-b"], 0, pytest.fail):
        pass


def test_what_was_taken_is_given_back_when_another_is_busy() -> None:
    with (
        holder("GPU-b"),
        pytest.raises(EnergyError),
        device_lock(["GPU-a", "GPU-b"], 0, lambda _: None),
    ):
        pytest.fail("entered while another process held the device")
    assert is_free("GPU-a")


def test_same_process_enters_again_and_frees_it_with_the_outermost_block() -> None:
    with device_lock(["GPU-a"], 0, pytest.fail):
        with device_lock(["GPU-a", "GPU-a"], 0, pytest.fail):
            pass
        assert not is_free("GPU-a")
    assert is_free("GPU-a")


def test_a_thread_keeps_what_another_thread_lets_go() -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with device_lock(["GPU-a"], 0, pytest.fail):
            entered.set()
            leave.wait(30)

    second = threading.Thread(target=hold)
    with device_lock(["GPU-a"], 0, pytest.fail):
        second.start()
        assert entered.wait(30)
    assert held_devices() == ("GPU-a",)
    assert not is_free("GPU-a")
    leave.set()
    second.join()
    assert held_devices() == ()
    assert is_free("GPU-a")


FORKED = """
import os, sys
from pytest_energy.metering.device_lock import device_lock, held_devices
with device_lock(["GPU-a"], 0, print):
    if not (child := os.fork()):
        with device_lock(["GPU-a", "GPU-b"], 0, print):
            print(held_devices(), flush=True)
        print(held_devices(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("left", flush=True)
    sys.stdin.read()
"""


def test_a_forked_process_enters_what_is_held_for_it_and_leaves_it_held() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(3)]
        assert printed == ["('GPU-a', 'GPU-b')\n", "('GPU-a',)\n", "left\n"]
        assert not is_free("GPU-a")
        assert is_free("GPU-b")
        process.communicate("")


def test_others_may_take_the_lock_too(folder: Path) -> None:
    with device_lock(["GPU-a"], 0, pytest.fail):
        assert folder.stat().st_mode & 0o777 == 0o777
        assert (folder / "GPU-a.lock").stat().st_mode & 0o666 == 0o666


def test_a_folder_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path / "file"))
    with (
        pytest.raises(EnergyError, match="set `PYTEST_ENERGY_LOCKS`"),
        device_lock(["GPU-a"], 0, pytest.fail),
    ):
        pass


def test_what_another_process_holds_for_us_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with holder("GPU-1"):
        monkeypatch.setenv(HELD_VARIABLE, "GPU-1\nGPU-3")
        with device_lock(["GPU-1", "GPU-2"], 0, print):
            assert held_devices() == ("GPU-1", "GPU-2", "GPU-3")
            assert not is_free("GPU-2")
        monkeypatch.delenv(HELD_VARIABLE)
        assert held_devices() == ()
        with (
            pytest.raises(EnergyError, match="`GPU-1` is being metered"),
            device_lock(["GPU-1"], 0, print),
        ):
            pass
