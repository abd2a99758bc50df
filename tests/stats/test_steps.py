"""Steps along a line: where the fit puts them, and where it puts none."""

from __future__ import annotations

import pytest

from pytest_energy.stats.steps import Level, Step, fit_steps, joined


def levels(**values: float) -> list[Level]:
    return [Level(int(place[1:]), value, 0.01) for place, value in values.items()]


def gaps(steps: list[Step]) -> list[tuple[int, int]]:
    return [step.gap for step in steps]


def test_one_step_between_two_places() -> None:
    (step,) = fit_steps(levels(p0=0.0, p8=0.1, p12=0.9, p16=1.1))

    assert step.gap == (8, 12)
    assert (step.low, step.high) == pytest.approx((0.05, 1.0))
    assert step.height == pytest.approx(0.95)
    assert step.lower.variance == pytest.approx(0.005)
    assert (step.lower.place, step.upper.place) == step.gap


def test_what_several_share() -> None:
    steps = fit_steps(levels(p0=0.0, p4=0.0, p8=1.0, p10=1.0, p12=2.0, p16=0.0))

    assert gaps(steps) == [(4, 8), (10, 12), (12, 16)]
    assert steps[-1].height == pytest.approx(-2.0)


def test_noise_is_no_step() -> None:
    assert fit_steps(levels(p0=0.0, p4=0.2, p8=-0.1, p12=0.2)) == []


def test_a_faint_step_takes_a_lower_penalty() -> None:
    faint = levels(p0=0.0, p4=0.0, p8=0.25, p12=0.25)

    assert fit_steps(faint) == []
    assert gaps(fit_steps(faint, penalty=4.0)) == [(4, 8)]


def test_a_step_that_is_certain_costs_nothing() -> None:
    assert gaps(fit_steps(levels(p0=0.0, p4=0.2), costs={(0, 4): 0.0})) == [(0, 4)]


def test_where_a_step_costs_more_it_goes_elsewhere() -> None:
    found = levels(p0=0.0, p4=0.0, p5=0.6, p8=1.0)

    assert gaps(fit_steps(found)) == [(4, 5)]
    assert gaps(fit_steps(found, costs={(4, 5): 30.0})) == [(5, 8)]


def test_levels_of_one_place_are_joined_by_their_weights() -> None:
    (place,) = joined([Level(3, 1.0, 1.0), Level(3, 4.0, 0.5)])

    assert (place.value, place.variance) == pytest.approx((3.0, 1 / 3))


def test_a_single_place_has_no_step() -> None:
    assert fit_steps([Level(3, 1.0, 0.5)]) == []


@pytest.mark.parametrize("variance", [1e-6, 100.0])
@pytest.mark.parametrize("level", [0.0, -40.0])
def test_a_step_stands_out_by_three_standard_errors(variance: float, level: float) -> None:
    """Those of the difference of two values."""
    error = (2 * variance) ** 0.5
    for height, found in ((2.99, 0), (3.01, 1), (-2.99, 0), (-3.01, 1)):
        places = [Level(0, level, variance), Level(1, level + height * error, variance)]
        assert len(fit_steps(places)) == found
