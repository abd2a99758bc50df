"""The parts that changes are found by, each by hand: clipping, noise, dates, ramps."""

from __future__ import annotations

import math
import random
from itertools import combinations, pairwise
from statistics import fmean, stdev

import numpy as np
import pytest

from pytest_energy.stats.change_points import (
    Shift,
    clipped,
    find_changes,
    noise_of,
    replay,
    separation,
    shifts,
    threshold,
)
from pytest_energy.stats.segments import Noise


def test_the_threshold_grows_with_the_series_that_share_it() -> None:
    assert threshold(0) == threshold(1) == 4.6
    assert threshold(16) == pytest.approx(math.sqrt(4.6**2 + 2 * math.log(16)))


def test_a_long_segment_is_pulled_in_to_four_sd_of_its_own() -> None:
    values = [*(10 * [9.0, 11.0]), 900.0, -900.0]
    reach = 4 * max(1.4826, 0.5 * stdev(values))
    assert clipped(values, [0, 22]) == pytest.approx([*values[:20], 10 + reach, 10 - reach])


def test_a_short_segment_is_pulled_in_by_what_the_last_long_one_scatters() -> None:
    quiet, loud = 10 * [9.0, 11.0], 10 * [0.0, 40.0]
    short = [50.0, 50.0, 58.0, 42.0]
    reach = 4 * 1.4826
    edges = [0, 20, 24]
    assert clipped(quiet + short, edges) == pytest.approx([*quiet, 50, 50, 50 + reach, 50 - reach])
    assert clipped(loud + short, edges) == loud + short
    # Nineteen values are short: what they scatter by themselves counts from twenty on.
    more = [*(9 * [0.0, 40.0]), 0.0]
    assert clipped(quiet + more, [0, 20, 39])[21] == pytest.approx(reach)
    assert clipped([*quiet, *more, 40.0], [0, 20, 40])[21] == 40.0
    few = [1.0, 3.0, 1.0, 3.0, 1.0, 3.0]
    assert clipped([*few, *short], [0, 6, 10]) == pytest.approx(
        [*few, 50, 50, 50 + reach, 50 - reach]
    )


def test_of_a_long_first_segment_its_first_twenty_values_say_it_for_what_is_short() -> None:
    values = [1.0, 3.0, 1.0, 3.0]
    assert clipped([*values, 9.0, 9.0, 99.0], [0, 4, 7])[-1] == pytest.approx(9 + 4 * 1.4826)


