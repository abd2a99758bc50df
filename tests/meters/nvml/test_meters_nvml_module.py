"""GPUs on one module with their CPU: the driver's joules are the module's, and are called so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from metered import metered, unavailable
from pytest_energy import Device
from pytest_energy.metering import first_fault
from pytest_energy.metering.hardware import fingerprint
from pytest_energy.meters.nvml.card import MODULES
from pytest_energy.meters.protocol import Measured, shown_name
from pytest_energy.reports.charts import power_chart
from pytest_energy.reports.markdown import render
from pytest_energy.workloads.device import require_metered
from report_support import gated, run
from sim import SimulatedGpu, environment, run_python

NAME = "NVIDIA GH200 480GB"
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
            time.sleep(0.3)
        assert dict(w.joules_by_domain).keys() == {"module:0"}
"""


@pytest.mark.parametrize("name", [NAME, "NVIDIA GB200", "NVIDIA GB300", "Grace Hopper 120GB"])
def test_what_has_its_cpu_on_the_same_module(name: str) -> None:
    assert MODULES.search(name)


@pytest.mark.parametrize("name", ["NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA B200", "Gracen"])
def test_what_has_not(name: str) -> None:
    assert not MODULES.search(name)


@pytest.mark.fault(
    "NVML",
    "a GH200, whose counter is of CPU, GPU and memory, and whose plain readings are the GPU's",
    "valid, and called the module's; compared with readings of the module alone",
)
@pytest.mark.parametrize("scope", ["0.3", "none"])
def test_its_joules_are_the_module_s_and_held_against_nothing_else(
    scope: str, tmp_path: Path
) -> None:
    gpu = SimulatedGpu("constant 1100", 0.05, name=NAME, lines=(f"scope {scope}",))

    (found,) = metered([gpu], tmp_path, "time.sleep(1.3)")

    assert found.invalid_reason is None
    assert list(found.joules_by_domain) == ["module:0"]
    assert found.joules == pytest.approx(found.true_joules, rel=0.05)
    assert not any("counter_to_readings" in note for note in found.notes)
    (remark,) = found.remarks
    assert remark.startswith(f"`module:0` ({NAME}): the driver counts joules of CPU, GPU and")


def test_without_a_counter_and_the_module_s_power_it_is_refused(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=None, name=NAME, lines=("scope none",))

    assert "`module:0`" in unavailable([gpu], tmp_path)


def test_doctor_names_what_the_joules_are_of(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, name=NAME, lines=("scope 0.3",))

    printed = run_python(DOCTOR, environment([gpu], tmp_path))

    assert f"energy counter of module:0 {NAME} (CPU, GPU and memory)" in printed
    assert f"  module:0: {NAME} (CPU, GPU and memory)  the GPU's limit 700 W  GPU-" in printed
    assert "hardware key: gh200" in printed
    assert f"  gpu: {NAME}" in printed
    assert "gpu:0" not in printed


def test_the_run_and_its_file_say_it_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, name=NAME, lines=("scope 0.3",))
    variables = environment([gpu], pytester.path)
    for name in ("LD_LIBRARY_PATH", "NVML_SIM", "PYTHONPATH", "PYTEST_ENERGY_LOCKS"):
        monkeypatch.setenv(name, variables[name])
    pytester.makepyfile(METERED)

    result = pytester.runpytest_subprocess("--energy-meter=nvml", "--energy-json=run.json")

    result.assert_outcomes(passed=1)
    assert result.stdout.str().count("joules of CPU, GPU and memory together") == 1
    # Work on the CPU is in them, so that nobody says that it was not metered.
    result.stdout.no_fnmatch_line("*drew no more than when idle*")
    (remark,) = json.loads((pytester.path / "run.json").read_text())["run"]["remarks"]
    assert "a CPU meter's must not be added" in remark


def test_reports_name_it_and_draw_no_limit_of_another_s() -> None:
    shown = run(gated("sst2/bert"))
    windows = shown.record.verdicts[0].windows
    device = {"domain": "module:0", "name": NAME, "uuid": "GPU-5f", "power_limit_watts": 700}
    hardware = {"key": "gh200", "devices": [device]}

    page = render(replace(shown.record, hardware=hardware), shown.footprint)

    assert f"| module:0 | {NAME} (CPU, GPU and memory) |" in page
    chart = power_chart(windows, [device], "x")
    of_gpu = power_chart(windows, [{**device, "domain": "gpu:0"}], "x")
    assert chart is not None
    assert of_gpu is not None
    assert (chart.note, of_gpu.note) == ("", "The dotted line is the power limit, 700 W.")


MODULE = Device("module:0", NAME, "GPU-0", power_limit_watts=700.0)


@pytest.mark.parametrize(("watts", "said"), [(900, None), (3000, None), (6000, "4000 W")])
def test_the_gpu_s_limit_does_not_bind_the_module(watts: float, said: str | None) -> None:
    found = first_fault(Measured({"module:0": watts * 10}, 0.0), 10.0, [MODULE])

    assert (found is None) if said is None else (said in str(found))


def test_a_module_without_joules_is_implausible() -> None:
    measured = Measured({"module:0": 0.0, "wall": 100.0}, 0.0)

    assert "`module:0` shows 0 J" in str(first_fault(measured, 1.0, [MODULE]))


def test_work_on_the_cpu_is_in_the_module_s_joules() -> None:
    require_metered("mine", "cpu", [MODULE])


def test_what_else_is_known_of_its_gpu_is_kept() -> None:
    found = fingerprint((MODULE,), "nvml")

    assert (found["gpu"], found["power_limit_watts"]) == (NAME, "700")
    assert shown_name("gpu:0", "NVIDIA H200") == "NVIDIA H200"
