"""The simulated cards report what was planted: their truth, their sensor, their counter."""

from __future__ import annotations

import random
from itertools import pairwise
from math import exp
from statistics import mean, pstdev

import pytest

from sensor_sim import PRESETS, Card, Feed, Load, World, apart, simulate
from workloads_support import SAMPLES

STEPS = Load.steps(period=0.06, forward=450, backward=600, optimizer=250)
SQUARE = Load.square(600, 250, period=0.1)
TRACE = SAMPLES / "real" / "a100_pmd_5khz.json"
CYCLE_SECONDS = 0.104
"""Of the recorded load: 52 ms on, 52 ms off, from 200 ms on."""


def ticks(world: World, count: int, look: float = 0.0002) -> list[tuple[float, float]]:
    """When the counter ticked (s after the epoch), and what it showed then (J)."""
    found: list[tuple[float, float]] = []
    last = world.counter_joules()
    while len(found) < count:
        world.rest(look)
        if (joules := world.counter_joules()) != last:
            found.append((world.now() - world.epoch, joules))
        last = joules
    return found


# The truth.


def summed(load: Load, card: Card, phase: float, seconds: float, until: float) -> float:
    """Joules of work at second 0 and the fall after it, summed up in steps of 10 us."""
    step, joules, watts, at = 1e-5, 0.0, card.idle_watts, phase % load.seconds
    ends = [sum(each for each, _ in load.pieces[: i + 1]) for i in range(len(load.pieces))]
    for k in range(round(until / step)):
        works = k * step < seconds
        aim = card.idle_watts
        if works:
            aim = next(w for end, (_, w) in zip(ends, load.pieces, strict=True) if at < end)
        tau = card.rise_seconds if works else card.fall_seconds
        watts = aim if tau == 0 else watts  # no memory
        joules += watts * step
        if works and tau:
            left = exp(-(k + 1) * step / tau)
            watts = aim * (1 - left) + card.idle_watts * left
        elif tau:
            watts = card.idle_watts + (watts - card.idle_watts) * exp(-step / tau)
        at = (at + step) % load.seconds
    return joules


def drawn(card: Card, load: Load, phase: float, seconds: float, until: float) -> tuple[float, ...]:
    with simulate(card) as world:
        work = world.work(load, seconds, phase=phase)
        world.rest(until)
        return (world.true_joules(work.since, work.since + until), work.until - work.since)


@pytest.mark.parametrize("phase", [0.0, 0.031, 7.77])
@pytest.mark.parametrize(("rise", "fall"), [(0.0, 0.0), (0.02, 0.0), (0.0, 0.1), (0.05, 0.2)])
def test_the_truth_is_the_integral_of_the_curve(rise: float, fall: float, phase: float) -> None:
    card = Card(rise_seconds=rise, fall_seconds=fall)
    joules, seconds = apart(drawn, card, STEPS, phase, 0.3, 0.9)
    assert joules == pytest.approx(summed(STEPS, card, phase, seconds, 0.9), rel=2e-4)


def resumed(card: Card) -> list[float]:
    with simulate(card) as world:
        first = world.work(Load.constant(500), 0.5)
        world.rest(card.fall_seconds)
        second = world.work(Load.constant(500), 2.0)
        return [
            world.true_joules(second.since - 1e-5, second.since) / 1e-5,
            world.true_joules(second.since, second.since + 1e-5) / 1e-5,
            world.true_joules(second.until - 1e-5, second.until) / 1e-5,
            world.true_joules(first.since - 1.0, first.since),
        ]


def test_work_goes_on_from_the_power_that_was_left_of_the_last() -> None:
    before, after, last, rest = apart(resumed, Card(rise_seconds=0.01, fall_seconds=0.1))
    assert before == pytest.approx(60 + 440 * exp(-1), rel=0.01)
    assert after == pytest.approx(before, rel=0.01)
    assert last == pytest.approx(500)
    assert rest == pytest.approx(60)


# The sensor, and counters that are fed by it or by the truth.


