"""Child processes: what they print, how they end, and that nothing of them is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.processes import ChildProcess, signal_name, stop_all, tail_of

psutil: Any = pytest.importorskip("psutil")

# It starts a process in its own session and one in a new one, and says what they are.
FAMILY = """
import subprocess, sys, time
asleep = [sys.executable, "-c", "import time; time.sleep(600)"]
found = [subprocess.Popen(asleep, start_new_session=new).pid for new in (False, True)]
print(*found, flush=True)
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def start(tmp_path: Path, code: str) -> ChildProcess:
    folder = tmp_path / "child"
    folder.mkdir()
    return ChildProcess([sys.executable, "-c", code], folder, environment=os.environ)


def printed(child: ChildProcess) -> str:
    give_up = time.monotonic() + 30
    while not (text := child.output.read_text()).endswith("\n"):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return text


def test_what_it_prints_and_how_it_ends(tmp_path: Path) -> None:
    child = start(tmp_path, "import os, sys; print(os.getsid(0)); sys.exit(sys.stdin.read() or 3)")

    assert child.wait(30) == 3
    assert int(tail_of(child.output)) != os.getsid(0)
    stop_all([child])
    stop_all([child])
    assert not child.folder.exists()


@pytest.mark.parametrize(
    ("last", "grace_seconds"),
    [("time.sleep(0.2)", 30), ("time.sleep(600)", 0.1), (DEAF, 0.05), ("time.sleep(600)", 0)],
    ids=["ends by itself", "ends on SIGTERM", "has to be killed", "is killed at once"],
)
def test_nothing_that_it_started_is_left(tmp_path: Path, last: str, grace_seconds: float) -> None:
    child = start(tmp_path, FAMILY + last)
    found = [psutil.Process(int(pid)) for pid in printed(child).split()]

    stop_all([child], grace_seconds, grace_seconds / 2)

    assert [each for each in found if each.is_running() and each.status() != "zombie"] == []


def test_a_child_whose_folder_is_gone_is_stopped_all_the_same(tmp_path: Path) -> None:
    child = start(tmp_path, "import time; time.sleep(600)")
    shutil.rmtree(child.folder)
    stop_all([child])
    assert child.wait() is not None


def test_what_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "child"
    folder.mkdir()

    with pytest.raises(OSError, match="nowhere"):
        ChildProcess(["/nowhere/python"], folder, environment={})

    assert not folder.exists()


def test_signals_are_named() -> None:
    found = [signal_name(code) for code in (0, 3, -9, -35)]
    assert found == [None, None, "SIGKILL", "signal 35"]


@pytest.mark.fault(
    "processes and signals",
    "a signal arrives just while a process is started",
    "it ends the run once the process is noted, which is ended as well",
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_until_a_process_that_starts_is_noted(
    tmp_path: Path, number: signal.Signals
) -> None:
    code = f"""
        import os, signal
        from pathlib import Path
        from pytest_energy.processes import ChildProcess, uninterrupted

        def end(*_):
            raise KeyboardInterrupt

        signal.signal({int(number)}, end)
        noted = []
        try:
            with uninterrupted():
                os.kill(os.getpid(), {int(number)})
                command = ["sleep", "60"]  # Python itself exits with 1 if SIGINT meets its start
                folder = Path({str(tmp_path)!r}, "child")
                folder.mkdir()
                noted.append(ChildProcess(command, folder, environment=os.environ))
        except KeyboardInterrupt:
            print("ended")
            os.kill(noted[0]._process.pid, {int(number)})  # it takes the signal as ever
            print(noted[0].wait(30))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == ["ended", str(-number)], done
