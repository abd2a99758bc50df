"""Lines through points, with their 95 % intervals: through the origin, and of logarithms; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_energy.errors import EnergyError
from pytest_energy.statistics import f_quantile


@dataclass(frozen=True)
class Fit:
    """A least-squares line; `low` and `high` are the 95 % interval of its slope (Student's t).

    `r_squared` is the share of the variance of y about its mean that the line explains; a line
    through the origin can explain less than nothing.
    """

    slope: float
    low: float
    high: float
    intercept: float
    r_squared: float

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
    squares = sum(one * one for one in x)
    if squares == 0:
        raise EnergyError("`x` is 0 at each point: a slope takes at least one that is not")
    slope = sum(a * b for a, b in zip(x, y, strict=True)) / squares
    residual = sum((b - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    half = _half_width(residual, squares, len(x) - 1)
    return Fit(slope, slope - half, slope + half, 0.0, _explained(residual, y))


def line(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The line y = intercept + slope * x through three points or more."""
    _check(x, y, least=3)
    middle, level = fmean(x), fmean(y)
    squares = sum((one - middle) ** 2 for one in x)
    if squares == 0:
        raise EnergyError("`x` is the same at each point: a slope takes points that differ in it")
    pairs = list(zip(x, y, strict=True))
    slope = sum((a - middle) * (b - level) for a, b in pairs) / squares
    intercept = level - slope * middle
    residual = sum((b - intercept - slope * a) ** 2 for a, b in pairs)
    half = _half_width(residual, squares, len(x) - 2)
    return Fit(slope, slope - half, slope + half, intercept, _explained(residual, y))


def log_log(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The line through the logarithms: y = exp(intercept) * x ** slope, 1 where y grows as x."""
    for name, values in (("x", x), ("y", y)):
        if not all(value > 0 for value in values):
            raise EnergyError(f"`{name}` has values that are not above 0: they have no logarithm")
    return line([math.log(one) for one in x], [math.log(one) for one in y])


def _half_width(residual: float, squares: float, degrees: int) -> float:
    """Half of a slope's 95 % interval.

    `residual` is the sum of squared distances in y, `squares` that of x (about what the line is
    held by), `degrees` the degrees of freedom.
    """
    # The square of Student's t is F with one degree of freedom in the numerator.
    t = math.sqrt(f_quantile(0.95, 1, degrees))
    return t * math.sqrt(residual / degrees / squares)


def _explained(residual: float, y: Sequence[float]) -> float:
    level = fmean(y)
    total = sum((one - level) ** 2 for one in y)
    return 1 - residual / total if total > 0 else math.nan


def _check(x: Sequence[float], y: Sequence[float], least: int) -> None:
    if len(x) != len(y):
        raise EnergyError(f"`x` has {len(x)} points, `y` {len(y)}: give one for each")
    if len(x) < least:
        raise EnergyError(f"a line takes at least {least} points, not {len(x)}: measure more")
    if not all(map(math.isfinite, (*x, *y))):
        raise EnergyError("`x` or `y` has a point that is no number: leave it out")