def test_noise_is_that_about_the_means_of_segments() -> None:
    source = random.Random(3)
    values, edges = [source.gauss(n // 10, 1) for n in range(30)], [0, 10, 17, 30]
    parts = [values[a:b] for a, b in pairwise(edges)]
    rests = [[v - fmean(part) for v in part] for part in parts]
    squares = sum(r * r for rest in rests for r in rest)
    products = sum(a * b for rest in rests for a, b in pairwise(rest))

    found = noise_of(values, edges)

    assert found.sd == pytest.approx(math.sqrt(squares / 27))
    assert found.autocorrelation == pytest.approx(products / squares + 1 / 30)
    assert found.weight == 27


def test_no_noise_is_known_of_equal_values_or_as_many_segments_as_values() -> None:
    assert noise_of([5.0, 5.0, 7.0, 7.0], [0, 2, 4]) == Noise(0.0)
    assert noise_of([5.0, 7.0], [0, 1, 2]) == Noise(0.0)
    assert noise_of([5.0, 7.0, 8.0], [0, 1, 3]).sd == pytest.approx(math.sqrt(0.5))


def test_how_far_two_segments_lie_apart() -> None:
    """The gap in standard errors of it, less what ties make of them."""
    left, right = [1.0, 3.0, 2.0], [7.0, 9.0, 8.0, 6.0, 10.0]
    se = 2.0 * math.sqrt(1 / 3 + 1 / 5)
    assert separation(left, right, Noise(2.0)) == pytest.approx(6 / se)
    assert separation(right, left, Noise(2.0, 0.6)) == pytest.approx(3 / se)
    assert separation(left, right, Noise(0.0)) == math.inf
    assert separation(left, left, Noise(0.0)) == 0.0


def noise(seed: int, count: int) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(0, 1) for _ in range(count)]


def test_a_step_has_the_levels_around_it() -> None:
    values = [10 + v + 8 * (day >= 40) for day, v in enumerate(noise(1, 90))]
    (shift,) = shifts(values, [40])
    assert shift == Shift(40, fmean(values[:40]), fmean(values[40:]))


def test_a_step_is_dated_anew_by_what_came_after_it() -> None:
    """Where two levels fit best, all values counted: an alarm knew three after it at most."""
    moved = 0
    for seed in range(40):
        source = random.Random(seed)
        values = [source.uniform(-1.7, 1.7) + 2.5 * (day >= 40) for day in range(80)]
        gains = {
            cut: (fmean(values[:cut]) - fmean(values[cut:])) ** 2 * cut * (80 - cut)
            for cut in range(3, 78)
        }
        found = find_changes(values)
        if len(found) == 1:
            assert found == [max(gains, key=gains.__getitem__)]
            moved += found != list(replay(values, threshold(1)))
    assert moved > 0


@pytest.mark.parametrize(
    ("seed", "alarms", "step"),
    [(11, [60, 66], 0.0), (23, [64, 70], 0.0), (4, [61, 120], 7.0), (11, [60, 66, 120], 7.0)],
)
def test_a_change_that_later_values_take_back_is_none(
    seed: int, alarms: list[int], step: float
) -> None:
    """Six high values may be an alarm; with all that came after them they are chance."""
    values = [v + 1.6 * (60 <= day < 66) for day, v in enumerate(noise(seed, 180 if step else 160))]
    values = [v + step * (day >= 120) for day, v in enumerate(values)]
    assert list(replay(values, threshold(1))) == alarms
    assert find_changes(values) == ([120] if step else [])


def test_three_changes_are_dated_each_between_its_neighbours() -> None:
    levels = [0, 9, -4, 6]
    values = [levels[day // 25] + v for day, v in enumerate(noise(4, 100))]
    assert find_changes(values) == [25, 50, 75]
    found = shifts(values, [25, 50, 75])
    means = [fmean(values[n : n + 25]) for n in range(0, 100, 25)]
    assert [(shift.index, shift.end) for shift in found] == [(25, None), (50, None), (75, None)]
    assert [shift.before for shift in found] == pytest.approx(means[:-1])
    assert [shift.after for shift in found] == pytest.approx(means[1:])


def test_a_ramp_is_told_with_both_its_levels_and_its_ends() -> None:
    values = [5 + 0.02 * v + min(max(day - 50, 0), 50) * 0.1 for day, v in enumerate(noise(8, 150))]
    (ramp,) = shifts(values, [60, 75, 90])
    assert ramp.before == pytest.approx(5.0, abs=0.1)
    assert ramp.after == pytest.approx(10.0, abs=0.1)
    assert abs(ramp.index - 50) <= 150 / 24
    assert ramp.end is not None
    assert abs(ramp.end - 100) <= 150 / 24


@pytest.mark.parametrize("days", [150, 299, 300, 301, 900])
def test_a_ramp_to_the_end_of_a_series_ends_with_its_last_value(days: int) -> None:
    """A long series is looked at in blocks of some days."""
    start = days // 3
    values = [5 + 0.02 * v + max(day - start, 0) / days for day, v in enumerate(noise(9, days))]
    cuts = [start + (days - start) * n // 4 for n in (1, 2, 3)]
    (ramp,) = shifts(values, cuts)
    assert ramp.end is not None
    block = 3 if days > 300 else 1
    assert days - block <= ramp.end <= days - 1
    assert abs(ramp.index - start) <= days / 20
    assert ramp.before == pytest.approx(5.0, abs=0.02)
    assert ramp.after == pytest.approx(5 + (days - start) / days, abs=0.03)


def fitted_ramp(values: list[float]) -> tuple[float, int, int]:
    """The least squares of level, ramp and level, and its ends: of 25 places, at least 6 apart."""
    count = len(values)
    places = sorted({round(i * (count - 1) / 24) for i in range(25)})
    fits = []
    for first, last in combinations(places, 2):
        if last - first >= 6:
            u = np.clip((np.arange(count) - first) / (last - first), 0, 1)
            matrix = np.column_stack([u, np.ones(count)])
            fits.append((float(np.linalg.lstsq(matrix, values, rcond=None)[1][0]), first, last))
    return min(fits)


@pytest.mark.parametrize("cuts", [[24], [20, 32], [18, 27, 36]])
def test_a_ramp_is_one_if_schwarzs_criterion_prefers_it(cuts: list[int]) -> None:
    """Two ends and two levels, against as many levels and one place fewer.

    Several steps must fit better by a tenth for each more, so that what creeps is told once.
    """
    count, kinds, margins = 50, [], []
    for seed in range(40):
        source = random.Random(seed)
        rise = source.uniform(0.5, 5)
        values = [
            source.uniform(-1.7, 1.7) + rise * sum(day >= cut for cut in cuts)
            if seed % 2
            else source.uniform(-1.7, 1.7) + rise * min(max(day - 15, 0) / 24, 1)
            for day in range(count)
        ]
        parts = [values[a:b] for a, b in pairwise([0, *cuts, count])]
        levels = [fmean(part) for part in parts]
        if levels != sorted(levels) or clipped(values, [0, *cuts, count]) != values:
            continue
        steps = sum(
            (v - level) ** 2 for part, level in zip(parts, levels, strict=True) for v in part
        )
        squares, first, last = fitted_ramp(values)
        criteria = [
            count * math.log(of / count) + parameters * math.log(count)
            for of, parameters in (
                (steps * 1.1 ** (len(cuts) - 1), 2 * len(cuts) + 1),
                (squares, 4),
            )
        ]
        found = shifts(values, cuts)
        assert (found[0].end is not None) == (criteria[1] < criteria[0]), seed
        if found[0].end is not None:
            assert [(shift.index, shift.end) for shift in found] == [(first, last)]
        kinds.append(found[0].end is None)
        margins.append(abs(criteria[1] - criteria[0]))
    assert set(kinds) == {True, False}
    assert min(margins) < math.log(count) / 2  # half a parameter: the criterion is tried closely


def test_a_quick_rise_is_a_step() -> None:
    """Of fewer than six values it is no ramp, even if a line fits it better."""
    values = [0.01 * v + min(max(day - 58, 0), 3) for day, v in enumerate(noise(10, 120))]
    assert [shift.end for shift in shifts(values, [60])] == [None]


def test_steps_up_and_down_are_no_ramp() -> None:
    values = [0.1 * v + (day // 20) % 2 * 3 for day, v in enumerate(noise(11, 120))]
    found = shifts(values, [20, 40, 60, 80, 100])
    assert [(s.index, s.end) for s in found] == [(20 * n, None) for n in range(1, 6)]


def test_a_series_of_two_levels_without_noise_is_no_ramp() -> None:
    values = 30 * [1.0] + 30 * [2.0] + 30 * [3.0]
    assert shifts(values, [30, 60]) == [Shift(30, 1.0, 2.0), Shift(60, 2.0, 3.0)]
    assert shifts(values, []) == []


def test_a_threshold_of_ones_own_may_be_asked_for() -> None:
    values = [v + 8 * (day >= 40) for day, v in enumerate(noise(1, 90))]
    assert find_changes(values) == find_changes(values, alone=10.0) == [40]
    assert find_changes(values, alone=50.0) == []


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e3])
def test_changes_are_the_same_in_any_unit_and_about_any_level(unit: float) -> None:
    values = [v + 2.5 * (day >= 40) - 3 * (day >= 70) for day, v in enumerate(noise(3, 110))]
    found = find_changes(values)
    assert len(found) == 2
    assert find_changes([unit * value for value in values]) == found
    assert find_changes([1000 + value for value in values]) == found


def test_a_level_takes_three_values() -> None:
    """However well the last two would fit one by themselves, or a first two would."""
    quiet = [0.01 * value for value in noise(4, 60)]
    assert find_changes([*quiet, 4.0, 10.0, 10.0]) == [60]
    for seed in range(5):
        values = [0.1 * v + 9 * (day >= 3) for day, v in enumerate(noise(seed, 60))]
        assert find_changes(values) == [3]


@pytest.mark.parametrize("step", [3.0, 4.0, 6.0])
@pytest.mark.parametrize(("outlier", "size"), [(36, 30.0), (43, -30.0)])
def test_an_outlier_beside_a_step_does_not_date_it(step: float, outlier: int, size: float) -> None:
    """High before a rise, or low after it, it would be taken for the rise."""
    for seed in range(2):
        values = [v + step * (day >= 40) for day, v in enumerate(noise(seed, 80))]
        values[outlier] += size
        assert find_changes(values) == [40]


def test_any_gap_without_noise_is_endless() -> None:
    assert separation([1.0, 1.0, 1.0], [1.001, 1.001, 1.001], Noise(0.0)) == math.inf


def test_a_series_too_short_for_a_ramp_has_steps() -> None:
    assert shifts([1.0, 1.1, 0.9, 9.0, 9.1, 8.9], [3]) == [Shift(3, 1.0, 9.0)]


def test_a_ramp_is_the_same_after_a_step_before_it() -> None:
    """It is looked at by itself, in single values, however long the series is."""
    quiet = random.Random(12)
    ramp = [quiet.uniform(-0.1, 0.1) + min(max(day - 61, 0), 97) * 0.1 for day in range(200)]
    before = [quiet.uniform(-0.1, 0.1) + 30 for _ in range(160)]
    (alone,) = shifts(ramp, [85, 110, 135])
    step, found = shifts(before + ramp, [160, 245, 270, 295])
    assert (step.index, step.end) == (160, None)
    assert alone.end is not None
    assert (found.index, found.end) == (160 + alone.index, 160 + alone.end)
    assert (found.before, found.after) == pytest.approx((alone.before, alone.after))