def counted(card: Card, load: Load, seconds: float) -> tuple[float, float]:
    """Joules by the counter from one tick to another, and the true ones between these ticks."""
    with simulate(card) as world:
        world.work(load, 0.01)
        first = ticks(world, 1)[0]
        world.work(load, seconds)
        world.rest(0.5)
        last = ticks(world, 1)[0]
        period = card.tick_seconds or card.update_seconds
        phase = card.tick_phase_seconds
        since, until = (
            phase + period * ((at - phase) // period) + world.epoch for at, _ in (first, last)
        )
        return last[1] - first[1], world.true_joules(since, until)


@pytest.mark.parametrize("load", [Load.constant(500), STEPS, SQUARE], ids=["even", "steps", "100"])
@pytest.mark.parametrize(
    "card",
    [
        Card(counter="truth"),
        Card(counter="truth", rise_seconds=0.02, fall_seconds=0.1),
        Card(counter="sensor", update_seconds=0.1, window_seconds=0.1, fall_seconds=0.1),
    ],
    ids=["exact", "exact, slow power", "a sensor that sees everything"],
)
def test_a_counter_that_misses_nothing_says_the_true_integral(card: Card, load: Load) -> None:
    joules, true = apart(counted, card, load, 3.0)
    assert joules == pytest.approx(true, abs=0.0021)  # 1 mJ at either end


def sampled(card: Card) -> tuple[float, float, float]:
    """What the counter says, the same by hand, and the true joules."""
    with simulate(card) as world:
        first = world.counter_joules()
        since = world.now()
        world.work(SQUARE, 2.0)
        world.rest(0.02)
        joules = world.counter_joules() - first
        by_hand = 0.0
        for k in range(1000):
            at = world.epoch + card.sensor_phase_seconds + k * card.update_seconds
            if since < at <= world.now():
                seen = world.true_joules(at - card.window_seconds, at)
                by_hand += seen / card.window_seconds * card.update_seconds
        return joules, by_hand, world.true_joules(since, world.now())


def test_a_part_time_sensor_takes_what_it_sees_for_the_whole() -> None:
    card = Card(counter="sensor", update_seconds=0.1, window_seconds=0.025)
    joules, by_hand, true = apart(sampled, card)
    assert joules == pytest.approx(by_hand, abs=0.002)
    assert abs(joules / true - 1) > 0.2  # in step with the load it sees one level alone


def read_watts(card: Card) -> list[float]:
    """Readings 0.3 and 1.2 s into 2 s of work."""
    with simulate(card) as world:
        world.rest(2.0)
        world.begin_work(Load.constant(500))
        world.rest(0.3)
        early = world.power_watts()
        world.rest(0.9)
        return [early, world.power_watts()]


def test_readings_are_held_samples_or_the_mean_of_a_second_of_them() -> None:
    at_once = Card(update_seconds=0.1, window_seconds=0.025, mean_seconds=0)
    averaged = Card(update_seconds=0.1, window_seconds=0.025, mean_seconds=1)
    assert apart(read_watts, at_once) == pytest.approx([500, 500], abs=0.01)
    early, late = apart(read_watts, averaged)
    assert late == pytest.approx(500, abs=0.01)
    assert early in (pytest.approx(192, abs=0.01), pytest.approx(236, abs=0.01))  # 3 or 4 of 10


def errors_of_sums(window_seconds: float, ticks_a_sum: int, sums: int) -> list[float]:
    """Errors of tick-aligned sums (%) on the recorded trace; its ticks are its samples."""
    load = Load.recorded(TRACE, since=0.2, until=0.2 + 21 * CYCLE_SECONDS)
    card = Card(
        idle_watts=64, counter="sensor", update_seconds=0.101, window_seconds=window_seconds,
        tick_seconds=0.0,
    )  # fmt: skip
    found = []
    with simulate(card) as world:
        world.begin_work(load)
        world.rest(1.0)
        seen = ticks(world, 1 + ticks_a_sum * sums, look=0.01)
        for (begun, before), (ended, after) in pairwise(seen[::ticks_a_sum]):
            since, until = (
                world.epoch + at - (at - card.tick_phase_seconds) % 0.101 for at in (begun, ended)
            )
            true = world.true_joules(since, until)
            found.append(100 * ((after - before) / true - 1))
    return found


@pytest.mark.skipif(
    not TRACE.exists(), reason=f"no {TRACE}: name a folder with it in PYTEST_ENERGY_SAMPLES"
)
def test_a_recorded_load_through_a_part_time_sensor_errs_as_published() -> None:
    """Two-second sums of 25 of 101 ms have an SD of about 23 %, of all that is drawn under 0.3."""
    part_time = apart(errors_of_sums, 0.025, 20, 300)
    assert 20 < pstdev(part_time) < 26
    assert abs(mean(part_time)) < 3
    assert pstdev(apart(errors_of_sums, 0.101, 20, 100)) < 0.3


# What counters do besides.


def lag(card: Card) -> float:
    """How late the counter shows the beginning of work (s)."""
    with simulate(card) as world:
        world.rest(1.0)
        since = world.begin_work(Load.constant(560))
        *_, (end, joules) = ticks(world, 20)
        first = joules - 5000 - card.idle_watts * (end - card.lag_seconds)
        return end - (since - world.epoch) - first / 500


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.15])
def test_a_late_counter_is_late_by_so_much(seconds: float) -> None:
    assert apart(lag, Card(lag_seconds=seconds)) == pytest.approx(seconds, abs=0.001)


