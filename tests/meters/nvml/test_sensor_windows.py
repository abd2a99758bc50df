"""Windows on cards whose sensors look part of the time, whose counters lag, or that answer late."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import pytest

import sim
from pytest_energy import window
from sensor_sim import Card, Load, Metered, apart, simulate
from workloads_support import SAMPLES

EXACT = Card("NVIDIA GeForce RTX 2080 Ti (simulated)", update_seconds=0.1, window_seconds=0.1)
PART_TIME = replace(
    EXACT,
    name="NVIDIA A100-SXM4-40GB (simulated)",
    window_seconds=0.025,
    tick_seconds=0.0,
    counter="sensor",
)
UNKNOWN = replace(PART_TIME, name="NVIDIA X1 (simulated)")
UNCOUNTED = replace(PART_TIME, counter="none", noise_watts=1.0)
P100 = Card.preset("p100", load_watts=220)
EVEN = Load.constant(600)
STEPS = Load.steps(period=0.06, forward=450, backward=600, optimizer=250)
LOCKED = Load.square(600, 250, period=0.1)
RECORDED = SAMPLES / "real" / "a100_pmd_5khz.json"


def windows(card: Card, load: Load, seconds: float, count: int) -> tuple[list[Metered], list[str]]:
    """Windows of about so many seconds, and what the meter remarks on."""
    chance = random.Random(5)
    found: list[Metered] = []
    with simulate(card.at_phase(chance.random()), seed=5) as world:
        while len(found) < count:
            world.rest(chance.uniform(0.1, 0.4))
            lasts = seconds * chance.uniform(0.9, 1.1)
            found.append(world.window(load, lasts, phase=chance.uniform(0, load.seconds)))
        return found, list(getattr(world.meter, "remarks", ()))


def valid(found: Sequence[Metered]) -> list[Metered]:
    return [each for each in found if each.record.valid]


def covered(found: Sequence[Metered]) -> float:
    """The share of valid windows whose uncertainty covers the truth; 1 if none is valid."""
    known = valid(found)
    return sum(each.covered for each in known) / len(known) if known else 1.0


@pytest.mark.parametrize(
    ("card", "load"),
    [
        pytest.param(EXACT, EVEN, id="exact"),
        pytest.param(EXACT, LOCKED, id="exact, steps of a period"),
        pytest.param(PART_TIME, EVEN, id="part of the time"),
        pytest.param(PART_TIME, STEPS, id="part of the time, steps"),
        pytest.param(PART_TIME, LOCKED, id="part of the time, locked"),
        pytest.param(UNKNOWN, LOCKED, id="nothing published, locked"),
        pytest.param(UNCOUNTED, LOCKED, id="no counter, locked"),
        pytest.param(P100, Load.constant(220), id="no counter"),
        pytest.param(replace(EXACT, lag_seconds=0.05), EVEN, id="late by 50 ms"),
        pytest.param(replace(EXACT, lag_seconds=0.15), EVEN, id="late by 150 ms"),
        pytest.param(replace(EXACT, quantum_joules=10.0), EVEN, id="quanta"),
        pytest.param(replace(EXACT, fall_seconds=0.05), EVEN, id="falls off"),
        pytest.param(replace(EXACT, fall_seconds=0.3), EVEN, id="falls off slowly"),
        pytest.param(replace(EXACT, call_seconds=0.02), LOCKED, id="calls of 20 ms"),
    ],
)
def test_the_uncertainty_covers_the_truth_or_the_window_is_refused(card: Card, load: Load) -> None:
    found, _ = apart(windows, card, load, 2.0, 40)

    assert covered(found) >= 0.95
    assert all("aliased" in str(f.record.invalid_reason) for f in found if not f.record.valid)


def test_ticks_that_jitter_and_do_not_come() -> None:
    found, _ = apart(windows, replace(EXACT, jitter_seconds=0.01, missing=0.2), EVEN, 2.0, 40)

    assert covered(found) >= 0.95
    # Where the tick to begin on is among them, the beginning is known to a period or two only.
    assert len(valid(found)) >= 0.9 * len(found)
    assert all(each.record.valid or each.record.is_too_short for each in found)


@pytest.mark.parametrize(
    ("card", "load", "largest_median"),
    [
        pytest.param(EXACT, EVEN, 0.0005, id="exact"),
        pytest.param(EXACT, Load.square(600, 250, period=0.3), 0.001, id="exact, square"),
        pytest.param(replace(EXACT, counter="sensor", tick_seconds=0.0), EVEN, 0.0005,
                     id="a sensor that sees all"),
        pytest.param(P100, Load.constant(220), 0.001, id="no counter"),
        pytest.param(replace(EXACT, call_seconds=0.005), EVEN, 0.0015, id="calls of 5 ms"),
        pytest.param(replace(EXACT, call_seconds=0.02), EVEN, 0.005, id="calls of 20 ms"),
        pytest.param(replace(EXACT, call_seconds=0.02), LOCKED, 0.01, id="calls of 20 ms, square"),
    ],
)  # fmt: skip
def test_windows_are_right(card: Card, load: Load, largest_median: float) -> None:
    found, _ = apart(windows, card, load, 2.0, 400)

    assert len(valid(found)) == len(found)
    assert median(abs(each.error) for each in found) <= largest_median


def test_steps_that_keep_step_with_the_sensor_are_refused_and_a_remedy_is_named() -> None:
    found, remarks = apart(windows, PART_TIME, LOCKED, 2.0, 30)

    # Until all of a step was seen its swing is not known, and the uncertainty alone says so.
    reasons = [each.record.invalid_reason for each in found[-5:]]
    assert all(str(reason).startswith("aliased: steps of 100 ms") for reason in reasons)
    (said,) = remarks
    assert "`gpu:0`: steps of 100 ms may keep step with the sensor" in said
    assert "which looks 18 of every 100 ms: joules may be off by" in said


def test_a_remedy_that_is_named_does() -> None:
    """Steps of 110 ms beat with the looks; batches half as large again do not."""
    beating = Load.square(600, 500, period=0.11)
    found, (said,) = apart(windows, PART_TIME, beating, 2.0, 20)
    _, remarks = apart(windows, PART_TIME, beating.scaled(time=1.25), 2.0, 20)

    assert len(valid(found)) == len(found)
    assert said.endswith("batches 1.25 times as large would do")
    assert remarks == []


def test_windows_begin_anywhere_between_two_looks() -> None:
    """Begun at one phase they would repeat, all wrong by the same."""
    found, _ = apart(windows, PART_TIME, LOCKED, 2.0, 12)

    errors = [each.error for each in found]
    assert min(errors) < -0.1
    assert max(errors) > 0.1


@pytest.mark.skipif(not RECORDED.exists(), reason=f"needs `{RECORDED}`, a recorded load")
def test_a_recorded_load_that_swings_about_as_often_as_the_sensor_looks() -> None:
    load = Load.recorded(RECORDED, since=0.2, until=0.2 + 21 * 0.104, step_seconds=0.104)
    found, _ = apart(windows, replace(PART_TIME, update_seconds=0.101), load, 2.0, 40)

    assert covered(found) >= 0.95
    assert max(abs(each.error) for each in found) > 0.1


def taking_turns() -> list[Metered]:
    with simulate(PART_TIME.at_phase(0.3), seed=5) as world:
        loads = [LOCKED, Load.square(500, 200, period=0.07)]
        return [world.window(loads[k % 2], 2.0) for k in range(40)]


def test_what_was_seen_of_a_step_is_kept_while_other_steps_take_turns() -> None:
    last = apart(taking_turns)[-1], apart(taking_turns)[-2]

    assert [str(each.record.invalid_reason).split(":")[0] for each in last] == ["None", "aliased"]


def calls_to_begin(card: Card) -> int:
    """How often the driver is asked to begin the first window of a meter."""
    with simulate(card) as world:
        world.meter  # noqa: B018 - it is calibrated when it is opened
        world.rest(0.2)
        before = sim.calls()
        with window(world.meter, "work"):
            return sim.calls() - before


def test_the_first_window_needs_few_calls_that_take_milliseconds() -> None:
    """When ticks are due is found out before, so that one look after the tick is enough."""
    assert apart(calls_to_begin, Card.preset("h200")) < 8
