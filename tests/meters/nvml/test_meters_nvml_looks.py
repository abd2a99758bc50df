"""When a counter is looked at, and what its ticks are taken for, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from hand_card import HandCard, HandClock, Ticking, opened
from pytest_energy.meters.nvml.counter import Counter, Tick
from pytest_energy.meters.nvml.ticks import (
    LOST_SECONDS,
    SPARING,
    SPIN_SECONDS,
    STEP_SECONDS,
    Samples,
    Ticks,
    calibrate,
    learn,
    look_at_rest_again,
    observed,
    wait_for_ticks,
)
from pytest_energy.meters.nvml.two_powers import TwoPowers

PERIOD = 0.5
JOULES = 10.0


@pytest.fixture
def clock() -> Iterator[HandClock]:
    with HandClock().installed() as installed:
        yield installed


def ticking(
    clock: HandClock,
    half_width: float = 1e-6,
    period: float = PERIOD,
    *,
    age: float = 0.3,
    off: float = 0.0,
) -> tuple[HandCard, Counter, Ticking]:
    """A card that ticked `age` periods ago, and whose ticks were seen so sharply before.

    They come `off` seconds later than was seen.
    """
    ticks = Ticking(period, JOULES, phase=clock.now - (10 + age) * period)
    card = HandCard(ticks)
    counter = opened(card)
    seen = Ticking(period, phase=ticks.phase - off)
    counter.clock, counter.period_seconds = seen.clock(half_width), period
    card.reads.clear()
    return card, counter, ticks


def next_due(counter: Counter, clock: HandClock) -> tuple[float, float]:
    """When its next tick is due, and how far that may be off (s)."""
    assert counter.clock is not None
    due = counter.clock.following(clock.now)
    return due, counter.clock.doubt(due)


def the_tick(
    counter: Counter, later_seconds: float = 0.0, spin_seconds: float = SPIN_SECONDS
) -> Tick:
    tick = wait_for_ticks([counter], {}, later_seconds, spin_seconds)["gpu:0"]
    assert tick is not None
    return tick


def apart(reads: list[float]) -> list[float]:
    """Seconds from look to look."""
    return [after - before for before, after in pairwise(reads)]


def test_a_tick_that_is_sure_is_looked_for_once_right_after_it(clock: HandClock) -> None:
    card, counter, _ = ticking(clock)
    due, doubt = next_due(counter, clock)
    tick = the_tick(counter)
    assert tick.seconds == pytest.approx(due, abs=doubt + 1e-5)
    first, look = card.reads
    assert first < due - 0.1
    assert due < look <= due + 2 * doubt + 1e-4


def test_who_does_not_wait_for_longer_goes_on_right_after_the_tick(clock: HandClock) -> None:
    _, counter, ticks = ticking(clock, period=2.5)
    tick = wait_for_ticks([counter])["gpu:0"]
    assert tick is not None
    assert clock.now < ticks.nearest(tick.seconds) + 0.001


@pytest.mark.parametrize(("half_width", "step"), [(0.0005, STEP_SECONDS), (0.02, None)])
def test_a_tick_that_is_not_sure_is_looked_for_from_before_it_can_come(
    clock: HandClock, half_width: float, step: float | None
) -> None:
    """A quarter of what is in doubt from look to look, but not more often than every 0.4 ms."""
    card, counter, _ = ticking(clock, half_width)
    due, doubt = next_due(counter, clock)
    tick = the_tick(counter)
    looks = card.reads[1:]
    assert due - doubt - 0.001 < looks[0] < due - doubt
    assert apart(looks) == pytest.approx(len(apart(looks)) * [step or doubt / 4], abs=5e-6)
    assert 2 * tick.half_width == pytest.approx(step or doubt / 4, abs=1e-5)


@pytest.mark.parametrize("half_width", [0.00025, 0.02])
def test_a_tick_that_does_not_come_is_looked_for_without_haste(
    clock: HandClock, half_width: float
) -> None:
    card, counter, ticks = ticking(clock, half_width)
    due, doubt = next_due(counter, clock)
    ticks.last = clock.now
    assert wait_for_ticks([counter]) == {"gpu:0": None}
    late = [read for read in card.reads if read > due + doubt + 1e-5]
    step = max(STEP_SECONDS, doubt / 4)
    assert apart(late) == pytest.approx(len(apart(late)) * [step], abs=5e-6)
    assert card.reads[-1] == pytest.approx(due + 5 * PERIOD, abs=2 * step)


def test_what_is_nearly_sure_and_does_not_jitter_is_spun_for(clock: HandClock) -> None:
    """So that it is sure from then on."""
    half_width = 0.00025
    for spin_seconds, jitter, spins in (
        (0.001, 0.0, True),
        (0.0001, 0.0, False),
        (0.001, 0.0001, False),
    ):
        card, counter, _ = ticking(clock, half_width)
        assert counter.clock is not None
        counter.clock.jitter_seconds = jitter
        _, doubt = next_due(counter, clock)
        assert 0.0002 < doubt < 0.001
        tick = the_tick(counter, spin_seconds=spin_seconds)
        assert (tick.half_width < 1e-5) == spins
        assert (len(card.reads) > 50) == spins
        assert len(card.reads) < 1000


def test_by_itself_a_tick_known_to_a_millisecond_is_spun_for_and_none_known_worse(
    clock: HandClock,
) -> None:
    for half_width, spins in ((0.00045, True), (0.0005, False)):
        _, counter, _ = ticking(clock, half_width)
        _, doubt = next_due(counter, clock)
        assert (doubt < 0.001) == spins
        assert (the_tick(counter).half_width < 1e-5) == spins


def test_who_waits_for_longer_looks_once_and_teaches_the_clock_nothing(clock: HandClock) -> None:
    card, counter, ticks = ticking(clock, 0.00025)
    assert counter.clock is not None
    due, doubt = next_due(counter, clock)
    known = vars(counter.clock).copy()
    tick = the_tick(counter, later_seconds=0.2)
    assert len(card.reads) == 2
    assert card.reads[1] == pytest.approx(due + 0.2, abs=1e-5)
    assert abs(tick.seconds - ticks.nearest(tick.seconds)) <= tick.half_width <= 1.01 * doubt
    assert vars(counter.clock) == known


def test_who_waits_nearly_until_the_next_tick_looks_right_at_this_one(clock: HandClock) -> None:
    """A look that comes a millisecond late may be past the next, which may come early."""
    card, counter, _ = ticking(clock, 0.0004)
    due, doubt = next_due(counter, clock)
    assert doubt < 0.001
    the_tick(counter, later_seconds=PERIOD - LOST_SECONDS - doubt / 2)
    assert card.reads[-1] < due + 2 * doubt


@pytest.mark.parametrize(
    ("off", "read_after", "asked_after"),
    [
        (0.03, 0.01, 0.1),  # read when a late tick was still to come
        (-0.03, 0.2, PERIOD - 0.01),  # an early one has come since
    ],
)
def test_a_reading_since_which_a_tick_of_doubt_may_have_come_is_made_anew(
    clock: HandClock, off: float, read_after: float, asked_after: float
) -> None:
    """In seconds after a tick was due by what is known; it may be off by 0.05 s."""
    _, counter, ticks = ticking(clock, 0.02, age=0.0, off=off)
    assert counter.clock is not None
    due, doubt = next_due(counter, clock)
    assert abs(off) < doubt
    clock.now = due + read_after
    at_hand = counter.read_now()
    clock.now = begun = due + asked_after
    tick = wait_for_ticks([counter], {"gpu:0": at_hand})["gpu:0"]
    assert tick is not None
    assert tick.seconds > begun
    assert abs(tick.seconds - ticks.nearest(tick.seconds)) <= tick.half_width
    assert tick.joules - tick.joules_before == JOULES


@pytest.mark.parametrize("off", [0.08 * PERIOD, -0.08 * PERIOD])
@pytest.mark.parametrize("late", [0.85, 0.95, 1.05, 1.85, 2.5])
def test_a_look_that_is_late_by_periods_says_no_more_than_it_can(
    clock: HandClock, off: float, late: float
) -> None:
    """The last of the ticks that came lies in what is said of it, however many came."""
    _, counter, ticks = ticking(clock, 0.04 * PERIOD, off=off)
    due, doubt = next_due(counter, clock)
    assert abs(off) < doubt < 0.2 * PERIOD
    clock.late_seconds = late * PERIOD + doubt
    tick = the_tick(counter)
    last = ticks.phase + PERIOD * ticks.number(clock.now)
    assert last > due - doubt
    assert abs(tick.seconds - last) <= tick.half_width + 1e-9
    assert tick.half_width < 0.7 * PERIOD


def test_a_tick_that_comes_when_none_is_due_is_taken_as_seen_and_makes_the_next_less_sure(
    clock: HandClock,
) -> None:
    _, counter, ticks = ticking(clock, off=0.3 * PERIOD)
    assert counter.clock is not None
    due, doubt = next_due(counter, clock)
    tick = the_tick(counter)
    assert tick.seconds > due + 100 * doubt
    assert abs(tick.seconds - ticks.nearest(tick.seconds)) <= tick.half_width < STEP_SECONDS
    assert next_due(counter, clock)[1] > doubt


class Slow(HandCard):
    """A driver that takes some milliseconds to say what a card draws."""

    clock: HandClock
    seconds = 0.004

    def sharpest_watts(self) -> float | None:
        self.clock.now += self.seconds
        return super().sharpest_watts()


def test_a_calibrated_clock_is_sure_at_once(clock: HandClock) -> None:
    """Its last ticks are looked at from close by, though they were seen to some milliseconds."""
    ticks = Ticking(0.1, 15.0, phase=clock.now - 100.03)
    card = Slow(ticks)
    card.clock = clock
    counter = opened(card)
    assert calibrate([counter]) == [counter]
    due, doubt = next_due(counter, clock)
    assert abs(due - ticks.nearest(due)) <= doubt < 0.0002


@pytest.mark.parametrize("cards", [1, 2])
def test_power_is_asked_for_a_fifth_of_the_time_at_most(clock: HandClock, cards: int) -> None:
    """Ticks must not go unseen: after a reading, four times as long is left for them."""
    counters = []
    for number in range(cards):
        card = Slow(Ticking(0.05, JOULES, phase=clock.now - 100.0), domain=f"gpu:{number}")
        card.clock = clock
        counters.append(opened(card))
    begun = clock.now
    _, samples = observed(counters)
    seconds = clock.now - begun
    asked = sum(len(each) for each in samples.values()) * Slow.seconds
    assert 0.8 < asked * (1 + SPARING) / seconds <= 1.1


def test_power_is_read_every_two_milliseconds_if_that_takes_no_time(clock: HandClock) -> None:
    card = HandCard(Ticking(0.05, JOULES, phase=clock.now - 100.0))
    counter = opened(card)
    begun = clock.now
    observed([counter])
    assert len(card.power_reads) == pytest.approx((clock.now - begun) / 0.002, rel=0.3)


def even(joules: float, period: float = 0.1) -> Ticks:
    """Seven ticks, each with so many joules."""
    return [(50.0 + number * period, 0.001, number * joules) for number in range(7)]


def steady(watts: float) -> Samples:
    return [(50.0 + number * 0.01, watts) for number in range(61)]


def test_a_counter_that_contradicts_its_cards_readings_at_rest_is_looked_at_again() -> None:
    """The load may have swung; who agrees is known at once."""
    apart, agreed = opened(HandCard()), opened(HandCard())
    learn(apart, even(20.0), steady(100.0))
    learn(agreed, even(10.0), steady(100.0))
    assert apart.at_rest is None
    assert apart.apart_at_rest is not None
    assert apart.apart_at_rest.ratio == pytest.approx(2.0)
    assert agreed.apart_at_rest is None
    assert agreed.at_rest is not None


HIGH, LOW = TwoPowers(150.0, 100.0, 23.0), TwoPowers(60.0, 100.0, 23.0)


@pytest.mark.parametrize(
    ("first", "joules", "settled", "apart"),
    [
        (HIGH, 10.0, True, False),  # both agree by now
        (HIGH, 20.0, True, False),  # it is as wrong as it was
        (LOW, 4.0, True, False),
        (LOW, 20.0, False, True),  # it is wrong the other way round: the load swings
        (HIGH, 4.0, False, True),
        (None, 20.0, False, False),  # nobody was in doubt
    ],
)
def test_who_disagreed_at_rest_is_settled_by_a_second_look(
    clock: HandClock, first: TwoPowers | None, joules: float, settled: bool, apart: bool
) -> None:
    """Of a card whose readings say 100 W."""
    counter = opened(HandCard(Ticking(0.1, joules, phase=clock.now - 100.0), watts=100.0))
    counter.apart_at_rest = first
    look_at_rest_again([counter])
    assert (counter.at_rest is not None, counter.apart_at_rest is not None) == (settled, apart)
    seen = counter.at_rest or counter.apart_at_rest
    if seen is not None:
        assert seen.counted_watts == pytest.approx(10 * joules, rel=0.05)
        assert seen.read_watts == pytest.approx(100.0)


def test_what_a_second_look_cannot_tell_stays_open(clock: HandClock) -> None:
    counter = opened(HandCard(Ticking(0.1, 20.0, phase=clock.now - 100.0), watts=None))
    counter.apart_at_rest = HIGH
    other = opened(HandCard(Ticking(0.1, 20.0, phase=clock.now - 100.0), domain="gpu:1"))
    other.apart_at_rest = HIGH
    look_at_rest_again([counter, other])
    assert (counter.at_rest, counter.apart_at_rest) == (None, HIGH)
    assert other.at_rest is not None
    assert other.apart_at_rest is None
