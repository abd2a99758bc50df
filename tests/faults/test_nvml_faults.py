"""Two faults of a card at once, and faults at the ends of windows, on simulated cards."""

from __future__ import annotations

from pathlib import Path

import pytest

from metered import metered
from sim import SimulatedGpu

FAST = SimulatedGpu(tick_seconds=0.05)


@pytest.mark.fault(
    "NVML",
    "a counter stands still for 0.5 s, then catches up, all within a window",
    "`counter stands still`, since nobody can tell whether it has caught up with all of it",
)
def test_a_counter_that_freezes_and_catches_up(tmp_path: Path) -> None:
    block = "time.sleep(0.2)\nsim.command('stall now +0.5 1')\ntime.sleep(0.8)"
    (found,) = metered([FAST], tmp_path, block)

    assert "counter stands still: that of `gpu:0`" in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "a counter stands still when a window ends, and catches up after it",
    "`counter stands still`",
)
def test_a_counter_that_freezes_at_the_end(tmp_path: Path) -> None:
    block = "time.sleep(0.3)\nsim.command('stall now +1.2 1')\ntime.sleep(0.3)"
    (found,) = metered([FAST], tmp_path, block)

    assert "counter stands still: that of `gpu:0`" in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "a counter is reset between two windows",
    "the window after it is valid, and right to 2 %",
)
def test_a_reset_between_windows(tmp_path: Path) -> None:
    before = "if results:\n    sim.command('reset now')"
    found = metered([FAST], tmp_path, windows=2, before=before)

    assert [window.invalid_reason for window in found] == [None, None]
    assert abs(found[1].error) < 0.02


@pytest.mark.fault(
    "NVML",
    "the card throttles and a foreign process computes on it, in one window",
    "both are named",
)
def test_throttling_and_a_foreign_process(tmp_path: Path) -> None:
    block = """
        time.sleep(0.1)
        sim.command("reasons 0x40 now +0.3")
        sim.command("process 999999 now +0.3")
        time.sleep(0.5)
    """
    (found,) = metered([FAST], tmp_path, block)

    assert "throttled: hardware thermal slowdown of `gpu:0`" in str(found.invalid_reason)
    assert "foreign process: unknown program 999999 on `gpu:0`" in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "the counter's query fails when a window begins, and works when it ends",
    "`device lost` for that window, the next one is valid",
)
def test_a_counter_that_fails_at_the_beginning(tmp_path: Path) -> None:
    before = "sim.command('error nvmlDeviceGetTotalEnergyConsumption 999')"
    block = "sim.command('error nvmlDeviceGetTotalEnergyConsumption 0')\ntime.sleep(0.3)"
    found = metered([FAST], tmp_path, block, windows=2, before=f"if not results:\n    {before}")

    assert "device lost: `gpu:0`" in str(found[0].invalid_reason)
    assert found[1].invalid_reason is None


@pytest.mark.fault(
    "NVML",
    "the last query of a window fails: the counter's, at its end",
    "`device lost`",
)
def test_a_counter_that_fails_at_the_end(tmp_path: Path) -> None:
    block = """
        time.sleep(0.2)
        sim.command("error nvmlDeviceGetTotalEnergyConsumption 999")
    """
    (found,) = metered([FAST], tmp_path, block)

    assert "device lost: `gpu:0`" in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "one of two cards is lost in the same moment in which the other is reset",
    "both are named with their domains",
)
def test_two_cards_that_fail_at_once(tmp_path: Path) -> None:
    block = """
        time.sleep(0.2)
        sim.command("lost now", 0)
        sim.command("reset now", 1)
        time.sleep(0.3)
    """
    (found,) = metered([FAST, FAST], tmp_path, block)

    assert "device lost: `gpu:0`" in str(found.invalid_reason)
    assert "counter reset: the counter of `gpu:1` fell back" in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "a counter counts four times the truth from the middle of a window on",
    "`implausible`, with the watts and the limit",
)
def test_a_counter_that_goes_wrong_within_a_window(tmp_path: Path) -> None:
    block = "time.sleep(0.5)\nsim.command('speed 4')\ntime.sleep(1.5)"
    (found,) = metered([SimulatedGpu("constant 250", 0.05)], tmp_path, block)

    reason = str(found.invalid_reason)
    assert reason.startswith("implausible: `gpu:0` shows ")
    assert "its limit is 700 W" in reason


@pytest.mark.fault(
    "NVML",
    "the power limit is lowered and put back within one window",
    "`power limit changed`, though both ends show the same",
)
def test_a_limit_that_is_put_back(tmp_path: Path) -> None:
    block = """
        time.sleep(0.1)
        sim.command("limit 400 now")
        time.sleep(0.3)
        sim.command("limit 700 now")
        time.sleep(0.2)
    """
    (found,) = metered([FAST], tmp_path, block)

    assert "power limit changed: that of `gpu:0`" in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "each query of the counter takes 0.4 s from the end of a window on",
    "invalid, never a silent number",
)
def test_a_counter_that_becomes_slow_at_the_end(tmp_path: Path) -> None:
    slow = "sim.command('hang nvmlDeviceGetTotalEnergyConsumption 0.4')"
    (found,) = metered([FAST], tmp_path, f"time.sleep(0.4)\n{slow}")

    assert str(found.invalid_reason).startswith(("implausible: ", "too short: "))


@pytest.mark.fault(
    "NVML",
    "the counter is no longer supported from the middle of a window on",
    "`device lost`, with the driver's words",
)
def test_a_counter_that_is_no_longer_supported(tmp_path: Path) -> None:
    block = "time.sleep(0.2)\nsim.command('counter none')\ntime.sleep(0.3)"
    (found,) = metered([FAST], tmp_path, block)

    assert "device lost: `gpu:0` no longer answers (Not Supported)" in str(found.invalid_reason)


@pytest.mark.parametrize("change", ["instant none", "mig MIG-1"])
@pytest.mark.fault(
    "NVML",
    "power readings are no longer supported, or the card is split, while its counter goes on",
    "valid, and right to 2 %",
)
def test_what_the_counter_does_not_need(tmp_path: Path, change: str) -> None:
    commands = f"sim.command({change!r})\nsim.command('usage none')"
    (found,) = metered([FAST], tmp_path, f"time.sleep(0.2)\n{commands}\ntime.sleep(0.4)")

    assert found.invalid_reason is None
    assert abs(found.error) < 0.02
