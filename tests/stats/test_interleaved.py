"""The mean of interleaved pairs by hand: their order is taken out, and one outlier held."""

from __future__ import annotations

import math
from statistics import fmean, variance

import pytest
from scipy import stats

from pytest_energy.stats.distributions import interleaved, scatter

EVEN = [0.01, 0.02, 0.03, 0.02, 0.015, 0.025, 0.02, 0.01]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, 8])
def test_the_mean_is_that_of_both_orders_means(count: int) -> None:
    values = EVEN[:count]
    found = interleaved(values)
    first, second = values[::2], values[1::2]
    assert found.change == pytest.approx((fmean(first) + fmean(second)) / 2)
    assert found.share == pytest.approx((1 / len(first) + 1 / len(second)) / 4)
    squares = [variance(one) * (len(one) - 1) for one in (first, second) if len(one) > 1]
    assert found.squares == pytest.approx(sum(squares))
    assert found.degrees == count - 2
    assert found.order == pytest.approx((fmean(first) - fmean(second)) / 2)
    if count > 2:
        assert scatter(values) == pytest.approx(math.sqrt(sum(squares) / (count - 2)))


def test_one_pair_is_all_there_is() -> None:
    found = interleaved([0.03])
    assert (found.change, found.share, found.squares) == (0.03, 1.0, 0.0)
    assert (found.degrees, found.order) == (0, 0.0)


@pytest.mark.parametrize("place", [0, 3, 7])
@pytest.mark.parametrize("size", [0.2, -0.2, 3.0])
def test_one_outlier_is_held_to_where_chance_would_put_it(place: int, size: float) -> None:
    """Its distance from the others, in their SDs, is then the 99.9 % quantile of the farthest."""
    values = list(EVEN)
    values[place] += size
    others = [v for i, v in enumerate(values) if i % 2 == place % 2 and i != place]
    rest = [v for i, v in enumerate(values) if i % 2 != place % 2]
    squares = 2 * variance(others) + 3 * variance(rest)
    sd = math.sqrt(squares / 5)
    reach = stats.t.ppf(1 - 0.001 / 8 / 2, 5) * sd * math.sqrt(1 + 1 / 3)
    held = fmean(others) + math.copysign(reach, size)

    found = interleaved(values)

    expected = (fmean([*others, held]) + fmean(rest)) / 2
    assert found.change == pytest.approx(expected)
    assert found.squares == pytest.approx(
        3 * variance([*others, held]) + 3 * variance(rest), rel=1e-9
    )


def test_what_chance_explains_is_left_alone() -> None:
    values = [*EVEN[:7], 0.05]
    assert interleaved(values).change == pytest.approx(
        (fmean(values[::2]) + fmean(values[1::2])) / 2
    )


def test_of_five_pairs_none_is_told_to_be_an_outlier() -> None:
    values = [0.0, 0.0, 0.0, 0.0, 1.0]
    assert interleaved(values).change == pytest.approx(1 / 6)
    assert interleaved([*values, 0.0]).change == pytest.approx(0.0)
