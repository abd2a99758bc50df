"""A driver whose calls take long: the counter's ticks are dated well all the same."""

from __future__ import annotations

from typing import NamedTuple

import pytest

import sim
from pytest_energy import open_meter, window
from pytest_energy.meters.nvml import NvmlMeter
from sensor_sim import Card, Load, apart, simulate

SLOW_SECONDS = 0.02


class Opened(NamedTuple):
    """What is known of a counter's ticks once the meter is open (s), and of both powers at rest."""

    period: float
    doubt: float
    agree: bool


def opened(slow: str) -> Opened:
    """Open the meter on a card that ticks every 0.1 s; `slow` is a function that takes long."""
    with simulate(Card(tick_seconds=0.1)):
        sim.command(f"hang {slow} {SLOW_SECONDS}")
        meter = open_meter("nvml")
        assert isinstance(meter, NvmlMeter)
        (counter,) = meter.counters
        assert counter.clock is not None
        doubt = counter.clock.doubt(counter.clock.following(meter.read().seconds))
        agree = counter.at_rest is not None and counter.at_rest.agree
        meter.close()
        return Opened(counter.clock.period_seconds, doubt, agree)


@pytest.mark.fault(
    "NVML",
    "each power reading takes the driver 20 ms",
    "ticks are dated to 1 ms: readings take a fifth of the time at most",
)
def test_slow_power_readings_leave_the_counter_in_sight() -> None:
    found = apart(opened, "nvmlDeviceGetFieldValues")

    assert found.period == pytest.approx(0.1, rel=1e-3)
    assert found.doubt < 0.001
    assert found.agree


def beginnings(windows: int) -> list[float]:
    """How long windows of an H200 took to begin, whose counter takes 4 ms to answer (s)."""
    found = []
    with simulate(Card.preset("h200")) as world:
        for _ in range(windows):
            world.rest(0.3)
            called = world.now()
            with window(world.meter, "slow", lambda: None):
                found.append(world.now() - called)
                world.work(Load.constant(600), 1.0)
    return found


def test_a_tick_is_not_waited_for_again_that_no_call_would_see_more_sharply() -> None:
    """A period at most until it ticks, and another one at most until a random moment between."""
    later = apart(beginnings, 12)[4:]
    assert max(later) < 0.25
