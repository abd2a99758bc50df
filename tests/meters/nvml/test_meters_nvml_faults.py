"""Each fault gives the right joules or an invalid window that names it, never a silent number."""

from __future__ import annotations

from pathlib import Path

import pytest

from metered import metered, unavailable
from sim import SimulatedGpu, environment, run_python

pytestmark = pytest.mark.realtime

FAST = SimulatedGpu(tick_seconds=0.05)
"""Opens quicker than a card of ordinary ticks."""


def in_the_middle(*commands: str, seconds: float = 0.3) -> str:
    """A block that does something to the first card halfway."""
    lines = [f"sim.command({command!r})" for command in commands]
    return "\n".join([f"time.sleep({seconds})", *lines, f"time.sleep({seconds})"])


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (in_the_middle("reset now"), "counter reset: the counter of `gpu:0` fell back"),
        (in_the_middle("lost now"), "device lost: `gpu:0` no longer answers (GPU is lost)"),
        (in_the_middle("stall now never 0"), "counter stands still: that of `gpu:0`"),
        (in_the_middle("stall now +0.4 0", seconds=0.5), "counter stands still: that of `gpu:0`"),
        (in_the_middle("process 999999 now never"), "foreign process: 999999 computes on `gpu:0`"),
        (in_the_middle("process 999999 now +0.4", seconds=0.6), "foreign process: 999999"),
        (in_the_middle("reasons 0x20 now never"), "throttled: software thermal slowdown"),
        (in_the_middle("reasons 0x40 now +0.4", seconds=0.6), "throttled: hardware thermal"),
        (in_the_middle("reasons 0x80 now never"), "throttled: power brake of `gpu:0`"),
        (in_the_middle("reasons 0x08 now never"), "throttled: hardware slowdown of `gpu:0`"),
        (in_the_middle("reasons 0x04 now never", seconds=0.4), "throttled: software power cap"),
        (in_the_middle("clock app 1200 now", seconds=0.4), "clock jump: application SM clock"),
        (in_the_middle("clock max 1200 now", seconds=0.4), "clock jump: maximum SM clock"),
        (in_the_middle("limit 500 now", seconds=0.4), "clock jump: power limit (mW) of `gpu:0`"),
        (in_the_middle("clock sm 1200 now", seconds=0.5), "clock jump: SM clock of `gpu:0`"),
        (in_the_middle("speed 4"), "implausible: `gpu:0` shows"),
        ("sim.command('limit 200 -1')\ntime.sleep(0.4)", "clock jump: power limit"),
        ("pass", "too short: "),
    ],
)
def test_window_is_invalid_and_says_why(block: str, reason: str, tmp_path: Path) -> None:
    (found,) = metered([FAST], tmp_path, block)
    assert found.invalid_reason is not None
    assert reason in found.invalid_reason


def test_a_counter_that_falls_back_unseen_at_the_ends_is_seen_in_between(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, start_millijoules=0)
    block = "time.sleep(0.2)\nsim.command('reset now')\ntime.sleep(1.8)"
    (found,) = metered([gpu], tmp_path, block)
    assert "counter reset" in str(found.invalid_reason)


def test_power_above_the_limit_is_not_believed(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, lines=("limit 200 0",))
    (found,) = metered([gpu], tmp_path)
    assert found.invalid_reason is not None
    assert "its limit is 200 W" in found.invalid_reason


def test_a_counter_that_disagrees_with_the_power_readings_is_not_believed(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, lines=("speed 0.2",))
    (found,) = metered([gpu], tmp_path, "time.sleep(1.5)")
    assert "the counter of `gpu:0` says 60 W, its power readings 300 to 300 W" in str(
        found.invalid_reason
    )


def test_a_power_cap_at_the_limit_is_ordinary(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, lines=("limit 310 0", "reasons 0x04 0 never"))
    (found,) = metered([gpu], tmp_path, "time.sleep(0.6)")
    assert found.invalid_reason is None


def test_own_processes_are_not_foreign(tmp_path: Path) -> None:
    block = """
        code = "import sys; sys.stdin.read()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        sim.command(f"process {os.getpid()} now never")
        sim.command(f"process {os.getppid()} now never")
        sim.command(f"process {child.pid} now never")
        time.sleep(0.5)
        child.communicate(b"")
        sim.command("error nvmlDeviceGetComputeRunningProcesses_v3 3")
    """
    (found,) = metered([FAST], tmp_path, block)
    assert found.invalid_reason is None


def test_a_lost_card_does_not_hang_the_windows_after_it(tmp_path: Path) -> None:
    found = metered([FAST, FAST], tmp_path, "sim.command('lost now')\ntime.sleep(0.2)", windows=3)
    assert ["device lost: `gpu:0`" in str(window.invalid_reason) for window in found] == [True] * 3
    assert all(window.joules_by_domain["gpu:1"] > 0 for window in found)


def test_a_lost_card_is_an_error_when_read(tmp_path: Path) -> None:
    code = """
import sim
from pytest_energy import open_meter
from pytest_energy.errors import EnergyError
meter = open_meter("nvml")
sim.command("lost now")
try:
    meter.read()
except EnergyError as error:
    print(error)
print(meter.conditions().faults)
meter.close()
meter.close()
try:
    meter.read()
except EnergyError as error:
    print(error)
"""
    printed = run_python(code, environment([FAST], tmp_path))
    lost = "device lost: `gpu:0` no longer answers (GPU is lost)"
    closed = "meter `nvml` is closed: open another one"
    assert printed == f"{lost}\n('{lost}',)\n{closed}\n"


def test_a_card_that_gives_no_more_power(tmp_path: Path) -> None:
    (found,) = metered([SimulatedGpu(tick_seconds=None)], tmp_path, in_the_middle("lost now"))
    assert "device lost: `gpu:0`" in str(found.invalid_reason)


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
    text = unavailable([FAST], tmp_path, library_lines=["init_error 9"])
    assert "the NVIDIA driver does not answer" in text


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
