"""The plot of residuals that `pytest-energy calibrate` prints."""

from __future__ import annotations

import random

import pytest

from pytest_energy.reports.tables import scatter


def test_the_plot_shows_each_point_where_it_lies() -> None:
    lines = scatter(
        [(0, 2.0), (50, -2.0), (50, -2.0), (100, 0.0)],
        x_name="device W",
        y_name="residual",
        width=41,
        height=5,
    ).splitlines()

    assert lines[0] == "residual"
    assert [line[:4] for line in lines[1:6]] == ["+2 |", "   |", " 0 |", "   |", "-2 |"]
    assert lines[1][4] == "*"
    assert lines[3][-1] == "*"
    assert lines[5][4 + round(36 / 2)] == "2"
    assert lines[6].split() == ["0", "100"]
    assert lines[7].strip() == "device W"
    assert "*" not in lines[2] + lines[4]


@pytest.mark.parametrize("width", [10, 60, 100])
def test_the_plot_stays_within_its_width(width: int) -> None:
    chance = random.Random(1)
    points = [(chance.uniform(70, 700), chance.gauss(0, 1e4)) for _ in range(500)]

    text = scatter(points, x_name="device W", y_name="residual", width=width)

    assert max(map(len, text.splitlines())) == max(width, 40)
    assert text.isascii()


@pytest.mark.parametrize(("count", "cell"), [(1, "*"), (3, "3"), (9, "9"), (10, "+")])
def test_points_at_one_place(count: int, cell: str) -> None:
    middle = scatter([(5.0, 0.0)] * count, x_name="x", y_name="y").splitlines()[6]

    assert middle.partition("|")[2].startswith(f"{cell}---")
