"""What a run, its reports and `doctor` tell of simulated cards, and what changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sim import SimulatedGpu, environment, run_python

Run = Callable[..., pytest.RunResult]

DOCTOR = """
import sys
import sim
sim.simulated_seconds()
from pytest_energy.cli import main
sys.stderr = sys.stdout
print("exit", main(["doctor"]))
"""
METERED = """
    import sim
    time = sim.simulated_seconds()

    def test_mine(energy):
        with energy.window("work") as w:
            time.sleep(0.5)
        assert w.joules > 0
"""
NAMELESS = """
import ctypes, time
ctypes.CDLL(None).prctl(15, b"0123456789abcd\\xc3", 0, 0, 0)
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a metered test on a simulated card."""

    def run(*arguments: str, gpu: SimulatedGpu) -> pytest.RunResult:
        variables = environment([gpu], pytester.path)
        for name in ("LD_LIBRARY_PATH", "NVML_SIM", "PYTHONPATH", "PYTEST_ENERGY_LOCKS"):
            monkeypatch.setenv(name, variables[name])
        pytester.makepyfile(test_mine=METERED)
        return pytester.runpytest_subprocess("--energy-meter=nvml", *arguments)

    return run


def test_doctor_tells_of_sources_that_differ(tmp_path: Path) -> None:
    gpu = SimulatedGpu("constant 300", 0.05, lines=("speed 0.57",))

    printed = run_python(DOCTOR, environment([gpu], tmp_path))

    assert "  note: at rest the counter of `gpu:0` says 171 W, and its power readings" in printed
    assert printed.endswith("exit 0\n")


def test_doctor_shows_a_driver_that_fails_and_takes_nothing_in_its_stead(tmp_path: Path) -> None:
    printed = run_python(DOCTOR, environment([], tmp_path, library_lines=["init_error 18"]))

    assert "RM version mismatch" in printed.splitlines()[1]
    assert "hardware key" not in printed
    assert printed.endswith("exit 4\n")


def test_the_reports_tell_of_sources_that_differ(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    gpu = SimulatedGpu("constant 300", 0.05, lines=("speed 0.57",))

    result = run(f"--energy-json={path}", gpu=gpu)

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*the counter of `gpu:0` says 17* W, and its power*"])
    document = json.loads(path.read_text())
    assert sum("compare with a wall meter" in said for said in document["run"]["remarks"]) == 1
    (window,) = document["verdicts"][0]["windows"]
    assert window["notes"]["gpu:0 counter_to_readings"] == pytest.approx(0.57, rel=0.1)


def test_a_process_whose_name_is_no_text_changes_nothing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    command = [sys.executable, "-c", NAMELESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        result = run(f"--energy-json={path}", gpu=SimulatedGpu(tick_seconds=0.05))
        process.kill()

    result.assert_outcomes(passed=1)
    (verdict,) = json.loads(path.read_text())["verdicts"]
    assert [window["invalid_reason"] for window in verdict["windows"]] == [None]
