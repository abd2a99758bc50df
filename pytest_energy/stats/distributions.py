"""Numerics: variance of autocorrelated means, quantiles of F and t, least squares,
and the mean of interleaved pairs.

By hand, for scipy would be the largest thing that users install; tests hold all to scipy's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import mul, sub
from statistics import fmean

from pytest_energy.errors import EnergyError

NORMAL_95 = 1.959964
"""Standard deviations either side of the mean that hold 95 % of a normal distribution."""

_TINY = 1e-300
_PRECISION = 1e-15

LARGEST_LOG = math.log(1000)
"""Changes beyond a factor of 1,000 are shown as that: what is so unsure has no scale."""


_MOST_TERMS = 10_000


def relative(log_change: float) -> float:
    """A change on the log scale as a fraction: `exp(log_change) - 1`, held to a factor of 1,000."""
    return math.expm1(min(log_change, LARGEST_LOG))


def moments(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the sum of squares about it."""
    mean = fmean(values)
    return mean, sum((value - mean) ** 2 for value in values)


@lru_cache(maxsize=4096)
def variance_inflation(count: int, rho: float) -> float:
    """Variance of a mean of `count` AR(1) values, as a multiple of that of independent ones.

    `1 + 2 * sum((1 - k / count) * rho**k)` over lags k below `count`; 1 if `rho` is 0. Of very many
    values, which a file may claim, the sum is taken in its closed form.
    """
    if count <= _MOST_TERMS:
        return 1.0 + 2.0 * sum((1.0 - lag / count) * rho**lag for lag in range(1, count))
    if rho == 1.0:
        return float(count)
    left = 1.0 - rho
    return 1.0 + 2.0 * rho / left * (1.0 - (1.0 - rho**count) / (count * left))


def effective_share(rho: float) -> float:
    """Share of an AR(1) series' values that are worth an independent one, for long series.

    Cautious (too low) for degrees of freedom of a variance, since `rho` is itself an estimate.
    """
    return (1.0 - rho) / (1.0 + rho)


def unbiased_autocorrelation(sample: float, count: int) -> float:
    """Lag-1 autocorrelation freed from the bias of an estimate from `count` values (count > 3)."""
    return (sample + 1.0 / count) / (1.0 - 3.0 / count)


def heavy_tail(degrees: float) -> float:
    """Factor `df / (df - 2)` by which a variance known from `df` values is too sure of itself."""
    return degrees / (degrees - 2.0)


def regularised_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for 0 <= x <= 1 and positive a, b."""
    if x <= 0.0:
        return 0.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - regularised_beta(1.0 - x, b, a)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_front) / (a * _beta_fraction(x, a, b))


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by the modified Lentz method."""
    value = upper = 1.0
    lower = 0.0
    for step in range(1, 10_000):
        half, odd = divmod(step, 2)
        if odd:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        lower = 1.0 / (1.0 + term * lower or _TINY)
        upper = 1.0 + term / upper or _TINY
        value *= upper * lower
        if abs(upper * lower - 1.0) < _PRECISION:
            break
    return value


@lru_cache(maxsize=4096)
def f_quantile(probability: float, numerator: float, denominator: float) -> float:
    """The value that F with these degrees of freedom (need not be whole) stays below so often.

    Found by bisection on the logarithm, with the upper tail computed directly, so that the far
    tails of few degrees of freedom keep their digits.
    """
    tail = 1.0 - probability
    low, high = -700.0, 700.0
    while high - low > 1e-13 * max(1.0, abs(low)):
        middle = (low + high) / 2.0
        share = denominator / (denominator + numerator * math.exp(middle))
        if regularised_beta(share, denominator / 2.0, numerator / 2.0) > tail:
            low = middle
        else:
            high = middle
        if middle in (low, high) and math.nextafter(low, high) >= high:
            break
    return math.exp((low + high) / 2.0)


def student_t(degrees: float) -> float:
    """What Student's t with these degrees of freedom stays within 19 times in 20, either side."""
    return math.sqrt(f_quantile(0.95, 1, degrees))  # its square is F of one and `degrees`


