"""Power readings as joules."""

from __future__ import annotations

import random
from statistics import median

import pytest

from pytest_energy.meters.nvml.power_integrator import SENSOR_SHIFT, SHIFT_DOUBT, Trace, between


def test_constant_power() -> None:
    trace = Trace()
    trace.add(10.0, 200.0)
    begin, end = trace.mark(10.004), trace.mark(11.0)
    for k in range(1, 120):
        trace.add(10.0 + 0.01 * k, 200.0)
    joules, doubt = between(begin, end, SHIFT_DOUBT * trace.sensor_period())
    assert joules == pytest.approx(200 * 0.996)
    assert doubt < 0.1


def test_a_mark_waits_for_the_reading_after_it() -> None:
    trace = Trace()
    trace.add(1.0, 100.0)
    mark = trace.mark(1.5)
    trace.add(1.2, 100.0)
    assert mark.joules is None
    trace.add(1.6, 100.0)
    assert mark.joules == pytest.approx(50.0)


def test_a_mark_just_before_the_last_reading_is_exact() -> None:
    trace = Trace()
    for k in range(11):
        trace.add(k * 0.01, 300.0)
    begin = trace.mark(0.094)
    trace.add(0.11, 300.0)
    end = trace.mark(0.104)

    joules, _ = between(begin, end, 0.0)
    assert joules == pytest.approx(3.0)


def test_repeated_readings_count() -> None:
    trace = Trace()
    for seconds, watts in [(0.0, 100.0), (1.0, 100.0), (2.0, 100.0), (2.1, 300.0)]:
        trace.add(seconds, watts)
    assert trace.joules == pytest.approx(200 + 20)


def test_a_square_wave_is_covered() -> None:
    chance = random.Random(1)
    errors, covered = [], 0
    for _ in range(300):
        trace, now = Trace(), chance.uniform(0, 0.7)
        start = now
        trace.add(now, watts_at(now))
        begin, end = trace.mark(start), trace.mark(start + 2.0)
        while end.joules is None:
            now += chance.uniform(0.01, 0.012)
            trace.add(now, watts_at(now))
        joules, doubt = between(begin, end, SHIFT_DOUBT * trace.sensor_period())
        true = true_joules(start + 2.0) - true_joules(start)
        errors.append(abs(joules / true - 1))
        covered += abs(joules - true) <= doubt
    assert median(errors) < 0.01
    assert covered >= 0.95 * 300


def test_the_period_of_a_sensor_is_found_by_its_noise() -> None:
    chance, trace = random.Random(2), Trace()
    held = 0.0
    for k in range(300):
        if k % 5 == 0:
            held = 250 + chance.uniform(-2, 2)
        trace.add(0.01 * k, held)
    assert trace.sensor_period() == pytest.approx(0.05, abs=0.001)


def test_a_slow_sensor_lags_and_is_moved_back() -> None:
    chance, trace = random.Random(3), Trace()
    held, period = 0.0, 0.05
    moved = 10.0 + SENSOR_SHIFT * period, 12.0 + SENSOR_SHIFT * period
    begin, end = trace.mark(moved[0]), trace.mark(moved[1])
    for k in range(1400):
        now = 0.01 * k
        if k % 5 == 0:
            work = max(0.0, min(now, 12.0) - max(now - period, 10.0)) / period
            held = 80 + 400 * work + chance.uniform(-1, 1)
        trace.add(now, held)
    joules, doubt = between(begin, end, SHIFT_DOUBT * trace.sensor_period())
    assert abs(joules - 960) <= doubt
    assert joules == pytest.approx(960, rel=0.02)


def watts_at(seconds: float) -> float:
    return 400.0 if seconds % 0.7 < 0.35 else 100.0


def true_joules(seconds: float) -> float:
    whole, rest = divmod(seconds, 0.7)
    return whole * 175 + (400 * rest if rest < 0.35 else 140 + 100 * (rest - 0.35))
