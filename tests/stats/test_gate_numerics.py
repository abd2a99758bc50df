"""The numerics under the gate, against scipy and against their definition."""

from __future__ import annotations

import pytest
from scipy import special, stats

from pytest_energy.stats.distributions import (
    f_quantile,
    regularised_beta,
    unbiased_autocorrelation,
    variance_inflation,
)


@pytest.mark.parametrize("probability", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("numerator", [0.3, 1.0, 2.0, 9.0, 29.0])
@pytest.mark.parametrize("denominator", [0.7, 3.0, 24.5, 72.0, 2000.0])
def test_quantiles_of_f(probability: float, numerator: float, denominator: float) -> None:
    expected = stats.f.isf(1 - probability, numerator, denominator)
    assert f_quantile(probability, numerator, denominator) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.1, 0.5, 0.9, 1 - 1e-9, 1.0])
@pytest.mark.parametrize(("a", "b"), [(0.1, 0.1), (0.5, 36.0), (1.0, 1.0), (15.0, 2.0), (500, 400)])
def test_the_incomplete_beta_function(x: float, a: float, b: float) -> None:
    assert regularised_beta(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_variance_of_a_mean_of_tied_values(count: int, rho: float) -> None:
    total = sum(rho ** abs(i - j) for i in range(count) for j in range(count))
    assert variance_inflation(count, rho) == pytest.approx(total / count)


@pytest.mark.fault(
    "stores and documents",
    "a baseline claims to have been measured in 10^18 windows",
    "it is judged at once, by the sum in its closed form",
)
@pytest.mark.parametrize("rho", [-1.0, -0.5, 0.0, 0.2, 0.95, 0.999999, 1.0])
def test_very_many_values_inflate_as_their_sum_would(rho: float) -> None:
    count = 20_000
    total = 1 + 2 * sum((1 - lag / count) * rho**lag for lag in range(1, count))

    assert variance_inflation(count, rho) == pytest.approx(total, rel=1e-6, abs=1e-9)
    assert 0 <= variance_inflation(10**18, rho) <= 10**18


def test_the_bias_of_an_autocorrelation_is_taken_off() -> None:
    """To first order an estimate from n values is low by (1 + 3 rho) / n."""
    for rho in (0.0, 0.5):
        assert unbiased_autocorrelation(rho - (1 + 3 * rho) / 50, 50) == pytest.approx(rho)
