"""Lines through points: planted answers, and intervals that cover as often as they say."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from scipy import stats

from pytest_energy.errors import EnergyError
from pytest_energy.stats.distributions import Fit, line, log_log, student_t, through_origin

# The derived figures: mJ per padded token of RTE, SQuAD v1 and v2, MNLI, CoNLL-2012 and -2003, and
# SST-2, and the quoted kWh that they come from.
PAPER_MILLIJOULES = (30.7, 29.4, 30.5, 32.5, 33.0, 34.1, 35.9)
PAPER_KWH = (0.00816, 0.537, 0.795, 0.938, 0.207, 0.021, 0.081)


def test_a_line_through_the_origin() -> None:
    fit = through_origin([1.0, 2.0, 4.0], [3.0, 6.0, 12.0])

    exact = Fit(slope=3.0, low=3.0, high=3.0, intercept=0.0, r_squared=1.0, residuals=(0, 0, 0))
    assert fit == exact
    assert fit.intercept_interval == (0.0, 0.0)
    assert fit.at(5.0) == 15.0


def test_r_squared_is_about_the_mean_and_may_be_negative() -> None:
    # About zero it would be 0.9: a line through the origin looks good on any points far from it.
    fit = through_origin([1.0, 2.0, 3.0], [12.0, 11.0, 10.0])

    assert fit.r_squared < 0
    assert line([1.0, 2.0, 3.0], [12.0, 11.0, 10.0]).r_squared == pytest.approx(1.0)


def test_a_line_by_hand() -> None:
    fit = line([1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 5.0, 6.0])

    # Residuals of +-0.1 and +-0.2, so s² = 0.1 / 2; Student's t of 2 degrees is 4.302653.
    assert fit.slope == pytest.approx(1.4)
    assert fit.intercept == pytest.approx(0.5)
    assert fit.r_squared == pytest.approx(1 - 0.2 / 10)
    assert fit.high - fit.slope == pytest.approx(4.302653 * math.sqrt(0.2 / 2 / 5))
    assert fit.slope - fit.low == pytest.approx(fit.high - fit.slope)


def test_a_line_through_the_origin_by_hand() -> None:
    x, y = [1.0, 2.0, 3.0], [0.2, 0.4, 0.9]
    fit = through_origin(x, y)

    assert fit.slope == pytest.approx(3.7 / 14)
    rest = [0.2 - 3.7 / 14, 0.4 - 7.4 / 14, 0.9 - 11.1 / 14]
    assert fit.residuals == pytest.approx(rest)
    squares = sum(r * r for r in rest)
    half = 4.302653 * math.sqrt(squares / 2 / 14)
    assert fit.interval == pytest.approx((fit.slope - half, fit.slope + half))
    assert fit.r_squared == pytest.approx(1 - squares / 0.26)


@pytest.mark.parametrize("points", [3, 8, 40])
def test_a_line_is_that_of_scipy(points: int) -> None:
    rng = random.Random(points)
    x = [rng.uniform(50, 700) for _ in range(points)]
    y = [135.5 + 1.1 * one + rng.gauss(0, 4) for one in x]

    fit, other = line(x, y), stats.linregress(x, y)

    t = stats.t.ppf(0.975, points - 2)
    half, wide = t * other.stderr, t * other.intercept_stderr
    assert (fit.slope, fit.intercept) == pytest.approx((other.slope, other.intercept))
    assert fit.interval == pytest.approx((other.slope - half, other.slope + half))
    around = (other.intercept - wide, other.intercept + wide)
    assert fit.intercept_interval == pytest.approx(around)
    assert fit.r_squared == pytest.approx(other.rvalue**2)
    expected = [b - other.intercept - other.slope * a for a, b in zip(x, y, strict=True)]
    assert fit.residuals == pytest.approx(expected)


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706205), (2, 4.302653), (10, 2.228139)])
def test_students_t_as_printed_in_tables(degrees: int, quantile: float) -> None:
    assert student_t(degrees) == pytest.approx(quantile, rel=1e-6)


def test_a_power_law() -> None:
    fit = log_log([1.0, 10.0, 100.0], [5.0, 5 * 10**0.8, 5 * 100**0.8])

    assert fit.slope == pytest.approx(0.8)
    assert math.exp(fit.intercept) == pytest.approx(5.0)
    assert fit.interval == pytest.approx((0.8, 0.8))


def test_the_papers_figures_come_back() -> None:
    joules = [3.6e6 * kwh for kwh in PAPER_KWH]
    tokens = [j / (rate / 1e3) for j, rate in zip(joules, PAPER_MILLIJOULES, strict=True)]

    fit, power = through_origin(tokens, joules), log_log(tokens, joules)

    assert 1e3 * fit.slope == pytest.approx(31.3, abs=0.05)
    assert fit.r_squared == pytest.approx(0.997, abs=0.0005)
    assert power.slope == pytest.approx(0.988, abs=0.0005)


@pytest.mark.parametrize("points", [4, 5, 12])
def test_intervals_cover_19_times_in_20(points: int) -> None:
    rng = random.Random(f"coverage {points}")
    x = [float(one) for one in range(1, points + 1)]
    covered = [0, 0, 0]
    runs = 2000
    for _ in range(runs):
        proportional = through_origin(x, [3 * one + rng.gauss(0, 0.5) for one in x])
        straight = line(x, [7 + 3 * one + rng.gauss(0, 0.5) for one in x])
        power = log_log(x, [2 * one**0.9 * math.exp(rng.gauss(0, 0.1)) for one in x])
        for kind, (fit, truth) in enumerate(((proportional, 3), (straight, 3), (power, 0.9))):
            covered[kind] += fit.low <= truth <= fit.high

    # Four standard deviations of a share of 2,000.
    assert [share / runs for share in covered] == [pytest.approx(0.95, abs=0.02)] * 3


@pytest.mark.parametrize(
    ("fit", "x", "y", "message"),
    [
        (line, [1.0, 2.0], [1.0, 2.0], "at least 3 points, not 2"),
        (through_origin, [1.0], [1.0], "at least 2 points, not 1"),
        (line, [1.0, 2.0, 3.0], [1.0, 2.0], "`x` has 3 points, `y` 2"),
        (line, [2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "`x` is the same at each point"),
        (through_origin, [0.0, 0.0], [1.0, 2.0], "`x` is 0 at each point"),
        (log_log, [1.0, 2.0, 3.0], [1.0, 0.0, 3.0], "`y` has values that are not above 0"),
        (log_log, [-1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "`x` has values that are not above 0"),
        (line, [1.0, 2.0, math.nan], [1.0, 2.0, 3.0], "no number"),
    ],
)
def test_points_without_a_line(
    fit: Callable[[list[float], list[float]], Fit], x: list[float], y: list[float], message: str
) -> None:
    with pytest.raises(EnergyError, match=message):
        fit(x, y)


def test_level_points_have_nothing_to_explain() -> None:
    assert math.isnan(line([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]).r_squared)
