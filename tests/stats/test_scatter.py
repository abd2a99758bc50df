"""When values scatter more than they did: found in noise, about levels and ramps, and rarely so."""

from __future__ import annotations

import math
import random

import pytest

from pytest_energy.stats.change_points import (
    RESTLESS,
    Scatter,
    Shift,
    evened,
    find_changes,
    first_reports,
    fitted,
    restless_since,
    shifts,
)


def noise(seed: int, count: int, since: int | None = None, times: float = 2.0) -> list[float]:
    """Noise of SD 1, which is larger by a factor from a day on."""
    rng = random.Random(seed)
    day_of = count if since is None else since
    return [rng.gauss(0, 1) * (times if day >= day_of else 1) for day in range(count)]


def test_noise_that_doubles_is_restless_since_then() -> None:
    found = 0
    for seed in range(20):
        told = restless_since(noise(seed, 240, 120), [])
        if told is not None:
            found += 1
            assert abs(told.index - 120) <= 40
            assert 1.4 < told.ratio < 2.8
    assert found >= 17


def test_noise_that_stays_or_shrinks_is_not() -> None:
    assert sum(restless_since(noise(seed, 200), []) is not None for seed in range(60)) <= 2
    assert all(restless_since(noise(seed, 240, 120, 0.4), []) is None for seed in range(10))


def test_what_was_restless_and_is_so_no_more_is_not_told() -> None:
    values = noise(3, 300, 100, 4.0)[:160] + noise(4, 140)
    assert restless_since(values[:160], []) is not None
    assert restless_since(values, []) is None


@pytest.mark.parametrize("end", [None, 180])
def test_levels_and_ramps_are_taken_off_first(end: int | None) -> None:
    values = noise(5, 240)
    for day in range(60, 240):
        values[day] += 12 * (1.0 if end is None else min((day - 60) / (180 - 60), 1.0))
    changes = find_changes(values)
    assert changes
    assert restless_since(values, shifts(values, changes)) is None


def test_the_fit_is_what_the_shifts_say() -> None:
    found = [Shift(2, 0.0, 4.0), Shift(3, 4.0, 8.0, 7)]
    assert fitted([9.0] * 10, found) == [0, 0, 4, 4, 5, 6, 7, 8, 8, 8]
    assert fitted([1.0, 3.0], []) == [2.0, 2.0]


def test_a_scatter_out_of_none_is_endless() -> None:
    values = [1.0] * 60 + [1.0 + 0.1 * (-1) ** day for day in range(60)]
    told = restless_since(values, [])
    assert told is not None
    assert math.isinf(told.ratio) or told.ratio >= RESTLESS


def test_how_a_change_was_reported_first_is_found_again() -> None:
    """As a look at each night would have said it; later values may date it anew."""
    moved = 0
    for seed in range(12):
        values = [v + 1.5 * (day >= 100) for day, v in enumerate(noise(seed, 160))]
        changes = find_changes(values)
        first, _ = first_reports(values, changes)
        for change, report in first.items():
            assert change in changes
            assert report.index in find_changes(values[: report.at + 1])
            assert not any(abs(index - change) <= 20 for index in find_changes(values[: report.at]))
            moved += report.index != change
    assert moved


def test_what_was_reported_and_is_no_change_is_taken_back() -> None:
    """A night's look found a level that the year does not have."""
    taken = []
    for seed in range(400):
        values = noise(seed, 120)
        changes = find_changes(values)
        taken = first_reports(values, changes)[1]
        if taken:
            break
    assert taken
    for report in taken:
        assert report.index in find_changes(values[: report.at + 1])
        assert all(abs(report.index - change) > 20 for change in changes)


def swinging(*sizes: float) -> list[float]:
    """Sixty values a size, in turns above and below 0: their scatter is 1.4826 times the size."""
    return [size * sign for size in sizes for sign in 30 * (1.0, -1.0)]


def test_the_scatter_before_is_that_since_the_last_change_of_it() -> None:
    assert restless_since(swinging(1, 2), []) == Scatter(60, 1.4826, 2 * 1.4826)
    assert restless_since(swinging(1, 2, 4), []) == Scatter(120, 2 * 1.4826, 4 * 1.4826)
    assert restless_since(swinging(4, 1, 2, 4), []) == Scatter(180, 2 * 1.4826, 4 * 1.4826)


def test_a_series_is_restless_from_half_as_much_again() -> None:
    assert restless_since(swinging(2, 3), []) == Scatter(60, 2 * 1.4826, 3 * 1.4826)
    assert restless_since(swinging(2, 2.99), []) is None


def test_scatter_changes_less_lightly_than_a_level() -> None:
    """What would be a change of level, by its threshold, is not yet one of scatter."""
    values = noise(28, 160, 80, 1.9)
    (index,) = find_changes(evened(values))
    assert abs(index - 80) <= 2
    assert restless_since(values, []) is None


def test_each_of_many_series_is_called_restless_less_lightly() -> None:
    for seed in (1, 11, 32, 43):
        values = noise(seed, 120, 60, 2.2)
        found = restless_since(values, [], of=1)
        assert found is not None
        assert restless_since(values, []) == found
        assert restless_since(values, [], of=2) is None


def test_what_is_left_is_evened_by_the_power_of_two_thirds() -> None:
    assert evened([-8.0, 0.0, 27.0]) == pytest.approx([4.0, 0.0, 9.0])


def test_shifts_of_another_series_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        restless_since([1.0, 2.0, 3.0], [Shift(5, 1.0, 2.0)])


def test_each_of_two_changes_has_its_own_first_report() -> None:
    values = [0.1 * v + 8 * (day >= 60) + 8 * (day >= 120) for day, v in enumerate(noise(2, 180))]
    first, taken_back = first_reports(values, find_changes(values))
    assert {change: report.index for change, report in first.items()} == {60: 60, 120: 120}
    assert [first[change].at for change in (60, 120)] == [63, 123]  # with its fourth value
    assert taken_back == []


@pytest.mark.parametrize("sign", [1, -1])
def test_a_change_is_the_one_reported_up_to_twenty_values_away(sign: int) -> None:
    values = [v + 8 * (day >= 60) for day, v in enumerate(noise(2, 120))]
    first, taken_back = first_reports(values, [60 + 20 * sign])
    assert [report.index for report in first.values()] == [60]
    assert taken_back == []
    first, taken_back = first_reports(values, [60 + 21 * sign])
    assert [report.index for report in taken_back] == [60]
    assert first == {}


@pytest.mark.parametrize(("second", "told"), [(80, [60]), (81, [60, 81])])
def test_what_is_taken_back_is_told_once(second: int, told: list[int]) -> None:
    """It was found at look after look, and anew within twenty values of it."""
    values = [
        0.1 * v + 8 * (day >= 60) + 8 * (day >= second) for day, v in enumerate(noise(2, 140))
    ]
    assert find_changes(values) == [60, second]
    assert [report.index for report in first_reports(values, [])[1]] == told


@pytest.mark.parametrize("seed", [0, 1, 22, 28])
def test_what_one_of_many_series_would_not_be_alarmed_by_was_not_reported(seed: int) -> None:
    """A faint step, which one series alone would have told."""
    values = [v + 1.25 * (day >= 60) + 8 * (day >= 120) for day, v in enumerate(noise(seed, 160))]
    assert len(find_changes(values)) == 2
    assert find_changes(values, of=1000) == [120]
    first, taken_back = first_reports(values, [120], of=1000)
    assert list(first) == [120]
    assert taken_back == []
