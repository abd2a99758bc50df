"""Joules between two moments of a wall meter's readings, with what they may be off by."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from pytest_energy.meters.wall.forms import Figure
from pytest_energy.meters.wall.trace import NotCoveredError, WallReading, WallTrace

Load = Callable[[float], float]
"""Cumulative joules at a time (s)."""


def _watts(*rows: tuple[float, float], digit: float = 0.0, stamp: float = 0.0) -> WallTrace:
    trace = WallTrace()
    for seconds, watts in rows:
        trace.add(WallReading(Figure(seconds, stamp), watts=Figure(watts, digit)))
    return trace


def _energy(*rows: tuple[float, float], digit: float = 0.0) -> WallTrace:
    trace = WallTrace()
    for seconds, joules in rows:
        trace.add(WallReading(Figure(seconds), joules=Figure(joules, digit)))
    return trace


def test_watts_are_held_until_the_next_reading() -> None:
    trace = _watts((0, 100), (1, 200), (2, 300), (3, 100))

    assert trace.between(0, 3).joules == 600
    assert trace.between(0.5, 2.25).joules == 0.5 * 100 + 200 + 0.25 * 300


def test_energy_is_interpolated_between_the_nearest_readings() -> None:
    trace = _energy((0, 1000), (10, 2000), (20, 4000), (30, 5000))

    assert trace.between(10, 20).joules == 2000
    assert trace.between(5, 22).joules == 4200 - 1500


def test_of_power_and_energy_the_surer_is_taken() -> None:
    trace = WallTrace()
    for second in range(20):
        watts = 100.0 if second % 2 else 500.0
        energy = Figure(second * 400.0, 1.0)
        trace.add(WallReading(Figure(second), Figure(watts), energy))

    assert trace.between(5, 15).joules == 4000
    assert trace.between(5, 15).uncertainty_joules == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (-2, 5, r"begin 2 s into the window"),
        (5, 12.5, r"end 2.5 s before the window does"),
        (1, 8, r"no reading for 4 s of the window, and one comes every 1 s"),
    ],
)
@pytest.mark.parametrize("of", [_watts, _energy])
def test_what_is_not_covered_has_no_figure(
    of: Callable[..., WallTrace], start: float, end: float, reason: str
) -> None:
    trace = of(*((t, 100.0 * t) for t in (0, 1, 2, 6, 7, 8, 9, 10)))

    with pytest.raises(NotCoveredError, match=reason):
        trace.between(start, end)
    assert trace.between(6.5, 9.5).joules > 0


def test_without_readings_there_is_no_figure() -> None:
    with pytest.raises(NotCoveredError, match="no readings"):
        WallTrace().between(0, 1)


def test_an_energy_reading_that_was_set_back_is_no_negative_energy() -> None:
    trace = _energy((0, 5000), (1, 5100), (2, 0), (3, 100), (4, 200), (5, 300))

    with pytest.raises(NotCoveredError, match="set back"):
        trace.between(0.5, 4.5)
    assert trace.between(2.5, 4.5).joules == pytest.approx(200)


def test_time_that_steps_back_begins_anew() -> None:
    trace = _watts((100, 50), (101, 50), (102, 50), (51, 70), (52, 70), (53, 70), (54, 70))

    with pytest.raises(NotCoveredError):
        trace.between(100, 102)
    assert trace.between(51, 54).joules == 210


def test_the_last_digit_is_in_the_uncertainty() -> None:
    rows = [(float(t), 100.0) for t in range(11)]

    assert _watts(*rows, digit=1.0).between(0, 10).uncertainty_joules == pytest.approx(5.0)
    assert _watts(*rows).between(0, 10).uncertainty_joules == 0


def test_a_coarse_time_stamp_counts_where_the_load_moved() -> None:
    rows = [(float(t), 100.0 + 10 * t) for t in range(11)]
    exact = _watts(*rows).between(0, 10).uncertainty_joules

    assert _watts(*rows, stamp=1.0).between(0, 10).uncertainty_joules == exact + 100


def test_energy_within_one_pair_of_readings_is_all_uncertain() -> None:
    found = _energy((0, 0), (60, 6000), (120, 12_000)).between(10, 30)

    assert found.joules == pytest.approx(2000)
    assert found.uncertainty_joules >= 2000


def test_a_counter_that_stands_still_between_leaps_is_known_to_a_leap() -> None:
    rows = [(float(t), 3600.0 * (t // 12)) for t in range(60)]

    found = _energy(*rows, digit=36.0).between(6.5, 50.5)

    assert found.uncertainty_joules >= 3600
    assert abs(found.joules - 300 * 44) <= found.uncertainty_joules


def test_the_period_and_the_resolution_are_the_readings_own() -> None:
    trace = _watts((0, 1), (2, 1), (4, 1), (9, 1), (11, 1), digit=0.1)

    assert trace.period_seconds == 2
    assert trace.resolution_joules == pytest.approx(0.2)
    assert _energy((0, 1), (10, 2), digit=3.6).resolution_joules == 3.6


def _constant(_: random.Random) -> Load:
    return lambda t: 300 * t


def _ramp(chance: random.Random) -> Load:
    slope = chance.uniform(-1.5, 1.5)
    return lambda t: 300 * t + slope * t * t / 2


def _square(chance: random.Random) -> Load:
    half, phase = chance.uniform(0.3, 8), chance.uniform(0, 8)

    def joules(t: float) -> float:
        whole, rest = divmod(t + phase, 2 * half)
        return 500 * half * whole + 400 * min(rest, half) + 100 * max(0.0, rest - half)

    return joules


def _switched_on(chance: random.Random) -> Load:
    at = chance.uniform(60, 64)
    return lambda t: 100 * t + 300 * max(0.0, t - at)


@pytest.mark.parametrize("load", [_constant, _ramp, _square, _switched_on])
@pytest.mark.parametrize("kind", ["watts", "energy"])
def test_the_stated_uncertainty_covers_the_true_error(
    kind: str, load: Callable[[random.Random], Load]
) -> None:
    chance = random.Random(f"{kind} {load.__name__}")
    covered, widest = 0, 0.0
    for _ in range(400):
        joules = load(chance)
        start = chance.uniform(60, 64)
        end = start + chance.uniform(20, 40)
        rows = [t + chance.uniform(0, 0.2) for t in range(130)]
        if kind == "watts":
            power = [round((joules(t + 1e-6) - joules(t)) / 1e-6, 1) for t in rows]
            trace = _watts(*zip(rows, power, strict=True), digit=0.1)
        else:
            counted = [math.floor(joules(t) / 36) * 36 for t in rows]
            trace = _energy(*zip(rows, counted, strict=True), digit=36)
        found, truth = trace.between(start, end), joules(end) - joules(start)
        covered += abs(found.joules - truth) <= found.uncertainty_joules + 1e-6
        widest = max(widest, found.uncertainty_joules / truth)

    assert covered >= 0.95 * 400
    assert widest < 0.6
    if load is _constant:
        assert widest < 0.02
