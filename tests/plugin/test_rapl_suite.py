"""A suite on RAPL counters laid out as the kernel does, beside neighbours as there are."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

_SUITE = """
import os
import subprocess
import time

PROGRAM = os.fsencode({folder!r}) + b"/caf\\xe9\\xe2\\x82"


def measured(energy, name):
    with energy.window(name) as w:
        time.sleep(0.2)
    assert w.valid, w.invalid_reason
    assert 10 < w.mean_watts < 200


def test_alone(energy):
    measured(energy, "alone")


def test_beside_a_name_that_is_no_text(energy):
    os.symlink("/bin/sleep", PROGRAM)
    with subprocess.Popen([PROGRAM, "60"]) as neighbour:
        try:
            while b"\\xe9" not in name_of(neighbour):  # it has its name once it is loaded
                time.sleep(0.01)
            measured(energy, "beside")
        finally:
            neighbour.kill()


def name_of(process):
    with open(f"/proc/{{process.pid}}/comm", "rb") as file:
        return file.read()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of about 50 W, whose counter is written as the kernel would show it."""
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "constraint_0_max_power_uw").write_text("200000000\n")
    counter = zone / "energy_uj"
    counter.write_text(f"{10**10}\n")
    monkeypatch.setenv("PYTEST_ENERGY_POWERCAP", str(zone.parent))
    stop = threading.Event()

    def spend() -> None:
        handle = os.open(counter, os.O_WRONLY)
        joules = 10_000.0
        while not stop.wait(0.005):
            joules += 0.25
            os.pwrite(handle, f"{joules * 1e6:.0f}\n".encode(), 0)
        os.close(handle)

    thread = threading.Thread(target=spend)
    thread.start()
    yield zone
    stop.set()
    thread.join()


def run(pytester: pytest.Pytester) -> pytest.RunResult:
    pytester.makepyfile(_SUITE.format(folder=str(pytester.path)))
    options = ("--energy-meter=rapl", "--energy-idle-seconds=0", "--energy-json=run.json")
    return pytester.runpytest_subprocess(*options)


@pytest.mark.fault(
    "RAPL",
    "a process whose name is no UTF-8 runs beside a suite",
    "all windows are valid",
)
@pytest.mark.realtime
def test_a_process_whose_name_is_no_text_changes_nothing(
    pytester: pytest.Pytester, package: Path
) -> None:
    result = run(pytester)

    result.assert_outcomes(passed=2)
    assert result.ret == 0
    document = json.loads((pytester.path / "run.json").read_text())
    windows = [window for verdict in document["verdicts"] for window in verdict["windows"]]
    assert [window["valid"] for window in windows] == [True, True]


@pytest.mark.realtime
def test_what_a_meter_leaves_out_is_said_once_in_the_run(
    pytester: pytest.Pytester, package: Path
) -> None:
    memory = package.with_name("intel-rapl:0:0")
    memory.mkdir()
    (memory / "name").write_text("dram\n")
    (memory / "energy_uj").write_text("")

    result = run(pytester)

    result.assert_outcomes(passed=2)
    said = [line for line in result.outlines if "its joules are left out" in line]
    assert len(said) == 1
    assert "intel-rapl:0:0/max_energy_range_uj` cannot be read" in said[0]
