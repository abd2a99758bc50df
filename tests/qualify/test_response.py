"""Rhythm, response and feed of sources, from points that were made by hand."""

from __future__ import annotations

import random
from math import exp

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.qualify import Beat, Figure, Source
from pytest_energy.qualify.experiments import echo, feed_of
from pytest_energy.qualify.renewals import (
    Look,
    Renewal,
    call_seconds,
    levels,
    powers,
    quantum_joules,
    renewals,
    rhythm,
)
from pytest_energy.qualify.response import Edge, Trajectory, fit, fit_levels, scatters, solved
from pytest_energy.qualify.table import lock_prone

LENGTHS = [round(0.25 + 0.1 * (i * 0.618 % 1), 3) for i in range(96)]
EDGES = [Edge(round(sum(LENGTHS[:i]), 3), i % 2 == 0) for i in range(96)]
"""Work and rest in turn, at many phases between renewals."""
RISE, FALL = 0.005, 0.05
STEP = 0.001


def summed(edges: list[Edge], seconds: float) -> float:
    """Shares of the power times seconds up to a time, summed up step by step."""
    share, total, number, on = 0.0, 0.0, 0, False
    for k in range(round(seconds / STEP)):
        while number < len(edges) and edges[number].seconds <= k * STEP + 1e-9:
            on, number = edges[number].on, number + 1
        after = on + (share - on) * exp(-STEP / (RISE if on else FALL))
        total += (share + after) / 2 * STEP
        share = after
    return total


def shown(period: float, window: float, lag: float, *, noise: float, seed: int) -> list[Renewal]:
    """What a source shows of 50 W at rest and 300 W of work."""
    chance, course = random.Random(seed), Trajectory(EDGES, RISE, FALL)
    found, at = [], 0.0371
    while (at := at + period) < 29:
        watts = 50 + 250 * course.mean(at - lag, window) + chance.gauss(0, noise)
        found.append(Renewal(at, 4e-4, watts))
    return found


def test_the_power_follows_edges_with_its_time_constants() -> None:
    course = Trajectory(EDGES, RISE, FALL)
    for at in (0.0, 0.2, 0.31, 3.337, 29.0):
        assert course.until(at) == pytest.approx(summed(EDGES, at), abs=5e-3)


@pytest.mark.parametrize(
    ("period", "window", "lag"),
    [
        (0.1, 0.1, 0.0),
        (0.1, 0.025, 0.0),
        (0.1013, 0.018, 0.0),
        (0.1, 0.1, 0.05),
        (0.1, 0.1, 0.15),
        (0.1, 0.025, 0.1),
        (0.0202, 0.0105, 0.0),
        (0.0202, 0.0202, 0.0),
        (0.1, 0.109, 0.0),
    ],
)
def test_window_and_lag_are_found(period: float, window: float, lag: float) -> None:
    seen = shown(period, window, lag, noise=1.0, seed=1)
    line = rhythm(seen)
    found = fit(EDGES, [(each.seconds, each.value) for each in seen], line.period_seconds)

    assert line.period_seconds == pytest.approx(period, rel=0.001)
    assert found.window_seconds == pytest.approx(window, rel=0.1)
    assert found.lag_seconds == pytest.approx(lag, rel=0.1, abs=0.001)
    assert found.rise_seconds == pytest.approx(RISE, abs=0.002)
    assert found.fall_seconds == pytest.approx(FALL, rel=0.1)
    assert found.rest_watts == pytest.approx(50, abs=2)
    assert found.swing_watts == pytest.approx(250, abs=3)


