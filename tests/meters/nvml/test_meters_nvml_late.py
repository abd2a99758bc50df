"""Windows on counters that show joules late, or whose sensor looks part of the time, by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hand_card import HandCard, HandClock, Ticking, opened
from pytest_energy.meters.nvml.counter import Counter, Tick
from pytest_energy.meters.nvml.counter_span import (
    CounterSpan,
    Ending,
    aligned_spans,
    start_doubt,
    wait_for_ends,
)

PERIOD = 0.1
WATTS = 500.0
LONG = 10_000.0
"""A period of which no test waits for the end."""


@pytest.fixture
def clock() -> Iterator[HandClock]:
    with HandClock().installed() as installed:
        yield installed


def ticking(
    clock: HandClock, *, half_width: float = 1e-6, age: float = 0.3
) -> tuple[HandCard, Counter, Ticking]:
    """A card at a steady 500 W, `age` periods after a tick; its ticks were seen so sharply."""
    ticks = Ticking(PERIOD, WATTS * PERIOD, phase=clock.now - (10 + age) * PERIOD)
    card = HandCard(ticks)
    counter = opened(card)
    counter.clock, counter.period_seconds = ticks.clock(half_width), PERIOD
    counter.rest_watts = WATTS
    card.reads.clear()
    return card, counter, ticks


def late_by(counter: Counter, seconds: float, doubt: float = 0.0) -> Counter:
    counter.lag_seconds, counter.lag_doubt_seconds = seconds, doubt
    return counter


def shown_late(last_tick: Tick, joules: float) -> tuple[HandCard, CounterSpan]:
    """A window on a counter of a long period that shows what was drawn up to 2,000 s before."""
    card = HandCard()
    counter = late_by(opened(card), 2000.0, 3.0)
    counter.period_seconds, counter.last_tick = LONG, last_tick
    card.show(joules)
    return card, CounterSpan(counter)


def test_a_tick_counts_for_the_time_up_to_which_it_shows_joules(clock: HandClock) -> None:
    """At 0.01 W before the work, and at 1 W in it, up to 300 s before the last tick's time."""
    at = clock.now - 100.0
    first = Tick(at, 0.001, 900.0, 1000.0)
    card, span = shown_late(first, 1000.0)
    assert span.first == first
    span.work_started(at + 500.0)
    card.show(40_000.0)
    span.work_ended(at + 47_700.0)
    span.ticked(Tick(at + 50_000.0, 0.001, 38_525.0, 48_000.0))

    start_joules = 1000.0 + 0.01 * 2500.0
    last = Tick(at + 48_000.0, 3.001, 38_525.0, 48_000.0)
    total, load = 48_000.0 - start_joules, (38_525.0 - start_joules) / 37_500.0
    ending = Ending(last, at + 47_700.0, LONG, 0.0, total, load, 0.01, 0.0)
    assert span.wait == pytest.approx(ending.wait_by_rest())
    joules, doubt, _ = span.result()
    assert joules == pytest.approx(total - span.wait.joules)
    at_start = start_doubt(Tick(at - 2000.0, 3.001, 900.0, 1000.0), at + 500.0, 0.01, 1.0)
    expected = span.wait.uncertainty_joules + at_start + span.counter.resolution_joules
    assert doubt == pytest.approx(expected, rel=1e-3)


def test_a_tick_that_shows_nothing_up_to_the_end_of_the_work_is_not_its_last(
    clock: HandClock,
) -> None:
    at = clock.now - 100.0
    card, span = shown_late(Tick(at, 0.001, 900.0, 1000.0), 1000.0)
    span.work_started(at + 500.0)
    card.show(40_000.0)
    span.work_ended(at + 47_700.0)
    before = span.result().joules

    span.ticked(Tick(at + 49_600.0, 0.001, 38_000.0, 47_000.0))
    assert span.wait == (0.0, 0.0, False)
    assert span.result().joules == before
    span.ticked_again(Tick(at + 59_600.0, 0.001, 47_000.0, 47_400.0))
    assert span.result().joules == pytest.approx(47_400.0 - 1025.0 - span.wait.joules)
    assert span.wait.joules > 0.0


def test_what_shows_nothing_of_the_work_in_time_is_settled_as_it_is(clock: HandClock) -> None:
    at = clock.now - 100.0
    card, span = shown_late(Tick(at, 0.001, 900.0, 1000.0), 1000.0)
    span.work_started(at + 500.0)
    card.show(40_000.0)
    span.work_ended(at + 47_700.0)
    span.ticked(Tick(at + 49_600.0, 0.001, 38_000.0, 47_000.0))
    span.ticked_again(None)
    assert span.wait == (0.0, 0.0, True)


def test_windows_on_a_counter_that_is_late_begin_and_end_when_it_shows_their_ends(
    clock: HandClock,
) -> None:
    """It shows joules of five periods ago: a window waits for so many ticks more."""
    _, counter, ticks = ticking(clock)
    late_by(counter, 5 * PERIOD)
    begun = clock.now
    (span,) = aligned_spans([counter])
    assert span.aligned
    assert span.first is not None
    assert span.first.seconds - 5 * PERIOD >= begun - 1e-4

    span.work_started(started := clock.now)
    clock.now += 1.05
    ended = clock.now
    span.work_ended(ended)
    wait_for_ends([span])
    assert span.wait.settled
    assert counter.last_tick is not None
    assert counter.last_tick.seconds - 5 * PERIOD >= ended
    assert clock.now < ended + 9 * PERIOD
    joules, doubt, wrong = span.result()
    assert wrong is None
    assert abs(joules - WATTS * (ended - started)) <= doubt
    assert doubt < 0.25 * joules  # what lies between that tick and the work, above all
    assert ticks.number(clock.now) > ticks.number(ended) + 5


