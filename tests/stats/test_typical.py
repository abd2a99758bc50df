"""Windows far from the others: what they count for."""

from __future__ import annotations

import pytest

from pytest_energy.stats.steadiness import median_distance, typical


def test_the_median_distance_is_from_the_median() -> None:
    assert median_distance([1.0, 2.0, 10.0]) == 1.0
    assert median_distance([4.0]) == 0.0


@pytest.mark.parametrize(
    ("values", "pulled"),
    [
        ([10.0, 10.1, 9.9, 10.2], [10.0, 10.1, 9.9, 10.2]),
        ([10.0, 10.1, 9.9, 30.0], [10.0, 10.1, 9.9, 30.0]),  # too few to call one an outlier
        # 4 SD of 1.4826 times 0.1
        ([10.0, 10.1, 9.9, 10.1, 30.0], [10.0, 10.1, 9.9, 10.1, 10.1 + 0.59304]),
        ([10.0, 10.1, 9.9, 9.9, 3.0], [10.0, 10.1, 9.9, 9.9, 9.9 - 0.59304]),
        # Windows that are all alike have a reach as well: 4 times 0.1 %
        ([10.0, 10.0, 10.0, 10.0, 10.5], [10.0, 10.0, 10.0, 10.0, 10.04]),
        ([10.0, 10.0, 10.0, 10.0, 10.03], [10.0, 10.0, 10.0, 10.0, 10.03]),
    ],
)
def test_outliers_are_pulled_in_to_four_sd(values: list[float], pulled: list[float]) -> None:
    assert typical(values) == pytest.approx(pulled)