@dataclass(frozen=True)
class Fit:
    """A least-squares line; `low` and `high` are the 95 % interval of its slope (Student's t).

    `r_squared` is the share of the variance of y about its mean that the line explains; a line
    through the origin can explain less than nothing. `residuals` are y less the line, in order.
    """

    slope: float
    low: float
    high: float
    intercept: float
    r_squared: float
    intercept_interval: tuple[float, float] = (0.0, 0.0)
    """95 % as well; of no width if the line goes through the origin."""
    residuals: tuple[float, ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the slope."""
        return self.low, self.high

    def at(self, x: float) -> float:
        """The line's y."""
        return self.intercept + self.slope * x


def through_origin(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The line y = slope * x through points, two at least, whose scatter about it is even."""
    _check(x, y, least=2)
    squares = math.fsum(one * one for one in x)
    if squares == 0:
        raise EnergyError("`x` is 0 at each point: a slope takes at least one that is not")
    slope = math.fsum(map(mul, x, y)) / squares
    residuals = tuple(map(sub, y, (slope * one for one in x)))
    half = _reach(residuals, len(x) - 1) / math.sqrt(squares)
    explained = _explained(residuals, y)
    return Fit(slope, slope - half, slope + half, 0.0, explained, residuals=residuals)


def line(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The line y = intercept + slope * x through three points or more."""
    _check(x, y, least=3)
    middle, squares = moments(x)
    if squares == 0:
        raise EnergyError("`x` is the same at each point: a slope takes points that differ in it")
    slope, intercept = least_squares(x, y)
    residuals = tuple(map(sub, y, (intercept + slope * one for one in x)))
    reach = _reach(residuals, len(x) - 2)
    half, wide = reach / math.sqrt(squares), reach * math.sqrt(1 / len(x) + middle**2 / squares)
    return Fit(
        slope=slope,
        low=slope - half,
        high=slope + half,
        intercept=intercept,
        r_squared=_explained(residuals, y),
        intercept_interval=(intercept - wide, intercept + wide),
        residuals=residuals,
    )


def least_squares(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and intercept of the line through points whose x are not all the same."""
    (middle, squares), level = moments(x), fmean(y)
    slope = sum(map(mul, (one - middle for one in x), (one - level for one in y))) / squares
    return slope, level - slope * middle


def log_log(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The line through the logarithms: y = exp(intercept) * x ** slope, 1 if y grows as x."""
    for name, values in (("x", x), ("y", y)):
        if not all(value > 0 for value in values):
            raise EnergyError(f"`{name}` has values that are not above 0: they have no logarithm")
    return line([math.log(one) for one in x], [math.log(one) for one in y])


def _reach(residuals: Sequence[float], degrees: int) -> float:
    """Student's t times the scatter about a line, in y; `degrees` are those of freedom."""
    return student_t(degrees) * math.sqrt(math.fsum(r * r for r in residuals) / degrees)


def _explained(residuals: Sequence[float], y: Sequence[float]) -> float:
    _, total = moments(y)
    return 1 - math.fsum(r * r for r in residuals) / total if total > 0 else math.nan


def _check(x: Sequence[float], y: Sequence[float], least: int) -> None:
    if len(x) != len(y):
        raise EnergyError(f"`x` has {len(x)} points, `y` {len(y)}: give one for each")
    if len(x) < least:
        raise EnergyError(f"a line takes at least {least} points, not {len(x)}: measure more")
    if not all(map(math.isfinite, (*x, *y))):
        raise EnergyError("`x` or `y` has a point that is no number: leave it out")


# The mean of interleaved pairs, free of their order and of what one outlier would do to it.
_LEAST_PAIRS = 6  # before which no pair can be told to be an outlier
_CHANCE = 0.001  # of limiting a pair if all of them are from one normal distribution


@dataclass(frozen=True)
class Interleaved:
    """What pairs in the order ABBA say; log scale.

    `change` is the mean of both orders' means, whose variance is `share` of a pair's. `squares` are
    the pairs' about their own order's mean, with `degrees` of freedom. `order` is what the second
    window of a pair takes more than the first, if there are pairs of both orders.
    """

    change: float
    share: float
    squares: float
    degrees: int
    order: float


def interleaved(differences: Sequence[float]) -> Interleaved:
    """Sum up log ratios head over base: base first in the first pair, head first in the second."""
    values = _limited(differences) if len(differences) >= _LEAST_PAIRS else list(differences)
    orders = [one for one in (values[::2], values[1::2]) if one]
    means = [fmean(one) for one in orders]
    squares = sum(moments(one)[1] for one in orders)
    share = sum(1 / len(one) for one in orders) / len(orders) ** 2
    order = (means[0] - means[-1]) / 2
    return Interleaved(fmean(means), share, squares, len(values) - len(orders), order)


def scatter(differences: Sequence[float]) -> float:
    """Standard deviation of three pairs or more about their own order's mean."""
    found = interleaved(differences)
    return math.sqrt(found.squares / found.degrees)


def _limited(differences: Sequence[float]) -> list[float]:
    """The pairs, the one farthest out held to where chance would put it once in 1,000 times.

    Grubbs' test about each order's mean: the pair's distance from the others, in their own
    standard deviations, is Student's t with as many degrees as they leave.
    """
    values, count = list(differences), len(differences)
    orders = (values[::2], values[1::2])
    means, sizes = [fmean(one) for one in orders], [len(one) for one in orders]
    # The distance from the mean of the others of the same order, and its square's share of all.
    apart = [
        (value - means[index % 2]) * sizes[index % 2] / (sizes[index % 2] - 1)
        for index, value in enumerate(values)
    ]
    shares = [one**2 * (1 - 1 / sizes[index % 2]) for index, one in enumerate(apart)]
    farthest = max(range(count), key=shares.__getitem__)
    squares = sum(one**2 * (1 - 1 / sizes[i % 2]) ** 2 for i, one in enumerate(apart))
    others = max(squares - shares[farthest], 0.0)
    limit = f_quantile(1 - _CHANCE / count, 1, count - 3) * others / (count - 3)
    if shares[farthest] > limit:
        kept = math.sqrt(limit / shares[farthest])
        values[farthest] -= apart[farthest] * (1 - kept)
    return values
