"""Ticks are predicted from those seen, no better and no worse than they allow."""

from __future__ import annotations

import random

import pytest

from pytest_energy.meters.nvml.counter import TickClock

COARSE, SHARP = 0.0003, 0.00001


def seen(
    count: int, period: float, half_width: float, chance: random.Random, jitter: float = 0.0
) -> list[tuple[float, float]]:
    """Ticks from second 1000 on, each seen within its half-width and moved by its jitter."""
    return [
        (
            1000
            + k * period
            + chance.uniform(-half_width, half_width)
            + chance.uniform(-jitter, jitter),
            half_width,
        )
        for k in range(count)
    ]


@pytest.mark.parametrize("period", [0.01, 0.02, 0.1, 1.0])
def test_sharply_seen_ticks_are_predicted_for_seconds(period: float) -> None:
    chance = random.Random(1)
    clock = TickClock(seen(6, period, COARSE, chance))
    for k in (7, 8, 9):
        clock.saw(1000 + k * period + chance.uniform(-SHARP, SHARP), SHARP)
    due = clock.following(1000 + 29.5 * period)
    assert due == pytest.approx(1000 + 30 * period, abs=clock.doubt(due))
    assert clock.doubt(due) < 0.001
    assert clock.period_seconds == pytest.approx(period, rel=0.001)


@pytest.mark.parametrize("jitter", [0.0, 0.001, 0.005])
def test_doubt_holds_the_ticks(jitter: float) -> None:
    chance = random.Random(2)
    clock = TickClock(seen(6, 0.1, COARSE, chance, jitter))
    inside = 0
    for k in range(10, 400, 7):
        true = 1000 + k * 0.1 + chance.uniform(-jitter, jitter)
        due = clock.following(1000 + k * 0.1 - 0.05)
        inside += abs(due - true) <= clock.doubt(due) + SHARP
        clock.saw(true, SHARP)
    assert inside >= 0.9 * len(range(10, 400, 7))
    assert clock.period_seconds == pytest.approx(0.1, rel=0.002)


def test_a_long_pause_makes_it_doubtful_and_a_tick_after_it_is_a_new_beginning() -> None:
    clock = TickClock(seen(6, 0.1, COARSE, random.Random(3)))
    assert clock.doubt(1000 + 3600) == pytest.approx(0.1 / 3, rel=0.01)
    clock.saw(1000 + 3600.05, SHARP)
    assert clock.following(1000 + 3600.06) == pytest.approx(1000 + 3600.15, abs=0.001)


def test_a_tick_out_of_turn_makes_it_doubtful() -> None:
    clock = TickClock(seen(6, 0.1, SHARP, random.Random(4)))
    before = clock.doubt(1001)
    clock.missed()
    assert clock.doubt(1001) > before


def test_the_next_tick_is_after_now() -> None:
    clock = TickClock(seen(8, 0.1, SHARP, random.Random(5)))
    chance = random.Random(6)
    for _ in range(200):
        now = 1000 + chance.uniform(0, 10)
        assert 0 < clock.following(now) - now <= clock.period_seconds * 1.0001