def coarse(period: float, window: float, step_joules: float, drift: float) -> list[Renewal]:
    """What a counter in steps shows, of work that draws `drift` (a share) more after 29 s."""
    course = Trajectory(EDGES, RISE, FALL)
    found, joules, at, shown = [], 0.0, 0.0371, -1.0
    while (at := at + period) < 29:
        share = course.mean(at, window)
        joules += period * (53.7 + 250 * share * (1 + drift * at / 29))
        if (now := joules // step_joules * step_joules) != shown:
            found.append(Renewal(at, 4e-4, now))
            shown = now
    return found


@pytest.mark.parametrize("window", [0.1, 0.025])
@pytest.mark.parametrize("drift", [0.0, 0.02])
def test_levels_tell_the_window_of_a_coarse_counter(window: float, drift: float) -> None:
    """Better than powers do; a load that drifts does no harm."""
    seen = coarse(0.1, window, 5.0, drift)
    line = rhythm(seen)
    by_levels = fit_levels(EDGES, levels(seen, line), line.period_seconds).window_seconds
    by_powers = fit(EDGES, powers(seen, line), line.period_seconds).window_seconds

    assert abs(by_levels - window) <= 1.2 * by_levels.doubt
    assert by_levels.doubt < 0.8 * by_powers.doubt


def test_doubts_hold_the_truth() -> None:
    """Half-widths of 95 %: one or two of 20 may miss."""
    held = 0
    for seed in range(10):
        seen = shown(0.1, 0.025, 0.05, noise=5.0, seed=seed)
        found = fit(EDGES, [(each.seconds, each.value) for each in seen], 0.1)
        held += abs(found.window_seconds - 0.025) <= found.window_seconds.doubt
        held += abs(found.lag_seconds - 0.05) <= found.lag_seconds.doubt
    assert held >= 17


def test_linear_equations() -> None:
    assert solved([[0, 2], [3, 1]], [4, 5]) == [1, 2]
    assert solved([[0, 0], [0, 2]], [0, 4]) == [0, 2]


def test_a_line_goes_through_renewals_of_which_some_are_missing() -> None:
    chance = random.Random(1)
    numbers = [n for n in range(400) if chance.random() > 0.2]
    seen = [Renewal(7 + 0.1013 * n + chance.gauss(0, 0.002), 0.0005, n) for n in numbers]
    line = rhythm(seen)

    assert line.period_seconds == pytest.approx(0.1013, abs=2 * line.period_seconds.doubt)
    assert line.period_seconds.doubt < 1e-5
    assert line.jitter_seconds == pytest.approx(0.002, rel=0.15)
    assert line.nearest(7 + 3 * 0.1013 + 0.02) == pytest.approx(7 + 3 * 0.1013, abs=0.001)
    assert len(powers(seen, line)) < len(seen) - 20  # not those over two periods
    assert [round((at - 7) / 0.1013) for at, _ in levels(seen, line)] == [
        *range(numbers[0], numbers[-1] + 1)
    ]
    assert all(shown <= turn for turn, (_, shown) in enumerate(levels(seen, line), numbers[0]))
    with pytest.raises(EnergyError, match="renewed 5 times only"):
        rhythm(seen[:5])


def test_renewals_that_are_seen_from_far_apart_are_numbered_rightly() -> None:
    """Looks are 40 ms apart, so that renewals seem 80 or 120 ms apart, whose median is neither."""
    chance, seen, look = random.Random(2), [], 0.0
    for n in range(300):
        while look < 3 + 0.1 * n:
            look += 0.04 + chance.uniform(-0.004, 0.004)
        seen.append(Renewal(look - 0.02, 0.02, n))
    line = rhythm(seen)

    assert line.period_seconds == pytest.approx(0.1, rel=0.0002)
    assert [line.turn(each.seconds) - line.turn(seen[0].seconds) for each in seen] == [*range(300)]


def test_looks_tell_renewals_quantum_and_the_time_of_a_call() -> None:
    values = [10.0, 10.0, 12.5, 12.5, 20.0]
    looks = [Look(k, k + 0.25, value) for k, value in enumerate(values)]
    assert renewals(looks) == [Renewal(1.625, 0.625, 12.5), Renewal(3.625, 0.625, 20.0)]
    assert quantum_joules(values) == 2.5
    assert call_seconds(looks) == 0.25


# What feeds the counter.


def source(window: float, doubt: float = 0.001, period: float = 0.1) -> Source:
    return Source(Figure(period, 1e-6), 0.0, Figure(window, doubt), Figure(0.0, 0.001))


PART, WHOLE, UNSURE = source(0.025), source(0.1), source(0.08, 0.03)


@pytest.mark.parametrize(
    ("counter", "readings", "echoed", "scattered", "feed"),
    [
        (None, PART, None, False, "unknown"),
        (PART, PART, 0.0, True, "sensor"),
        (PART, None, None, True, "sensor"),
        (WHOLE, PART, 1.0, False, "true power"),
        (WHOLE, PART, None, False, "true power"),
        (WHOLE, WHOLE, 0.0, False, "sensor"),
        (WHOLE, WHOLE, 1.0, False, "true power"),
        (WHOLE, WHOLE, 0.5, False, "unknown"),
        (WHOLE, None, None, False, "unknown"),
        (UNSURE, PART, None, True, "sensor"),
        (UNSURE, PART, None, False, "unknown"),
        # Experiments that contradict one another.
        (PART, PART, 1.0, True, "unknown"),
        (WHOLE, PART, 0.0, False, "unknown"),
        (WHOLE, PART, 1.0, True, "unknown"),
        (WHOLE, source(0.01, period=0.02), 0.0, False, "unknown"),
    ],
)
def test_the_feed_is_told_only_if_experiments_agree(
    counter: Source | None,
    readings: Source | None,
    echoed: float | None,
    scattered: bool,
    feed: str,
) -> None:
    assert feed_of(counter, readings, echoed, scattered) == feed


def test_what_surely_sees_all_and_what_surely_does_not() -> None:
    assert [s.sees_all for s in (PART, WHOLE, UNSURE, source(0.109))] == [False, True, False, False]
    assert [s.is_part for s in (PART, WHOLE, UNSURE, source(0.109))] == [True, False, False, False]


@pytest.mark.parametrize("late", [0, 2])
def test_a_counter_that_adds_up_the_readings_echoes_them(late: int) -> None:
    chance = random.Random(3)
    readings = [Renewal(0.1 * k, 0.001, 300 + chance.gauss(0, 1)) for k in range(40)]
    same = [(0.1 * k + 0.001, readings[k - late].value) for k in range(late, 40)]
    other = [(at, 300 + chance.gauss(0, 1)) for at, _ in same]

    assert echo(same, readings, 0.1) == pytest.approx(0.0, abs=1e-9)
    assert (echo(other, readings, 0.1) or 0) > 0.9
    assert echo(same, readings, 0.1, grain_watts=50) is None
    assert echo(same[:5], readings, 0.1) is None


def test_square_loads_that_scatter_beyond_what_is_explained() -> None:
    part = [Beat(0.107, 0.2, 0.02)] * 3 + [Beat(0.1, 0.0, 0.0)] * 2
    assert scatters(part, grain=0.0)
    assert not scatters(part, grain=0.6)
    assert not scatters([Beat(0.107, 0.02, 0.02)] * 5, grain=0.0)


def test_steps_that_lock_are_those_near_the_period_and_its_multiples() -> None:
    ranges = lock_prone(PART, 50, 300)
    for step in (0.1, 0.2, 0.3):
        assert any(low < step < high for low, high in ranges)
    for step in (0.0873, 0.12, 0.23):
        assert not any(low < step < high for low, high in ranges)
    assert lock_prone(WHOLE, 50, 300) == []
