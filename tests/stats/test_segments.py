"""The statistic of a split, against its definition: sums over both sides, taken anew for each."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median, stdev

import pytest

from pytest_energy.stats.segments import Noise, Segment, damping, scale


def series(seed: int, count: int, step: float = 0.0, at: int = 0, lag: float = 0.0) -> list[float]:
    """Noise about 100 with an SD of 2, tied to the value before, and a step at a place."""
    source = random.Random(seed)
    values = [source.gauss(0, 1)]
    while len(values) < count:
        values.append(lag * values[-1] + (1 - lag**2) ** 0.5 * source.gauss(0, 1))
    return [100 + 2 * (value + step * (i >= at)) for i, value in enumerate(values)]


def clipped(values: Sequence[float], centre: float, unit: float) -> list[float]:
    return [max(-4.0, min(4.0, (value - centre) / unit)) for value in values]


def about(side: Sequence[float]) -> list[float]:
    return [value - fmean(side) for value in side]


def statistic(z: Sequence[float], cut: int, known: Noise, unit: float) -> float:
    """Student's t of both sides, whose variance and autocorrelation the known noise joins.

    It counts as 20 values, and for less the more there are of these.
    """
    sides, count = (z[:cut], z[cut:]), len(z)
    rests = [about(side) for side in sides]
    squares = sum(r * r for rest in rests for r in rest)
    products = sum(a * b for rest in rests for a, b in pairwise(rest))
    weight = known.weight * min(1, 20 / count)
    prior = weight * (known.sd / unit) ** 2
    variance = (squares + prior) / (count - 2 + weight)
    gap = abs(fmean(sides[0]) - fmean(sides[1]))
    lag = (products + known.autocorrelation * prior) / (squares + prior)
    lag = min(max(lag + 1 / (count + weight), 0.0), 0.9)
    for side, other in (sides, sides[::-1]):
        sign = 1 if fmean(side) > fmean(other) else -1
        beyond = [sign * (value - fmean(other)) > math.sqrt(variance) for value in side]
        if len(side) < 5 and sum(beyond) < 3:
            return 0.0
    t = gap / math.sqrt(variance * (1 / cut + 1 / (count - cut)))
    return t * math.sqrt((1 - lag) / (1 + lag))


LENGTHS = [3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 41, 51]
"""Lengths of the later side at which a change is looked for."""


UNKNOWN = Noise(0.0)


def fed(values: Sequence[float], known: Noise = UNKNOWN) -> Segment:
    segment = Segment(known)
    for value in values:
        segment.add(value)
    return segment


def assert_falls_in_two(segment: Segment, z: Sequence[float], known: Noise, unit: float) -> int:
    """It does so right below the largest statistic that is looked at, and not above it."""
    count = len(z)
    looked = max(statistic(z, count - m, known, unit) for m in LENGTHS if m <= count - 3)
    best = max(range(3, count - 2), key=lambda cut: statistic(z, cut, known, unit))
    assert looked > 0
    assert segment.split(looked * (1 - 1e-9)) == best
    assert segment.split(looked * (1 + 1e-9)) is None
    return best


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("count", "step", "lag"), [(20, 3, 0.0), (33, 2, 0.5), (60, -2, 0.3)])
def test_a_split_is_what_its_definition_says(
    seed: int, count: int, step: float, lag: float
) -> None:
    values = series(seed, count, step, count - 12, lag)
    values[5] += 500.0  # counts as four SD away
    values[-2] -= 500.0
    first = values[:20]
    unit = max(1.4826 * median(abs(v - median(first)) for v in first), stdev(first) / 2)
    z = clipped(values, median(first), unit)

    assert_falls_in_two(fed(values), z, Noise(0.0), unit)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [6, 11, 19, 24])
def test_what_comes_after_a_change_inherits_its_noise(seed: int, count: int) -> None:
    """So that a next change can be seen after six values, before they could say it themselves."""
    values = series(seed, 40 + count, 6, 40, 0.4)
    values = [v - 14 * (i >= 40 + count // 2) for i, v in enumerate(values)]
    z = clipped(values, median(values[:20]), scale(values[:20]))
    rests = about(z[:40]) + about(z[40:])
    squares = sum(r * r for r in rests)
    products = sum(a * b for rest in (about(z[:40]), about(z[40:])) for a, b in pairwise(rest))
    sd = math.sqrt(squares / (len(z) - 2)) * scale(values[:20])
    known = Noise(sd, products / squares, 20.0)

    following = fed(values).after(40)

    first = values[40:60]
    unit = scale(first) if count >= 20 else sd
    z = clipped(values[40:], median(first), unit)
    assert_falls_in_two(following, z, known, unit)


def test_no_value_is_compared_before_it_is_known_where_the_series_lies() -> None:
    step = [1.0, 1.1, 0.9] * 3 + [50.0, 50.1, 49.9] * 3
    assert fed(step).split(0.0) is None  # 18 of 20
    assert fed(step[4:9] + step[9:14], Noise(0.1, 0.0, 20.0)).split(4.0) == 5
    assert fed(step[7:12], Noise(0.1, 0.0, 20.0)).split(0.0) is None  # 5 of 6
    assert fed([*step, 50.0, 50.1]).split(4.0) == 9


@pytest.mark.parametrize(
    ("side", "found"),
    [
        ([9.0, 9.0, 9.0], 25),
        ([9.0, 9.0, 0.0], None),
        ([9.0, 9.0, 0.6], None),  # not as far from the others as one SD
        ([9.0, 0.0, 9.0, 9.0], 25),
    ],
)
def test_a_side_of_few_values_needs_three_that_agree(side: list[float], found: int | None) -> None:
    quiet = 5 * [0.0, 1.0, -1.0, 0.5, -0.5]
    assert fed(quiet + side).split(3.0) == found
    assert fed([-value for value in quiet + side]).split(3.0) == found


def test_a_series_without_noise_falls_in_two_at_any_limit() -> None:
    assert fed(20 * [5.0]).split(0.0) is None
    flat = fed(20 * [5.0] + 3 * [6.0])
    assert flat.split(1e300) == 20
    # What comes after knows that there is no noise, and needs six values.
    after = flat.after(20)
    for _ in range(3):
        after.add(6.0)
    assert after.split(0.0) is None
    for _ in range(3):
        after.add(7.0)
    assert after.split(1e300) == 6


def test_a_series_that_goes_up_and_down_in_turns_falls_nowhere() -> None:
    assert fed(20 * [1.0, -1.0]).split(0.5) is None


def test_a_little_noise_after_none_is_not_none() -> None:
    """Twenty equal values show no scatter; what differs later does."""
    flat = fed([*(20 * [5.0]), 6.0, 6.1, 5.9, 6.4, 6.5, 6.3])
    after = flat.after(20)
    assert after.split(0.0) == 3
    assert after.split(10.0) is None


def test_scatter_is_the_usual_one_with_few_outliers_among_many() -> None:
    assert scale([]) == scale([3.0]) == 0.0
    assert scale([3.0, 5.0]) == pytest.approx(1.4826)
    # The median distance is 1; one outlier weighs by half of the standard deviation at most.
    assert scale([0.0, 1.0, 2.0, 3.0, 4.0]) == pytest.approx(1.4826)
    assert scale([0.0, 0.0, 0.0, 0.0, 10.0]) == pytest.approx(0.5 * math.sqrt(20))


@pytest.mark.parametrize(
    ("lag", "less"), [(-0.5, 1.0), (0.0, 1.0), (0.6, 0.5), (0.9, 19**-0.5), (0.99, 19**-0.5)]
)
def test_a_mean_of_tied_values_tells_less(lag: float, less: float) -> None:
    """By the square root of (1 - r) / (1 + r), as for a long AR(1) series."""
    assert damping(lag) == pytest.approx(less)
