"""Each fault gives the right joules or an invalid window that names it, never a silent number."""

from __future__ import annotations

from pathlib import Path

import pytest

from metered import MeteredWindow, metered
from sim import SimulatedGpu, environment, run_python

FAST = SimulatedGpu(tick_seconds=0.05)
"""Opens quicker than a card of ordinary ticks."""


FAULTS = (
    ("reset now", "counter reset: the counter of `{}` fell back"),
    ("drop now never 300000", "counter reset: the counter of `{}` fell back"),
    ("drop now +0.2 300000", "counter reset: the counter of `{}` fell back"),
    ("lost now", "device lost: `{}` no longer answers (GPU is lost)"),
    ("stall now never 0", "counter stands still: that of `{}`"),
    ("stall now +0.4 0", "counter stands still: that of `{}`"),
    ("process 999999 now never", "foreign process: unknown program 999999 on `{}`"),
    ("process 999999 now +0.4", "foreign process: unknown program 999999 on `{}`"),
    ("reasons 0x20 now never", "throttled: software thermal slowdown of `{}`"),
    ("reasons 0x40 now +0.4", "throttled: hardware thermal slowdown of `{}`"),
    ("reasons 0x80 now never", "throttled: power brake of `{}`"),
    ("reasons 0x08 now never", "throttled: hardware slowdown of `{}`"),
    ("reasons 0x04 now never", "throttled: software power cap of `{}`"),
    ("clock app 1200 now", "clock jump: application SM clock (MHz) of `{}`"),
    ("clock max 1200 now", "clock jump: maximum SM clock (MHz) of `{}`"),
    ("limit 500 now", "power limit changed: that of `{}` went from 700 W to 500 W; leave it alone"),
    ("clock sm 1200 now", "clock jump: SM clock of `{}`"),
)
"""What happens to a card in the middle of a window, and what the window says of it."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> MeteredWindow:
    """One window over as many cards as there are faults, each of another, and one without any."""
    commands = [f"sim.command({command!r}, {gpu})" for gpu, (command, _) in enumerate(FAULTS)]
    block = "\n".join(["time.sleep(0.45)", *commands, "time.sleep(0.6)"])
    cards = [FAST] * (len(FAULTS) + 1)
    (found,) = metered(cards, tmp_path_factory.mktemp("cards"), block)
    return found


@pytest.mark.fault(
    "NVML",
    "the card is reset, lost, throttled, used by others, or its clocks, limit or counter "
    "change within a window",
    "the window is invalid and names what happened, and to which card",
)
@pytest.mark.parametrize("gpu", range(len(FAULTS)), ids=[command for command, _ in FAULTS])
def test_window_is_invalid_and_says_why(gpu: int, faulty: MeteredWindow) -> None:
    assert FAULTS[gpu][1].format(f"gpu:{gpu}") in str(faulty.invalid_reason)


def test_nothing_is_said_of_a_card_without_faults(faulty: MeteredWindow) -> None:
    assert f"`gpu:{len(FAULTS)}`" not in str(faulty.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "a counter runs at four times its speed, the limit was changed, the window is too short",
    "`implausible`, `power limit changed`, `too short`",
)
@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("time.sleep(0.3)\nsim.command('speed 4')\ntime.sleep(0.3)", "implausible: `gpu:0` shows"),
        ("sim.command('limit 200 -1')\ntime.sleep(0.4)", "power limit changed: "),
        ("pass", "too short: "),
    ],
)
def test_one_card_alone_is_invalid_and_says_why(block: str, reason: str, tmp_path: Path) -> None:
    (found,) = metered([FAST], tmp_path, block)
    assert found.invalid_reason is not None
    assert reason in found.invalid_reason


@pytest.mark.fault(
    "NVML",
    "a counter is reset and overtakes its old count before the window ends",
    "`counter reset`",
)
def test_a_counter_that_falls_back_unseen_at_the_ends_is_seen_in_between(tmp_path: Path) -> None:
    watts = tmp_path / "watts.txt"
    watts.write_text("0 50\n")
    gpu = SimulatedGpu(f"steps {watts}", tick_seconds=0.05, start_millijoules=0)
    block = f"""
        time.sleep(0.2)
        sim.command("reset now")
        sim.set_watts(sim.Path({str(watts)!r}), 600)
        time.sleep(0.6)
    """
    (found,) = metered([gpu], tmp_path, block)
    assert "counter reset" in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "the counter shows more power than the card's limit",
    "`implausible`, with the limit",
)
def test_power_above_the_limit_is_not_believed(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, lines=("limit 200 0",))
    (found,) = metered([gpu], tmp_path)
    assert found.invalid_reason is not None
    assert "its limit is 200 W" in found.invalid_reason


@pytest.mark.fault(
    "NVML",
    "the counter shows a fifth of what the power readings do",
    "`sources disagree`",
)
def test_a_counter_that_disagrees_with_the_power_readings_is_not_believed(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, lines=("speed 0.2",))
    (found,) = metered([gpu], tmp_path, "time.sleep(1.2)")
    reason = str(found.invalid_reason)
    assert reason.startswith("sources disagree: in this window and at rest the counter of `gpu:0`")


def test_a_power_cap_at_the_limit_is_ordinary(tmp_path: Path) -> None:
    gpu = SimulatedGpu(tick_seconds=0.05, lines=("limit 310 0", "reasons 0x04 0 never"))
    (found,) = metered([gpu], tmp_path, "time.sleep(0.4)")
    assert found.invalid_reason is None


def test_own_processes_are_not_foreign(tmp_path: Path) -> None:
    block = """
        code = "import sys; sys.stdin.read()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        sim.command(f"process {os.getpid()} now never")
        sim.command(f"process {os.getppid()} now never")
        sim.command(f"process {child.pid} now never")
        time.sleep(0.4)
        child.communicate(b"")
        sim.command("error nvmlDeviceGetComputeRunningProcesses_v3 3")
    """
    (found,) = metered([FAST], tmp_path, block)
    assert found.invalid_reason is None


@pytest.mark.fault(
    "NVML",
    "one of two cards is lost",
    "`device lost` in this window and those after it, at once",
)
def test_a_lost_card_does_not_hang_the_windows_after_it(tmp_path: Path) -> None:
    found = metered([FAST, FAST], tmp_path, "sim.command('lost now')\ntime.sleep(0.2)", windows=3)
    assert ["device lost: `gpu:0`" in str(window.invalid_reason) for window in found] == [True] * 3
    assert all(window.joules_by_domain["gpu:1"] > 0 for window in found)


def test_a_lost_card_is_an_error_when_read(tmp_path: Path) -> None:
    code = """
import sim
sim.simulated_seconds()
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


def test_in_a_fork_the_meter_says_whose_it_is(tmp_path: Path) -> None:
    code = """
import os, warnings
from pytest_energy import open_meter, window
warnings.simplefilter("ignore")
meter = open_meter("nvml")
if not (child := os.fork()):
    with window(meter, "work") as w:
        pass
    print(w.invalid_reason, flush=True)
    meter.close()
    os._exit(0)
os.waitpid(child, 0)
with window(meter, "work") as w:
    pass
print(str(w.invalid_reason).startswith("meter"))
meter.close()
"""
    printed = run_python(code, environment([FAST], tmp_path))
    theirs, ours = printed.splitlines()
    assert theirs.startswith("meter `nvml` was opened by another process")
    assert theirs.endswith("open one here")
    assert ours == "False"


def test_a_card_that_gives_no_more_power(tmp_path: Path) -> None:
    block = "time.sleep(0.1)\nsim.command('lost now')\ntime.sleep(0.1)"
    (found,) = metered([SimulatedGpu(tick_seconds=None)], tmp_path, block)
    assert "device lost: `gpu:0`" in str(found.invalid_reason)
