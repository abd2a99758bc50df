"""Windows' ends as arithmetic: many windows over known loads, no time spent."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import pytest

from pytest_energy.meters.nvml.counter import Tick
from pytest_energy.meters.nvml.counter_span import (
    MOST_FOLLOWING,
    Ending,
    at_start,
    start_doubt,
)

PERIOD = 0.1
LOOK_SECONDS = 0.0003

Joules = Callable[[float], float]
"""Exact joules up to a time."""


def constant(watts: float) -> Joules:
    return lambda seconds: watts * seconds


def square(low: float, high: float, period: float, duty: float = 0.5) -> Joules:
    def joules(seconds: float) -> float:
        whole, rest = divmod(seconds, period)
        up = duty * period
        one = high * up + low * (period - up)
        return whole * one + (high * rest if rest < up else high * up + low * (rest - up))

    return joules


def sine(mean: float, swing: float, period: float) -> Joules:
    turn = 2 * math.pi / period
    return lambda s: mean * s + swing / turn * (1 - math.cos(turn * s))


def work_between(start: float, end: float, rest_watts: float, load: Joules) -> Joules:
    """At rest, save for the load between two times."""

    def joules(seconds: float) -> float:
        inside = min(max(seconds, start), end)
        return rest_watts * (seconds - (inside - start)) + load(inside) - load(start)

    return joules


@dataclass(frozen=True)
class Outcome:
    """A window's relative error, whether its uncertainty covers it, and how wide that is."""

    error: float
    covered: bool
    stated: float


def window(
    load: Joules, seconds: float, chance: random.Random, rest_watts: float | None
) -> Outcome:
    """One window over a load that rests before and after it, or that does not care."""
    phase = chance.uniform(0, PERIOD)
    first = phase + PERIOD * chance.randrange(1000, 2000)
    started = first + chance.uniform(0.0002, 0.0006)
    ended = started + seconds * chance.uniform(0.95, 1.05)
    exact = load if rest_watts is None else work_between(started, ended, rest_watts, load)

    def tick(at: float) -> Tick:
        seen = at + chance.uniform(-LOOK_SECONDS, LOOK_SECONDS)
        return Tick(seen, LOOK_SECONDS, exact(at - PERIOD), exact(at))

    at_rest = [(exact(first - k * PERIOD) - exact(first - (k + 1) * PERIOD)) / PERIOD
               for k in range(8)]  # fmt: skip
    spread = max(at_rest) - min(at_rest)
    begin = tick(first)
    start_joules, idle_watts = at_start(begin, started, PERIOD)
    last_at = phase + PERIOD * (math.floor((ended - phase) / PERIOD) + 1)
    last = tick(last_at)
    load_watts = (last.joules_before - start_joules) / (last_at - PERIOD - started)
    total = last.joules - start_joules
    ending = Ending(last, ended, PERIOD, 0.0, total, load_watts, idle_watts, spread)
    wait = ending.wait_by_rest()
    following: list[Tick] = []
    while not wait.settled and len(following) < MOST_FOLLOWING:
        following.append(tick(last_at + PERIOD * (1 + len(following))))
        wait = ending.wait_by_next(following)
    joules = total - wait.joules
    load_watts = joules / (ended - started)
    doubt = wait.uncertainty_joules + start_doubt(begin, started, idle_watts, load_watts)
    true = exact(ended) - exact(started)
    return Outcome(joules / true - 1, abs(joules - true) <= doubt, doubt / true)


CASES = [
    pytest.param(constant(300), None, 0.5, 0.001, id="constant"),
    pytest.param(constant(300), None, 2.0, 0.0002, id="constant, 2 s"),
    pytest.param(constant(500), 90.0, 0.5, 0.001, id="work"),
    pytest.param(square(300, 600, 0.03), 90.0, 2.0, 0.0002, id="work in steps of 30 ms"),
    pytest.param(square(300, 600, 0.3), 90.0, 2.0, 0.0002, id="work in steps of 0.3 s"),
    pytest.param(square(100, 400, 0.7), None, 2.0, 0.005, id="square that never rests"),
    pytest.param(square(100, 400, 0.13), None, 2.0, 0.015, id="quick square that never rests"),
    pytest.param(sine(250, 150, 1), None, 2.0, 0.01, id="sine that never rests"),
]


@pytest.mark.parametrize(("load", "rest_watts", "seconds", "largest_error"), CASES)
def test_windows(
    load: Joules, rest_watts: float | None, seconds: float, largest_error: float
) -> None:
    chance = random.Random(7)
    found = [window(load, seconds, chance, rest_watts) for _ in range(400)]
    assert median(abs(outcome.error) for outcome in found) <= largest_error
    assert sum(outcome.covered for outcome in found) >= 0.95 * len(found)


def test_the_uncertainty_of_ordinary_work_is_small() -> None:
    chance = random.Random(3)
    found = [window(constant(500), 2.0, chance, 90.0) for _ in range(100)]
    assert max(outcome.stated for outcome in found) < 0.003


@pytest.mark.parametrize("gap", [0.0003, 0.0015])
def test_a_load_that_ends_at_the_tick_before_the_work_is_covered(gap: float) -> None:
    """The interval before the tick was all load, the gap all rest."""
    tick = Tick(10.0, 0.0, joules_before=0.0, joules=400.0 * PERIOD)
    start_joules, watts = at_start(tick, 10.0 + gap, PERIOD)
    exact = 400.0 * PERIOD + 60.0 * gap
    assert abs(start_joules - exact) <= start_doubt(tick, 10.0 + gap, watts, 400.0)


def test_the_joules_of_the_wait_are_never_more_than_the_counter_saw() -> None:
    tick = Tick(10.0, 0.0, joules_before=100.0, joules=110.0)
    ending = Ending(tick, 9.95, PERIOD, 0.0, 500.0, 100.0, 900.0, 0.0)
    following = Tick(10.1, 0.0, joules_before=110.0, joules=200.0)
    for wait in (ending.wait_by_rest(), ending.wait_by_next([following])):
        assert 0 <= wait.joules <= 10.0
