"""When warming up is over."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from pytest_energy.stats.steadiness import (
    LEAST_ALIKE,
    LEAST_ALIKE_RECORDED,
    STEADY,
    WARM_UP_LIMIT,
    has_levelled,
    is_stationary,
    warm_up_length,
)


@pytest.mark.parametrize(
    ("values", "steady"),
    [
        ([], False),
        ([5.0], False),
        ([5.0, 5.01], True),
        ([5.0, 5.2], False),
        ([5.0, 5.2, 5.1], True),  # turned back
        ([5.0, 5.04, 5.08], False),  # each step small, together more than 1 %
        ([5.0, 5.4, 5.42, 5.43], True),
    ],
)
def test_steady_or_not(values: list[float], steady: bool) -> None:
    assert is_stationary(values) is steady


@pytest.mark.parametrize(
    ("values", "length"),
    [
        ([], 0),
        ([5.0, 5.01, 5.0], 2),
        ([5.6, 5.3, 5.02, 5.01, 5.0, 5.0], 5),
        ([5.6, 5.3, 5.05, 4.8], 4),
        ([5.0, 5.01], 2),  # nothing is left that it says anything of
    ],
)
def test_what_was_needed_to_become_steady(values: list[float], length: int) -> None:
    assert warm_up_length(values) == length


def test_what_counts_as_steady_may_be_asked_for() -> None:
    assert warm_up_length([5.6, 5.3, 5.02, 5.01, 5.0, 5.0], within=0.06) == 2
    assert warm_up_length([5.6, 5.3, 5.02, 5.01, 5.0, 5.0], within=0.001) == 6


def test_quiet_windows_are_steady_at_once_and_a_warming_card_is_not() -> None:
    noise = random.Random(1)
    quiet = [[noise.gauss(5, 0.015) for _ in range(2)] for _ in range(500)]
    warming = [[5 * (1 + 0.02 * n) * noise.gauss(1, 0.003) for n in range(3)] for _ in range(500)]

    assert sum(map(is_stationary, quiet)) > 450
    assert sum(map(is_stationary, warming)) < 25


@pytest.mark.parametrize("sd", [0.001, 0.003])
def test_three_windows_show_a_trend_that_two_hide_and_cost_one_more(sd: float) -> None:
    """It rises by 1 % a window over eight windows."""
    noise = random.Random(3)

    def steady_after(rise: float, least: int) -> list[int]:
        rows = [
            [math.exp(rise * n + noise.gauss(0, sd)) for n in range(WARM_UP_LIMIT)]
            for _ in range(500)
        ]
        return [
            next((n for n in range(9) if is_stationary(row[:n], STEADY, least)), 9) for row in rows
        ]

    two, three = steady_after(0.01, LEAST_ALIKE), steady_after(0.01, LEAST_ALIKE_RECORDED)
    assert sum(n <= 2 for n in two) > 200
    assert sum(n <= WARM_UP_LIMIT for n in three) < 75
    quiet = [fmean(steady_after(0.0, least)) for least in (LEAST_ALIKE, LEAST_ALIKE_RECORDED)]
    assert quiet[1] - quiet[0] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("sd", [0.001, 0.003, 0.01])
def test_a_slow_warm_up_is_never_level_and_quiet_windows_soon_are(sd: float) -> None:
    """It begins 3 % low and has a time constant of 20 windows, of which 20 have passed."""
    noise = random.Random(2)
    warming = [
        [5 * (1 - 0.03 * math.exp(-n / 20)) * noise.gauss(1, sd) for n in range(20)]
        for _ in range(300)
    ]
    level = [[noise.gauss(5, 5 * sd) for _ in range(20)] for _ in range(300)]

    assert sum(map(has_levelled, warming)) <= 3
    assert sum(map(has_levelled, level)) >= {0.001: 299, 0.003: 240, 0.01: 0}[sd]
    assert not any(has_levelled(values[:7]) for values in level)


def test_windows_that_differ_by_just_what_is_allowed_are_steady() -> None:
    assert is_stationary([1.0, 2.0], within=math.log(2.0))
    assert not is_stationary([1.0, 2.0], within=math.nextafter(math.log(2.0), 0))
