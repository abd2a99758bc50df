"""When a device is warm: by its temperature, where windows that are alike say nothing."""

from __future__ import annotations

import math

import pytest

from pytest_energy.stats.steadiness import is_stationary, is_warm


@pytest.mark.parametrize(
    ("celsius", "wanted", "warm"),
    [
        ([], 60.0, False),
        ([57.0], 60.0, True),
        ([56.9], 60.0, False),
        ([70.0], 60.0, True),
        ([50, 50, 50, 51, 51, 51], 60.0, True),  # this is as warm as it becomes today
        ([50, 50, 50, 51, 51], 60.0, False),  # too few to say
        ([50, 50, 51, 51, 52, 52], None, False),
        ([40, 50, 50, 50, 50, 50, 51], None, True),
    ],
)
def test_warm_is_as_warm_as_before_or_no_longer_rising(
    celsius: list[float], wanted: float | None, warm: bool
) -> None:
    assert is_warm(celsius, wanted) is warm


def test_a_slow_warm_up_shows_in_the_temperature_and_not_in_two_windows() -> None:
    """3 % and 30 °C below, with a time constant of 20 windows."""
    celsius = [60 - round(30 * math.exp(-n / 20)) for n in range(60)]
    values = [5 * (1 - 0.03 * math.exp(-n / 20)) for n in range(60)]
    assert is_stationary(values[:2])
    reached = next(n for n in range(60) if is_warm(celsius[: n + 1], 60.0))
    assert values[reached] > 5 * (1 - 0.007)
    assert reached > 20
