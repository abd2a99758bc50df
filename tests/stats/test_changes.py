"""Changes of level in noisy series: found, dated, told from ramps; and false alarms counted."""

from __future__ import annotations

import random

import pytest

from pytest_energy.stats.change_points import find_changes, replay, shifts, threshold

YEAR = 365


def _noise(seed: int, count: int = YEAR, *, tails: str = "normal", lag: float = 0.0) -> list[float]:
    rng = random.Random(seed)
    values: list[float] = []
    for _ in range(count):
        value = rng.gauss(0, 1)
        if tails == "t3":
            value /= (sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3) ** 0.5
        if lag and values:
            value = lag * values[-1] + (1 - lag**2) ** 0.5 * value
        values.append(value)
    return values


@pytest.mark.parametrize(
    ("tails", "lag", "most"), [("normal", 0.0, 0.06), ("t3", 0.0, 0.10), ("normal", 0.2, 0.10)]
)
def test_a_year_of_noise_rarely_alarms(tails: str, lag: float, most: float) -> None:
    """Every night's look counts; the bounds leave room for the chance of 120 years."""
    years = [_noise(seed, tails=tails, lag=lag) for seed in range(120)]

    alarmed = sum(any(True for _ in replay(year, threshold(1))) for year in years)

    assert alarmed / len(years) <= most


def test_many_series_share_one_budget() -> None:
    assert threshold(1) < threshold(16) < threshold(1000) < 6.0
    alarmed = [any(True for _ in replay(_noise(seed, 120), threshold(16))) for seed in range(160)]
    assert sum(alarmed) <= 2


@pytest.mark.parametrize("size", [2.0, -2.0, 5.0, 20.0])
def test_a_step_is_found_and_dated(size: float) -> None:
    for seed in range(5):
        values = [v + size * (day >= 100) for day, v in enumerate(_noise(seed, 160))]

        found = find_changes(values)

        assert len(found) == 1
        assert abs(found[0] - 100) <= (8 if abs(size) < 3 else 0)


def test_a_small_step_is_found_once_enough_sessions_show_it() -> None:
    values = [v + 1.0 * (day >= 100) for day, v in enumerate(_noise(3, 200))]

    assert find_changes(values[:104]) == []
    assert abs(find_changes(values)[0] - 100) <= 8


def test_an_alarm_comes_three_sessions_after_an_obvious_step() -> None:
    values = [v + 8.0 * (day >= 50) for day, v in enumerate(_noise(4, 53))]

    assert find_changes(values[:52]) == []
    assert find_changes(values) == [50]


def test_a_step_and_the_way_back_are_two_changes() -> None:
    values = [v + 4.0 * (100 <= day < 130) for day, v in enumerate(_noise(5))]

    assert find_changes(values) == [pytest.approx(100, abs=1), pytest.approx(130, abs=1)]


def test_single_outliers_are_no_change() -> None:
    values = _noise(6)
    for day in (40, 41, 90, 200, 201, 300):
        values[day] += 30.0

    assert find_changes(values) == []


def test_a_step_is_found_among_outliers_and_heavy_tails() -> None:
    values = [v + 4.0 * (day >= 100) for day, v in enumerate(_noise(7, 200, tails="t3"))]
    values[30] += 50.0
    values[150] -= 50.0

    assert find_changes(values) == [pytest.approx(100, abs=2)]


@pytest.mark.parametrize(("slope", "by"), [(0.01, 300), (0.03, 160), (0.1, 100), (-0.03, 160)])
def test_a_slow_ramp_is_found_and_called_one(slope: float, by: int) -> None:
    values = [v + slope * max(0, day - 60) for day, v in enumerate(_noise(8))]

    assert find_changes(values[:by])
    (shift,) = shifts(values, find_changes(values))

    assert shift.end is not None
    assert shift.after - shift.before == pytest.approx(slope * (YEAR - 60), rel=0.2)
    if abs(slope) >= 0.03:
        assert abs(shift.index - 60) <= 20
        assert shift.end >= YEAR - 20


def test_a_ramp_between_two_levels_ends_where_it_does() -> None:
    values = [v + 0.05 * min(max(0, day - 60), 100) for day, v in enumerate(_noise(9))]

    (shift,) = shifts(values, find_changes(values))

    assert abs(shift.index - 60) <= 20
    assert shift.end is not None
    assert abs(shift.end - 160) <= 20


def test_a_step_amid_a_ramp_is_told_apart() -> None:
    values = [v + 0.03 * max(0, day - 60) + 12.0 * (day >= 200) for day, v in enumerate(_noise(11))]

    kinds = [shift.end is None for shift in shifts(values, find_changes(values))]
    (step,) = [shift for shift in shifts(values, find_changes(values)) if shift.end is None]

    assert step.index == 200
    assert kinds == [False, True, False]


def test_a_staircase_stays_steps() -> None:
    values = [v + 4.0 * (day >= 100) + 4.0 * (day >= 220) for day, v in enumerate(_noise(10))]

    found = shifts(values, find_changes(values))

    assert [shift.end for shift in found] == [None, None]
    assert [shift.index for shift in found] == [
        pytest.approx(100, abs=1),
        pytest.approx(220, abs=1),
    ]


def test_a_series_without_any_noise() -> None:
    assert find_changes([1.0] * 50) == []
    assert find_changes([1.0] * 50 + [1.5] * 5) == [50]
    assert find_changes([]) == []
