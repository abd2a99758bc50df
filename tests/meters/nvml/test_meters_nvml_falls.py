"""Counters that fall back: reset, or wrong for a while; while they are learnt, and in windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hand_card import HandCard, HandClock, Ticking, opened
from metered import metered
from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.counter import Counter
from pytest_energy.meters.nvml.counter_span import CounterSpan
from pytest_energy.meters.nvml.ticks import calibrate
from sim import SimulatedGpu

BEFORE = 5_000_000
"""Millijoules of a counter that has counted for long."""


def counting() -> tuple[HandCard, Counter]:
    """A counter that was seen to move by a millijoule: that is its step."""
    card = HandCard(lambda _: BEFORE)
    counter = opened(card)
    for more in (100_000, 100_001):
        show(card, counter, BEFORE + more)
    return card, counter


def show(card: HandCard, counter: Counter, millijoules: int) -> float:
    """Let the driver say so much; the joules since the counter was opened."""
    card.millijoules = lambda _: millijoules
    return counter.joules()


@pytest.mark.fault(
    "NVML",
    "a counter falls back by little: the driver goes wrong for a moment, or for good",
    "`counter reset`; the whole count is not added to the joules",
)
def test_a_small_fall_takes_off_what_it_fell_by_and_a_rise_brings_it_back() -> None:
    card, counter = counting()

    assert show(card, counter, BEFORE + 70_000) == pytest.approx(70.0)
    assert counter.falls == 1
    assert show(card, counter, BEFORE + 130_000) == pytest.approx(130.0)
    assert counter.falls == 2, "the rise after it is no work's either"
    assert show(card, counter, BEFORE + 160_000) == pytest.approx(160.0)
    assert counter.falls == 2


def test_a_fall_to_near_zero_is_a_reset_and_adds_what_was_drawn_since() -> None:
    card, counter = counting()

    assert show(card, counter, 20_000) == pytest.approx(100.001 + 20.0)
    assert show(card, counter, 50_000) == pytest.approx(100.001 + 50.0)
    assert counter.falls == 1


def test_a_figure_that_was_near_zero_for_a_moment_was_wrong() -> None:
    card, counter = counting()

    show(card, counter, 20_000)
    show(card, counter, 50_000_000)  # more than any card draws in a moment

    assert counter.falls == 2


def test_a_fall_of_a_step_is_one_of_rounding() -> None:
    card, counter = counting()

    assert show(card, counter, BEFORE + 100_000) == pytest.approx(100.001)
    assert show(card, counter, BEFORE + 100_001) == pytest.approx(100.001)
    assert show(card, counter, BEFORE + 100_005) == pytest.approx(100.005)
    assert counter.falls == 0


def test_a_window_that_begins_on_a_wrong_figure_is_invalid_when_it_is_right_again() -> None:
    card, counter = counting()
    show(card, counter, BEFORE + 70_000)
    span = CounterSpan(counter)
    span.work_started(real_time.monotonic())
    card.millijoules = lambda _: BEFORE + 110_000
    span.work_ended(real_time.monotonic())

    assert str(span.result().fault).startswith("counter reset: the counter of `gpu:0` fell back")


def falling(fall: Callable[[float], float]) -> Counter:
    """A counter of 150 W, learnt while it fell to what `fall` makes of its millijoules."""
    started = real_time.monotonic()
    ticks = Ticking(0.1, 15.0, phase=started - 100.03)

    def shown(seconds: float) -> float:
        counted = BEFORE + ticks(seconds)
        return counted if seconds < started + 0.33 else fall(counted)

    counter = opened(HandCard(shown, watts=150.0))
    assert calibrate([counter]) == [counter]
    return counter


@pytest.mark.parametrize(
    "fall",
    [
        pytest.param(lambda counted: counted - 400_000, id="by little"),
        pytest.param(lambda counted: counted - BEFORE - 15_000_000, id="reset"),
    ],
)
def test_learning_begins_anew_if_the_counter_falls_meanwhile(
    fall: Callable[[float], float],
) -> None:
    with HandClock().installed():
        counter = falling(fall)

    assert counter.falls > 0
    assert counter.clock is not None
    assert counter.idle_spread_watts < 10
    assert counter.rest_watts == pytest.approx(150.0, rel=0.2)


@pytest.mark.fault(
    "NVML",
    "a counter falls back while the meter learns its ticks",
    "it learns anew; windows are as sharp as ever",
)
@pytest.mark.parametrize("line", ["drop 0.3 never 300000", "reset 0.3", "drop 0.3 0.32 300000"])
def test_windows_after_a_fall_in_learning_are_as_sharp_as_ever(line: str, tmp_path: Path) -> None:
    card = SimulatedGpu(tick_seconds=0.05, lines=(line,))
    found = metered([card], tmp_path, "time.sleep(0.5)", windows=2)

    assert [each.invalid_reason for each in found] == [None, None]
    assert all(each.uncertainty_joules < 0.1 * each.true_joules for each in found)
    assert all(each.covered for each in found)
