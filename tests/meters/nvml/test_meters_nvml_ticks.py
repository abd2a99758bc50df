"""Ticks that are waited for: which one it was, how often the driver is asked, and when to give up.

Nothing here depends on the machine's speed: a slow one looks later and less often.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hand_card import HandCard, HandClock, Ticking, opened
from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.counter import Counter, Tick, TickClock
from pytest_energy.meters.nvml.ticks import (
    SAMPLE_SECONDS,
    SHORTEST_PERIOD_SECONDS,
    SLOWEST_SECONDS,
    SURE_SECONDS,
    Samples,
    Ticks,
    calibrate,
    learn,
    observed,
    seen_enough,
    wait_for_ticks,
)


@pytest.fixture(autouse=True)
def clock() -> Iterator[HandClock]:
    with HandClock().installed() as installed:
        yield installed


PERIOD = 0.05
JOULES = 10.0


def ticking(
    half_width: float = 1e-6, period: float = PERIOD, watts: float | None = 200.0
) -> tuple[HandCard, Counter, Ticking]:
    """A card whose ticks were seen so sharply, before now."""
    ticks = Ticking(period, JOULES, phase=real_time.monotonic() - 10.3 * period)
    card = HandCard(ticks, watts)
    counter = opened(card)
    counter.clock, counter.period_seconds = ticks.clock(half_width), period
    card.reads.clear()
    return card, counter, ticks


def holds(tick: Tick | None, ticks: Ticking) -> bool:
    """Whether the tick is one that there was, with the joules that it brought."""
    assert tick is not None
    apart = abs(tick.seconds - ticks.nearest(tick.seconds))
    return apart <= tick.half_width + 1e-9 and tick.joules - tick.joules_before == JOULES


def test_a_sharp_tick_costs_a_look_before_it_and_one_after_it() -> None:
    card, counter, ticks = ticking()
    begun = real_time.monotonic()
    ((domain, tick),) = wait_for_ticks([counter]).items()
    assert domain == "gpu:0"
    assert holds(tick, ticks)
    assert tick is counter.last_tick
    assert tick is not None
    assert begun - PERIOD < tick.seconds < real_time.monotonic()
    assert counter.clock is not None
    assert tick.half_width <= 1.01 * counter.clock.doubt(tick.seconds)
    assert len(card.reads) <= 2


def test_a_reading_that_is_at_hand_spares_one() -> None:
    card, counter, ticks = ticking(period=0.5)
    at_hand = counter.read_now()
    card.reads.clear()
    tick = wait_for_ticks([counter], {"gpu:0": at_hand})["gpu:0"]
    assert holds(tick, ticks)
    assert len(card.reads) == 1


def test_a_reading_since_which_a_tick_may_have_come_spares_none() -> None:
    card, counter, ticks = ticking(period=0.5)
    old = (real_time.monotonic() - 0.5, counter.joules() - JOULES)
    begun = real_time.monotonic()
    card.reads.clear()
    tick = wait_for_ticks([counter], {"gpu:0": old})["gpu:0"]
    assert holds(tick, ticks)
    assert tick is not None
    assert tick.seconds > begun
    assert len(card.reads) == 2


def test_who_waits_for_longer_than_the_tick_wakes_up_once() -> None:
    card, counter, ticks = ticking(period=0.5)
    at_hand = counter.read_now()
    card.reads.clear()
    tick = wait_for_ticks([counter], {"gpu:0": at_hand}, later_seconds=0.2)["gpu:0"]
    assert holds(tick, ticks)
    assert tick is not None
    assert len(card.reads) == 1
    assert card.reads[0] >= tick.seconds + 0.2 - 1e-3
    assert tick.half_width < 0.001


def test_who_waits_for_up_to_the_next_tick_looks_before_it_comes() -> None:
    card, counter, ticks = ticking(period=0.5)
    tick = wait_for_ticks([counter], later_seconds=0.4995)["gpu:0"]
    assert holds(tick, ticks)
    assert tick is not None
    assert card.reads[-1] < tick.seconds + 0.4  # at the tick: later it may be the next one's


@pytest.mark.parametrize("half_width", [0.0002, 0.001, 0.004])
def test_a_tick_that_was_not_sure_is_seen_between_two_looks_and_teaches_the_clock(
    half_width: float,
) -> None:
    card, counter, ticks = ticking(half_width)
    assert counter.clock is not None
    for _ in range(3):
        due = counter.clock.following(real_time.monotonic())
        reach, known = counter.clock.doubt(due), vars(counter.clock).copy()
        tick = wait_for_ticks([counter])["gpu:0"]
        assert holds(tick, ticks)
        assert tick is not None
        if card.reads[-1] > due + 0.5 * PERIOD:  # this machine was late for it
            continue
        early, late = max(card.reads[-2], due - reach), min(card.reads[-1], due + reach)
        assert tick.seconds - tick.half_width <= early + 1e-9
        assert tick.seconds + tick.half_width >= late - 1e-9
        assert (vars(counter.clock) != known) == (reach > SURE_SECONDS)


def test_what_was_sure_before_the_look_teaches_the_clock_nothing() -> None:
    _, counter, _ = ticking()
    assert counter.clock is not None
    seen = counter.clock.__dict__.copy()
    wait_for_ticks([counter])
    assert counter.clock.__dict__ == seen


def test_a_counter_that_stopped_is_given_up_after_five_periods() -> None:
    card, counter, ticks = ticking()
    ticks.last = begun = real_time.monotonic()
    assert wait_for_ticks([counter]) == {"gpu:0": None}
    assert counter.last_tick is None
    assert real_time.monotonic() - begun > 5 * PERIOD
    assert card.reads[-2] - begun < 6.1 * PERIOD
    assert len(card.reads) < 7 * PERIOD / 0.0004


def test_a_card_that_is_lost_is_given_up_at_once() -> None:
    card, counter, _ = ticking()
    card.code = 15
    assert wait_for_ticks([counter]) == {"gpu:0": None}
    assert len(card.reads) <= 2


def test_counters_are_waited_for_side_by_side() -> None:
    (one, first, fast), (two, second, slow) = ticking(period=0.03), ticking(period=0.2)
    two.domain = second.domain = "gpu:1"
    begun = real_time.monotonic()
    found = wait_for_ticks([second, first])
    assert list(found) == ["gpu:1", "gpu:0"]
    assert holds(found["gpu:0"], fast)
    assert holds(found["gpu:1"], slow)
    assert one.reads[-1] - begun < two.reads[-1] - begun
    assert len(one.reads) <= 2
    assert len(two.reads) <= 2


def test_a_counter_without_a_clock_is_none() -> None:
    card, counter, _ = ticking()
    counter.clock = None
    assert wait_for_ticks([counter]) == {"gpu:0": None}
    assert wait_for_ticks([]) == {}
    assert card.reads == []


class Late(HandCard):
    """A driver that answers later than it is asked, once the test says so."""

    delay = 0.0

    def __init__(self, ticks: Ticking) -> None:
        super().__init__(self.show_late)
        self.ticks = ticks
        self.number = 0
        """That of the last tick shown."""

    def show_late(self, seconds: float) -> float:
        real_time.sleep(self.delay)
        now = real_time.monotonic()
        self.number = self.ticks.number(now)
        return self.ticks(now)


def test_of_several_ticks_between_two_looks_the_last_counts_and_each_brought_the_same() -> None:
    ticks = Ticking(PERIOD, JOULES, phase=real_time.monotonic() - 10.3 * PERIOD)
    card = Late(ticks)
    counter = opened(card)
    counter.clock, counter.period_seconds = ticks.clock(), PERIOD
    at_hand = counter.read_now()
    card.delay = 2.5 * PERIOD  # after the first of them: half a period from any
    tick = wait_for_ticks([counter], {"gpu:0": at_hand})["gpu:0"]
    assert tick is not None
    assert tick.seconds > at_hand[0] + 2 * PERIOD
    assert holds(tick, ticks)
    assert tick.half_width < 0.01 * PERIOD


@pytest.mark.parametrize("offset", [0.15, -0.15])
def test_a_look_that_is_late_by_about_a_period_says_no_more_than_it_can(offset: float) -> None:
    """Seen 0.95 periods after the tick was due, give or take 0.2: one has come, or two."""
    period = 0.5
    ticks = Ticking(period, JOULES, phase=real_time.monotonic() - 10.3 * period)
    card = Late(ticks)
    counter = opened(card)
    predicted = Ticking(period, phase=ticks.phase + offset * period)
    counter.clock, counter.period_seconds = predicted.clock(0.1 * period), period
    doubt = counter.clock.doubt(counter.clock.following(real_time.monotonic()))
    assert doubt == pytest.approx(0.2 * period, rel=0.2)
    at_hand = counter.read_now()
    card.delay = 0.95 * period + doubt  # the look is early by the doubt
    tick = wait_for_ticks([counter], {"gpu:0": at_hand})["gpu:0"]
    assert tick is not None
    last = ticks.phase + period * card.number
    assert abs(tick.seconds - last) <= tick.half_width + 1e-9


def test_a_tick_that_is_late_already_is_looked_for_before_the_next() -> None:
    """Read right after a tick was due, with a doubt wider than that: it may come yet."""
    ticks = Ticking(0.2, JOULES, phase=real_time.monotonic() - 2.0 + 0.02)
    card = HandCard(ticks)
    counter = opened(card)
    early = Ticking(0.2, phase=ticks.phase - 0.021)
    counter.clock, counter.period_seconds = early.clock(0.02), 0.2
    tick = wait_for_ticks([counter])["gpu:0"]
    assert holds(tick, ticks)
    assert tick is not None
    assert tick.half_width < 0.01  # not seen only when the next was looked for


def test_a_counter_that_stopped_when_a_tick_was_late_is_given_up_as_well() -> None:
    ticks = Ticking(PERIOD, JOULES, phase=real_time.monotonic() - 10 * PERIOD + 0.2 * PERIOD)
    counter = opened(HandCard(ticks))
    early = Ticking(PERIOD, phase=ticks.phase - 0.21 * PERIOD)
    counter.clock, counter.period_seconds = early.clock(0.2 * PERIOD), PERIOD
    ticks.last = real_time.monotonic()
    assert wait_for_ticks([counter]) == {"gpu:0": None}


def even(intervals: list[float], period: float = 0.1) -> Ticks:
    """Ticks that brought these joules, one after the other."""
    joules, ticks = 100.0, [(50.0, 0.001, 100.0)]
    for number, interval in enumerate(intervals, start=1):
        joules += interval
        ticks.append((50.0 + number * period, 0.001, joules))
    return ticks


def read(watts: list[float], step: float, start: float = 50.0) -> Samples:
    return [(start + number * step, each) for number, each in enumerate(watts)]


def learnt(ticks: Ticks, samples: Samples, mean_watts: float | None = None) -> Counter:
    counter = opened(HandCard(averaged_watts=mean_watts))
    counter.clock, counter.period_seconds = Ticking(1.0).clock(), 1.0
    learn(counter, ticks, samples)
    return counter


def test_what_is_learnt_of_a_counter_at_rest() -> None:
    ticks = even([10.0, 10.5, 9.8, 10.0, 10.2])
    counter = learnt(ticks, read(51 * [101.0], 0.01))
    assert counter.clock is not None
    assert counter.clock.period_seconds == pytest.approx(0.1)
    assert counter.clock.doubt(50.5) == TickClock([(t, w) for t, w, _ in ticks]).doubt(50.5)
    assert counter.period_seconds == counter.clock.period_seconds
    assert counter.idle_spread_watts == pytest.approx((10.5 - 9.8) / 0.1)
    assert counter.rest_watts == pytest.approx(100.0)
    assert counter.at_rest is not None
    assert counter.at_rest.counted_watts == pytest.approx(101.0)
    assert counter.at_rest.read_watts == pytest.approx(101.0)


def test_two_ticks_that_a_late_look_takes_for_one_are_no_other_power() -> None:
    ticks = even([10.0, 10.0, 10.0, 10.0, 10.0, 10.0])
    del ticks[3]
    counter = learnt(ticks, [])
    assert counter.idle_spread_watts == pytest.approx(0.0, abs=0.5)
    assert counter.rest_watts == pytest.approx(100.0, rel=0.01)


def test_two_ticks_are_too_few_for_a_clock_and_three_are_enough() -> None:
    few, enough = learnt(even([10.0]), []), learnt(even([10.0, 10.0]), [])
    assert (few.clock, few.period_seconds) == (None, SLOWEST_SECONDS)
    assert enough.clock is not None


def test_ticks_that_come_too_fast_to_be_waited_for_have_no_clock() -> None:
    fast, slow = learnt(even(5 * [1.0], 0.0039), []), learnt(even(5 * [1.0], 0.0041), [])
    assert (fast.clock, fast.period_seconds) == (None, SHORTEST_PERIOD_SECONDS)
    assert slow.clock is not None


def test_the_mean_of_a_second_goes_before_readings_that_the_counter_contradicts() -> None:
    ticks = even(5 * [10.0])
    assert learnt(ticks, read(51 * [200.0], 0.01), 104.0).at_rest == (100.0, 104.0, 41.0)
    agreed = learnt(ticks, read(51 * [110.0], 0.01), 104.0).at_rest
    assert agreed is not None
    assert agreed.read_watts == pytest.approx(110.0)


def test_a_clock_is_found_by_looking() -> None:
    ticks = Ticking(0.03, 15.0, phase=real_time.monotonic() - 100.0)
    card = HandCard(ticks, watts=500.0)
    counter = opened(card)

    assert calibrate([counter]) == [counter]

    assert counter.clock is not None
    assert counter.clock.period_seconds == pytest.approx(0.03, rel=0.05)
    assert counter.period_seconds == pytest.approx(counter.clock.period_seconds, rel=0.05)
    looked = card.reads[-1] - card.reads[0]
    assert looked > 0.5
    assert 3 < len(card.power_reads) <= looked / SAMPLE_SECONDS + 2
    assert counter.at_rest is not None
    assert counter.at_rest.agree
    due = counter.clock.following(real_time.monotonic())
    assert abs(due - ticks.nearest(due)) <= counter.clock.doubt(due)


def test_each_tick_is_observed_between_the_two_looks_around_it() -> None:
    ticks = Ticking(0.03, 15.0, phase=real_time.monotonic() - 100.0)
    card = HandCard(ticks, watts=500.0)
    counter = opened(card)
    seen, samples = observed([counter])
    assert len(seen["gpu:0"]) >= 6
    for seconds, half_width, joules in seen["gpu:0"]:
        assert abs(seconds - ticks.nearest(seconds)) <= half_width + 1e-9
        start, end = seconds - half_width, seconds + half_width
        assert sum(start <= read <= end for read in card.reads) == 2
        assert (joules - seen["gpu:0"][0][2]) % 15.0 == 0
    assert {watts for _, watts in samples["gpu:0"]} == {500.0}
    times = [seconds for seconds, _ in samples["gpu:0"]]
    assert card.reads[1] < times[0] <= times[-1] < real_time.monotonic()


@pytest.mark.parametrize(
    ("fewest", "seconds"), [(6, 0.5), (7, 0.5), (5, 2.0), (3, 2.0), (2, 5.0), (1, 5.0), (0, 2.0)]
)
def test_looking_ends_when_enough_ticks_came_or_none_will(fewest: int, seconds: float) -> None:
    """Six ticks take half a second at least; one or two in two seconds are worth three more."""
    assert seen_enough(fewest, seconds)
    assert not seen_enough(fewest, seconds - 0.01)


def test_the_mean_of_a_second_explains_readings_that_the_counter_contradicts() -> None:
    """500 W by the counter, 900 W by readings that look in step with the load, 510 W on average."""
    ticks = Ticking(0.03, 15.0, phase=real_time.monotonic() - 100.0)
    counter = opened(HandCard(ticks, watts=900.0, averaged_watts=510.0))
    calibrate([counter])
    assert counter.at_rest is not None
    assert counter.at_rest.read_watts == 510.0


def test_a_counter_that_never_moves_is_given_up_after_two_seconds() -> None:
    card = HandCard()
    counter = opened(card)
    assert calibrate([counter]) == []
    assert counter.clock is None
    assert counter.period_seconds == SLOWEST_SECONDS
    assert 1.9 < card.reads[-1] - card.reads[0] < 4.9
    assert counter.at_rest is None


def test_ticks_too_close_to_wait_for_have_no_clock() -> None:
    """Each look finds it moved."""
    count = iter(range(0, 10**9, 1000))
    card = HandCard(lambda _: next(count))
    counter = opened(card)
    assert calibrate([counter]) == [counter]
    if counter.clock is None:  # else this machine looks less than every 4 ms
        assert counter.period_seconds == SHORTEST_PERIOD_SECONDS


def test_no_counters_take_no_time() -> None:
    assert calibrate([]) == []