def idle_ticks(card: Card, count: int) -> list[tuple[float, float]]:
    with simulate(card) as world:
        return ticks(world, count)


def test_a_counter_in_quanta_steps_by_them() -> None:
    seen = apart(idle_ticks, Card(quantum_joules=5.0), 20)
    assert {(b - a) % 5 for (_, a), (_, b) in pairwise(seen)} == {0.0}


def test_ticks_jitter_by_up_to_so_much() -> None:
    seen = apart(idle_ticks, Card(jitter_seconds=0.005), 300)
    off = [(at - 0.037 + 0.05) % 0.1 - 0.05 for at, _ in seen]
    assert -0.0051 < min(off) < -0.0045
    assert 0.0045 < max(off) < 0.0055
    assert pstdev(off) == pytest.approx(0.01 / 12**0.5, rel=0.1)


def test_ticks_that_come_with_a_sample_have_counted_it() -> None:
    card = Card(
        counter="sensor",
        update_seconds=0.1,
        window_seconds=0.025,
        tick_seconds=0.0,
        jitter_seconds=0.005,
    )
    seen = apart(idle_ticks, card, 100)
    assert [b - a for (_, a), (_, b) in pairwise(seen)] == pytest.approx([6.0] * 99, abs=0.0011)


def test_so_many_ticks_go_missing() -> None:
    seen = apart(idle_ticks, Card(missing=0.2), 400)
    periods = round((seen[-1][0] - seen[0][0]) / 0.1)
    assert 1 - (len(seen) - 1) / periods == pytest.approx(0.2, abs=0.05)
    assert seen[-1][1] - seen[0][1] == pytest.approx(60 * periods * 0.1, rel=1e-3)


def call_times(card: Card) -> list[float]:
    with simulate(card) as world:
        found = []
        for _ in range(200):
            before = world.now()
            world.power_watts()
            found.append(world.now() - before)
        return found


def test_calls_take_so_long() -> None:
    assert apart(call_times, Card(call_seconds=0.02)) == pytest.approx([0.02] * 200, abs=1e-4)
    found = apart(call_times, Card(call_seconds=0.02, call_jitter_seconds=0.01))
    assert 0.0099 < min(found) < 0.0105
    assert 0.0295 < max(found) < 0.0301


def figures(model: str, counter: Feed) -> list[float]:
    with simulate(Card.preset(model, counter=counter)) as world:
        world.rest(random.Random(1).random())
        found = world.windows(STEPS.scaled(0.5), [0.5, 0.7])
        return [value for each in found for value in (*each.stretch, each.record.joules)]


@pytest.mark.parametrize("model", PRESETS)
def test_each_card_is_metered_and_the_same_each_time(model: str) -> None:
    feeds: tuple[Feed, ...] = ("truth", "sensor")
    if PRESETS[model].counter == "none":
        feeds = ("none",)
    for feed in feeds:
        first = apart(figures, model, feed)
        assert first == apart(figures, model, feed)
        assert min(first) > 0
