"""Scores against chance, and ratios of pairs, on figures that were made up."""

from __future__ import annotations

import math
import random

import pytest

from paper.significance import Score, paired_ratio, score_kept
from pytest_energy import EnergyError


@pytest.mark.parametrize(
    ("value", "chance", "count", "learnt"),
    [
        (52.3, 52.3, 300, False),  # one class for all
        (56.0, 52.3, 300, False),  # a guess may be as lucky
        (60.0, 52.3, 300, True),
        (56.0, 52.3, 3000, True),
        (0.5, 0.0, 300, False),
        (40.0, 0.0, 300, True),
        (100.0, 50.0, 300, True),
    ],
)
def test_a_score_counts_from_chance(value: float, chance: float, count: int, learnt: bool) -> None:
    assert Score(value, chance, count).is_learnt is learnt


def test_what_is_kept_is_of_the_score_above_chance() -> None:
    bert, distilbert = Score(92.7, 50.9, 872), Score(91.3, 50.9, 872)
    kept, (low, high) = score_kept(bert, distilbert)
    assert kept == pytest.approx(0.967, abs=1e-3)
    assert low == pytest.approx(0.967 - 0.06, abs=0.01)
    assert high == pytest.approx(0.967 + 0.06, abs=0.01)
    one_class = Score(50.9, 50.9, 872)
    assert score_kept(bert, one_class)[0] == 0
    with pytest.raises(EnergyError, match="learnt nothing"):
        score_kept(one_class, bert)


def test_the_same_work_costs_the_same() -> None:
    first, again = [10.0, 10.4, 9.9, 10.1, 10.2, 9.8], [10.1, 10.2, 10.0, 10.3, 9.9, 10.0]
    ratio, (low, high) = paired_ratio(first, again)
    assert low < 1 < high
    assert ratio == pytest.approx(1, abs=0.02)
    half, (low, high) = paired_ratio([value / 2 for value in again], first)
    assert low < half < high < 0.55
    with pytest.raises(EnergyError, match="one pair"):
        paired_ratio([1.0], [2.0])


@pytest.mark.parametrize("trend", [0.0, 0.005, 0.02])
def test_the_interval_of_three_rounds_in_turn_covers_the_ratio_whatever_drifts(
    trend: float,
) -> None:
    """Windows vary by 1 %; runs take turns there and back, and all rise by a trend a window."""
    noise, covered, trials = random.Random(4), 0, 1_000
    for _ in range(trials):
        first, other = list[float](), list[float]()
        for number in range(3):
            places = (3 * number, 3 * number + 2)  # of three runs, the first and the last
            for values, place in zip((first, other), places[:: 1 - 2 * (number % 2)], strict=True):
                values.append(math.exp(trend * place + noise.gauss(0, 0.01)))
        low, high = paired_ratio(first, other)[1]
        covered += low <= 1 <= high
    assert covered >= 0.93 * trials
