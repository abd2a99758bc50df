"""Cards that cannot be metered are refused and say why; nothing else is taken in their stead."""

from __future__ import annotations

from pathlib import Path

import pytest

from metered import unavailable
from sim import SimulatedGpu, environment, run_python


@pytest.mark.parametrize(
    ("gpu", "reason"),
    [
        (SimulatedGpu(tick_seconds=None, instant=None, usage=None), "neither an energy counter"),
        (SimulatedGpu(tick_seconds=None, instant=None), "the mean of the last second"),
        (SimulatedGpu(lines=("lost 0",)), "`gpu:0` does not answer (GPU is lost)"),
        (SimulatedGpu(lines=("mig MIG-1",)), "`gpu:0` is split into MIG slices"),
    ],
)
def test_meter_is_refused_and_says_why(gpu: SimulatedGpu, reason: str, tmp_path: Path) -> None:
    assert reason in unavailable([gpu], tmp_path)


@pytest.mark.parametrize(
    "gpu", [SimulatedGpu(lines=("mig MIG-1",)), SimulatedGpu(tick_seconds=None, instant=None)]
)
def test_a_gpu_that_is_refused_is_not_replaced_by_the_cpu(
    gpu: SimulatedGpu, tmp_path: Path
) -> None:
    reason = unavailable([gpu], tmp_path, meter="auto")

    assert "meter `nvml`: `gpu:0`" in reason
    assert "name what to meter in its stead, such as `--energy-meter=codecarbon`" in reason


def test_a_driver_that_fails_is_named(tmp_path: Path) -> None:
    text = unavailable([SimulatedGpu()], tmp_path, library_lines=["init_error 9"])
    assert "the NVIDIA driver does not answer" in text


@pytest.mark.fault(
    "NVML",
    "the driver lists no card",
    "refused, and it is said",
)
def test_a_driver_without_cards(tmp_path: Path) -> None:
    assert "the driver lists no GPU" in unavailable([], tmp_path)


def test_without_a_driver_auto_takes_the_model_and_says_so(tmp_path: Path) -> None:
    code = """
from pytest_energy import open_meter
meter = open_meter()
print(meter.name, meter.method)
"""
    variables = environment([], tmp_path)
    variables |= {"LD_LIBRARY_PATH": "", "PYTEST_ENERGY_POWERCAP": str(tmp_path / "none")}
    assert run_python(code, variables) == "codecarbon modelled\n"
