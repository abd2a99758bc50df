"""The mean of interleaved pairs, free of their order and of what one outlier would do to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_energy.stats.distributions import f_quantile, moments

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