def test_a_window_that_begins_on_a_tick_of_the_time_before_it_is_not_aligned(
    clock: HandClock,
) -> None:
    """Who knows what was done since."""
    _, counter, _ = ticking(clock)
    late_by(counter, 0.05)
    counter.last_tick = Tick(clock.now - 0.001, 1e-5, 0.0, counter.joules())
    span = CounterSpan(counter)
    assert span.first is counter.last_tick
    assert not span.aligned
    assert CounterSpan(late_by(counter, 0.0)).aligned


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_work_begins_so_far_into_the_time_that_a_sensor_does_not_look(
    clock: HandClock, share: float
) -> None:
    card, counter, ticks = ticking(clock)
    counter.sees_all = False
    (span,) = aligned_spans([counter], share)
    assert span.aligned
    assert span.first is not None
    tick = ticks.nearest(span.first.seconds)
    assert clock.now == pytest.approx(tick + share * PERIOD, abs=1e-4)
    assert len(card.reads) == 2
    assert clock.sleeps == 1  # for the tick and for the time after it


def test_work_begins_right_after_the_tick_if_the_sensor_sees_all_or_nobody_says(
    clock: HandClock,
) -> None:
    for sees_all, shares in ((True, (0.9,)), (False, ())):
        _, counter, ticks = ticking(clock)
        counter.sees_all = sees_all
        (span,) = aligned_spans([counter], *shares)
        assert span.first is not None
        assert clock.now == pytest.approx(ticks.nearest(span.first.seconds), abs=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_work_begins_as_far_after_a_tick_that_came_just_now(clock: HandClock, share: float) -> None:
    _, counter, ticks = ticking(clock, age=0.01)
    counter.sees_all = False
    tick = ticks.nearest(clock.now)
    counter.last_tick = Tick(tick, 1e-5, counter.joules() - WATTS * PERIOD, counter.joules())
    (span,) = aligned_spans([counter], share)
    assert span.first is counter.last_tick
    assert clock.now == pytest.approx(max(tick + share * PERIOD, tick + 0.001), abs=1e-4)


def test_work_begins_as_far_after_a_tick_that_was_not_sure(clock: HandClock) -> None:
    """It is looked for from before it can come, and only then is it known when to wake up."""
    _, counter, ticks = ticking(clock, half_width=0.001)
    counter.sees_all = False
    (span,) = aligned_spans([counter], 0.5)
    assert span.first is not None
    assert clock.now == pytest.approx(span.first.seconds + 0.5 * PERIOD, abs=1e-4)
    assert abs(span.first.seconds - ticks.nearest(span.first.seconds)) <= span.first.half_width


def test_the_latest_of_the_ticks_says_when_the_work_begins(clock: HandClock) -> None:
    """One card ticks 0.3 periods from now, the other 0.4 periods after it."""
    begun, counters = clock.now, []
    for number, age in enumerate((0.3, 0.7)):
        _, counter, _ = ticking(clock, age=age)
        counter.domain = f"gpu:{number}"
        counter.sees_all = False
        counters.append(counter)
    spans = aligned_spans(counters, 0.8)
    assert [span.aligned for span in spans] == [True, True]
    assert clock.now == pytest.approx(begun + (0.7 + 0.8) * PERIOD, abs=1e-4)


def test_a_part_time_counter_without_a_tick_is_waited_for_no_longer(clock: HandClock) -> None:
    _, counter, ticks = ticking(clock)
    counter.sees_all = False
    ticks.last = begun = clock.now
    (span,) = aligned_spans([counter], 0.5)
    assert span.first is None
    assert clock.now - begun < 7 * PERIOD


def test_a_blurred_tick_is_waited_for_again(clock: HandClock) -> None:
    """The second is known by the first to where it is sharp."""
    _, counter, ticks = ticking(clock, half_width=0.01)
    begun = clock.now
    (span,) = aligned_spans([counter])
    assert span.aligned
    assert span.first is not None
    assert abs(span.first.seconds - ticks.nearest(span.first.seconds)) <= span.first.half_width
    assert span.first.half_width <= 0.002
    assert PERIOD < clock.now - begun < 3 * PERIOD


def test_no_counters_are_waited_for(clock: HandClock) -> None:
    begun = clock.now
    assert aligned_spans([], 0.5) == []
    wait_for_ends([])
    assert clock.now - begun < 1e-4


def test_a_card_that_draws_less_than_a_joule_in_the_wait() -> None:
    tick = Tick(10.0, 0.001, 100.0, 100.5)
    ending = Ending(tick, 9.96, PERIOD, 0.002, 500.0, 5.0, 5.0, 0.0)
    assert ending.wait_by_rest().joules == pytest.approx(0.2)


def test_a_window_in_which_nothing_was_drawn_is_settled() -> None:
    nothing = Ending(Tick(10.0, 0.0, 100.0, 100.0), 9.96, PERIOD, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert nothing.wait_by_rest() == (0.0, 0.0, True)


def test_a_wait_of_more_than_an_interval_is_held_to_what_the_counter_showed_in_as_long() -> None:
    """40 J in 0.1 s, so 100 J in the 0.25 s that the tick came after the work."""
    ending = Ending(Tick(10.0, 0.001, 100.0, 140.0), 9.75, PERIOD, 0.0, 500.0, 600.0, 100.0, 0.0)
    found = ending.wait_by_next([Tick(10.1, 0.001, 140.0, 240.0)])
    # By the tick after it the wait took 250 J; by the load, which is taken, 40 J.
    assert found.joules == pytest.approx(40.0)
    timing = 600.0 * (0.001 + 0.00005)
    assert found.uncertainty_joules == pytest.approx(abs(40.0 - 100.0) + timing)
