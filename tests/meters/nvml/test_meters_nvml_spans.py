"""One counter's window by hand: what lies outside the work, and how far its joules may be off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hand_card import HandCard, HandClock, Ticking, opened
from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.counter import Counter, Tick
from pytest_energy.meters.nvml.counter_span import (
    LATENCY_SECONDS,
    CounterSpan,
    Ending,
    Estimate,
    aligned_spans,
    at_start,
    start_doubt,
    wait_for_ends,
)


@pytest.fixture(autouse=True)
def clock() -> Iterator[HandClock]:
    with HandClock().installed() as installed:
        yield installed


TICK = Tick(10.0, 0.001, joules_before=100.0, joules=140.0)
"""An interval of 0.1 s and 400 W."""
ENDING = Ending(TICK, 9.96, 0.1, 0.002, 500.0, 600.0, 100.0, 10.0)
"""Work at 600 W that ended 0.04 s before the tick: 36 J of the interval are its, 4 J the wait's."""


def always(joules: float, seconds: float = 0.04) -> float:
    """Jitter by these joules; half of the 10 W that power at rest differs by, for so long."""
    return joules * 0.02 + 0.5 * 10.0 * seconds


def timing(watts: float) -> float:
    return watts * (0.001 + LATENCY_SECONDS)


def test_the_gap_before_the_work_is_left_out_at_the_power_before_it() -> None:
    assert at_start(TICK, 10.5, 0.1) == pytest.approx((140.0 + 0.5 * 400.0, 400.0))
    assert at_start(TICK, 9.5, 0.1) == pytest.approx((140.0, 400.0))


@pytest.mark.parametrize(
    ("gap", "rest", "load", "doubt"),
    [
        (-0.5, 100.0, 300.0, timing(300.0)),
        (0.0015, 100.0, 300.0, timing(300.0) + 0.0015 * 300.0),  # power may have changed at once
        (0.0015, 300.0, 100.0, timing(300.0) + 0.0015 * 300.0),
        (0.5, 100.0, 300.0, timing(300.0) + 0.5 * 25.0),  # a card that waits goes on resting
    ],
)
def test_the_reading_at_the_start_is_in_doubt(
    gap: float, rest: float, load: float, doubt: float
) -> None:
    assert start_doubt(TICK, 10.0 + gap, rest, load) == pytest.approx(doubt)


def test_a_wait_at_rest_that_the_load_explains_is_settled() -> None:
    expected = Estimate(4.0, 0.25 + always(4.0) + timing(600.0), True)
    assert ENDING.wait_by_rest() == pytest.approx(expected)


def test_a_wait_at_rest_is_settled_up_to_a_twentieth_of_a_percent_of_the_window() -> None:
    within = ENDING._replace(rest_watts=106.2).wait_by_rest()
    beyond = ENDING._replace(rest_watts=106.3).wait_by_rest()
    assert (within.settled, beyond.settled) == (True, False)
    assert within.uncertainty_joules == pytest.approx(0.25 + always(4.248) + timing(600.0))
    assert beyond.uncertainty_joules == pytest.approx(0.252 + always(4.252) + timing(600.0))


def test_what_the_load_leaves_is_not_below_nothing() -> None:
    assert ENDING.by_load == pytest.approx(4.0)
    assert ENDING._replace(load_watts=700.0).by_load == 0.0


def test_the_largest_of_the_powers_blurs_the_tick() -> None:
    for load, rest, most in ((600.0, 100.0, 600.0), (100.0, 700.0, 700.0), (100.0, 100.0, 400.0)):
        ending = ENDING._replace(load_watts=load, rest_watts=rest)
        found = ending.wait_by_rest()
        apart = max(abs(ending.by_load - found.joules), 0.25)
        assert found.uncertainty_joules == pytest.approx(
            apart + always(found.joules) + timing(most)
        )


def test_a_wait_longer_than_an_interval_may_take_more_than_its_joules() -> None:
    late = ENDING._replace(ended=9.75)
    assert late.wait == pytest.approx(0.25)
    assert late.by_load == 40.0
    assert late._replace(rest_watts=300.0).wait_by_rest().joules == pytest.approx(75.0)
    assert late._replace(rest_watts=900.0).wait_by_rest().joules == pytest.approx(100.0)


def test_work_that_ended_after_its_tick_waited_for_nothing() -> None:
    assert ENDING._replace(ended=10.5).wait == 0.0


def test_a_tick_after_the_wait_shows_what_it_drew() -> None:
    """100 W in the next interval and in the wait: 14 J, 10 of them after its tick."""
    found = ENDING.wait_by_next([Tick(10.1, 0.001, 140.0, 150.0)])
    assert found == pytest.approx(Estimate(4.0, always(14.0, 0.14) + timing(600.0), True))


@pytest.mark.parametrize(
    ("watts", "settled"),
    [
        ([119.0], True),  # it rests, about
        ([121.0], False),
        ([121.0, 121.0], True),  # it goes on evenly, below half of the load
        ([121.0, 126.0], True),
        ([121.0, 128.0], False),
        ([299.0, 299.0], True),
        ([301.0, 301.0], False),
        ([301.0, 119.0], True),
    ],
)
def test_ticks_are_waited_for_until_the_card_rests_or_goes_on_evenly(
    watts: list[float], settled: bool
) -> None:
    following, joules = [], 140.0
    for number, each in enumerate(watts, start=1):
        before, joules = joules, joules + 0.1 * each
        following.append(Tick(10.0 + 0.1 * number, 0.001, before, joules))
    assert ENDING.wait_by_next(following).settled == settled


def test_one_tick_after_the_wait_is_not_even_whatever_the_wait_drew() -> None:
    """200 W in the interval of the wait as well, which holds some of the work."""
    ending = ENDING._replace(tick=Tick(10.0, 0.001, joules_before=120.0, joules=140.0))
    following = [Tick(10.1, 0.001, 140.0, 160.0), Tick(10.2, 0.001, 160.0, 180.0)]
    assert not ending.wait_by_next(following[:1]).settled
    assert ending.wait_by_next(following).settled


def test_work_that_is_shown_late_is_told_from_a_card_on_its_way_to_rest() -> None:
    """20 J more than at rest after the tick, then 100 W: they contradict the load by 20 J."""
    following = [Tick(10.1, 0.001, 140.0, 170.0), Tick(10.2, 0.001, 170.0, 180.0)]
    found = ENDING.wait_by_next(following)
    # By the last tick the work is worth 24 - 40 J of the wait; by the load, which is taken, 4 J.
    doubt = abs(4.0 - (24.0 - 40.0)) + always(24.0, 0.24) + timing(600.0)
    assert found == pytest.approx(Estimate(4.0, doubt, True))


PERIOD = 10_000.0
"""So long that no test waits for the next tick, and that the machine's speed says nothing."""


def counter_at(joules: float, last_tick: Tick | None = None) -> tuple[HandCard, Counter]:
    card = HandCard()
    counter = opened(card)
    card.show(joules)
    counter.period_seconds, counter.last_tick = PERIOD, last_tick
    return card, counter


@pytest.mark.parametrize(
    ("age", "joules", "half_width", "is_first"),
    [
        (290.0, 1000.0, 0.002, True),  # 3 % of the period
        (310.0, 1000.0, 0.002, False),
        (10.0, 1000.0, 0.00201, False),
        (10.0, 1000.001, 0.0001, False),  # it has ticked since
    ],
)
def test_a_window_begins_on_a_tick_that_came_just_now(
    age: float, joules: float, half_width: float, is_first: bool
) -> None:
    tick = Tick(real_time.monotonic() - age, half_width, 900.0, 1000.0)
    _, counter = counter_at(joules, tick)

    (span,) = aligned_spans([counter])

    assert span.first == (tick if is_first else None)
    assert span.aligned == is_first


def test_a_window_without_any_tick_yet_has_no_first() -> None:
    span = CounterSpan(counter_at(5.0)[1])
    assert (span.first, span.aligned, span.started) == (None, False, 0.0)


def test_a_blurred_tick_is_no_good_beginning_but_better_than_none() -> None:
    span = CounterSpan(counter_at(5.0)[1])
    span.first = Tick(1.0, 0.0021, 0.0, 1.0)
    assert not span.aligned


def test_a_window_from_tick_to_tick() -> None:
    """900 s of rest at 0.01 W, then work at 1 W that ends 300 s before a tick."""
    at = real_time.monotonic() - 100.0
    card, counter = counter_at(1000.0, Tick(at, 0.001, 900.0, 1000.0))
    span = CounterSpan(counter)
    span.work_started(at + 500.0)
    card.show(40_000.0)
    span.work_ended(at + 49_700.0)
    assert span.read[1] == 40_000.0
    # Up to the tick before last: 39,500 s of work after 1,005 J at its start.
    span.ticked(Tick(at + 50_000.0, 0.001, 40_505.0, 50_208.0))
    span_result = span.result()

    total = 50_208.0 - 1005.0
    assert span.wait == pytest.approx(
        Ending(
            Tick(at + 50_000.0, 0.001, 40_505.0, 50_208.0),
            at + 49_700.0, PERIOD, 0.0, total, 39_500.0 / 39_500.0, 0.01, 0.0,
        ).wait_by_rest()
    )  # fmt: skip
    assert span.wait.settled
    assert span_result.joules == pytest.approx(total - 3.0)
    watts = (total - 3.0) / 49_200.0
    doubt = span.wait.uncertainty_joules + counter.resolution_joules
    doubt += start_doubt(Tick(at, 0.001, 900.0, 1000.0), at + 500.0, 0.01, watts)
    assert span_result.uncertainty_joules == pytest.approx(doubt)
    assert span_result.fault is None

    # The tick after it shows that the wait drew a tenth of a watt.
    span.ticked_again(Tick(at + 60_000.0, 0.001, 50_208.0, 51_208.0))
    assert span.result().joules == pytest.approx(total - 30.0)
    span.ticked_again(None)
    assert span.result().joules == pytest.approx(total - 30.0)


def test_an_interval_may_be_off_by_twice_the_clocks_jitter() -> None:
    at = real_time.monotonic() - 100.0
    card, counter = counter_at(1000.0, Tick(at, 0.001, 0.0, 1000.0))
    counter.clock = Ticking(PERIOD).clock()
    counter.clock.jitter_seconds = 7.0
    span = CounterSpan(counter)
    span.work_started(at)
    card.show(20_000.0)
    span.work_ended(at + 20_000.0)
    last = Tick(at + 25_000.0, 0.001, 16_000.0, 21_000.0)
    span.ticked(last)
    ending = Ending(last, at + 20_000.0, PERIOD, 14.0, 20_000.0, 1.0, 0.1, 0.0)
    assert span.wait == pytest.approx(ending.wait_by_rest())


def test_what_no_further_tick_comes_for_is_settled_as_it_is() -> None:
    """By the load there was no wait at all, by the rest one of 500 J."""
    at = real_time.monotonic() - 100.0
    card, counter = counter_at(1000.0, Tick(at, 0.001, 0.0, 1000.0))
    span = CounterSpan(counter)
    span.work_started(at)
    card.show(20_000.0)
    span.work_ended(at + 20_000.0)
    span.ticked(Tick(at + 25_000.0, 0.001, 16_000.0, 21_000.0))
    unsettled = span.wait
    assert unsettled.settled is False
    span.ticked_again(None)
    assert span.wait == (unsettled.joules, unsettled.uncertainty_joules, True)


def test_a_card_at_rest_before_the_work_may_have_drawn_more_than_the_work() -> None:
    at = real_time.monotonic() - 100.0
    card, counter = counter_at(1000.0, Tick(at, 0.001, 0.0, 1000.0))
    span = CounterSpan(counter)
    span.work_started(at + 50.0)
    card.show(1010.0)
    span.work_ended(at + 1050.0)
    joules, doubt, _ = span.result()
    assert joules == pytest.approx(5.0)
    missed = PERIOD * 5.0 / 1000.0  # no tick after it
    start = start_doubt(Tick(at, 0.001, 0.0, 1000.0), at + 50.0, 0.1, 0.005)
    assert doubt == pytest.approx(missed + start + counter.resolution_joules)


def test_a_load_shorter_than_half_an_interval_is_known_by_its_own_tick() -> None:
    at = real_time.monotonic() - 100.0
    for ended, before, watts in ((14_900.0, 1500.0, None), (15_100.0, 6100.0, 1.0)):
        card, counter = counter_at(1000.0, Tick(at, 0.001, 1000.0, 1000.0))
        span = CounterSpan(counter)
        span.work_started(at)
        card.show(2000.0)
        span.work_ended(at + ended)
        last = Tick(at + ended, 0.001, before, 30_000.0)
        span.ticked(last)
        load = 29_000.0 / ended if watts is None else watts
        ending = Ending(last, at + ended, PERIOD, 0.0, 29_000.0, load, 0.0, 0.0)
        assert span.wait == pytest.approx(ending.wait_by_rest())


def test_without_ticks_a_window_goes_from_reading_to_reading() -> None:
    card, counter = counter_at(1000.0)
    span = CounterSpan(counter)
    card.show(1500.0)
    span.work_started(100.0)  # perhaps more than once
    card.show(1600.0)
    span.work_started(200.0)
    card.show(1900.0)
    span.work_ended(230.0)
    span.ticked(None)
    span.ticked_again(Tick(240.0, 0.0, 1.0, 2.0))

    joules, doubt, wrong = span.result()

    assert joules == 300.0
    assert doubt == pytest.approx(2 * PERIOD * 300.0 / 30.0 + counter.resolution_joules)
    assert wrong is None


def test_without_a_tick_before_the_work_nothing_is_known_of_rest() -> None:
    card, counter = counter_at(1000.0)
    span = CounterSpan(counter)
    span.work_started(0.0)
    card.show(11_000.0)
    span.work_ended(20_000.0)
    last = Tick(25_000.0, 0.001, 11_000.0, 12_000.0)
    span.ticked(last)
    load = 10_000.0 / 15_000.0
    ending = Ending(last, 20_000.0, PERIOD, 0.0, 11_000.0, load, 0.0, 0.0)
    assert span.wait == pytest.approx(ending.wait_by_rest())


def test_a_window_of_no_time_divides_by_no_zero() -> None:
    card, counter = counter_at(1000.0)
    span = CounterSpan(counter)
    span.work_started(100.0)
    card.show(1001.0)
    span.work_ended(100.0)
    assert span.result().uncertainty_joules == pytest.approx(2e10)
    span.ticked(Tick(100.0, 0.0, 1000.0, 1001.0))
    # All of it within the microsecond that is the least: a megawatt, known to 50 microseconds.
    assert span.wait.uncertainty_joules == pytest.approx(1e6 * LATENCY_SECONDS, rel=0.1)


def test_what_is_wrong_with_a_window() -> None:
    card, counter = counter_at(1000.0)
    counter.joules()  # what failed before the window is none of its business
    counter.failures, counter.falls = 3, 2
    quiet = CounterSpan(counter)
    quiet.work_started(100.0)
    quiet.work_ended(130.0)
    assert quiet.result().fault == (
        "no update: the source, renewed about every 1e+04 s, did not move in 30 s; "
        "give the window more work"
    )
    counter.clock = Ticking(PERIOD).clock()
    assert quiet.result().fault is None
    counter.clock = None
    card.code = 15
    quiet.work_ended(130.0)
    assert quiet.result().fault == "device lost: code 15"
    card.code = 0
    quiet.work_ended(130.0)
    assert quiet.result().fault == "device lost: `gpu:0` did not answer in the window"

    card.show(1000.001)
    span = CounterSpan(counter)
    span.work_started(100.0)
    card.show(500.0)
    span.work_ended(130.0)
    assert span.result().fault == ("counter reset: the counter of `gpu:0` fell back in the window")
    card.show(510.0)
    counter.joules()
    after = CounterSpan(counter)
    after.work_started(100.0)
    card.show(600.0)
    after.work_ended(130.0)
    assert after.result().fault is None


def test_a_counter_with_a_clock_that_stands_still_says_so_if_no_tick_came() -> None:
    card, counter = counter_at(1000.0)
    counter.period_seconds = 1e-9
    counter.clock = Ticking(PERIOD).clock()
    counter.joules()
    span = CounterSpan(counter)
    span.work_started(100.0)
    card.show(1001.0)
    span.work_ended(130.0)
    assert str(span.result().fault).startswith("counter stands still: that of `gpu:0` ticked")
    card.watts = 0.0
    assert span.result().fault is None
    span.first = Tick(1.0, 0.0, 0.0, 1.0)
    card.watts = 100.0
    span.ticked(Tick(140.0, 0.0, 1000.0, 1001.0))
    assert span.result().fault is None


def test_a_card_that_is_lost_while_it_is_asked_for_its_power_says_so() -> None:
    class Lost(HandCard):
        def sharpest_watts(self) -> float | None:
            raise self.lost(15)

    card = Lost()
    counter = opened(card)
    counter.period_seconds, counter.clock = 1e-9, Ticking(PERIOD).clock()
    span = CounterSpan(counter)
    span.work_started(100.0)
    span.work_ended(130.0)
    assert span.result().fault == "device lost: code 15"


FAST = 0.02


def ticking(watts: float | None = 500.0) -> tuple[HandCard, Counter, Ticking]:
    """A card at a steady 500 W whose counter's ticks are known sharply."""
    ticks = Ticking(FAST, phase=real_time.monotonic() - 3.0)
    card = HandCard(ticks, watts)
    counter = opened(card)
    counter.clock, counter.period_seconds = ticks.clock(), FAST
    return card, counter, ticks


def test_windows_begin_on_a_tick_and_end_on_one() -> None:
    cards = [ticking() for _ in range(2)]
    for number, (card, counter, _) in enumerate(cards):
        card.domain = counter.domain = f"gpu:{number}"
    begun = real_time.monotonic()

    spans = aligned_spans([counter for _, counter, _ in cards])

    assert [span.domain for span in spans] == ["gpu:0", "gpu:1"]
    for span, (_, counter, ticks) in zip(spans, cards, strict=True):
        assert span.counter is counter
        assert span.first is not None
        assert span.first.seconds > begun - FAST
        assert abs(span.first.seconds - ticks.nearest(span.first.seconds)) <= span.first.half_width
    started = real_time.monotonic()
    for span in spans:
        span.work_started(started)
    real_time.sleep(2.5 * FAST)
    ended = real_time.monotonic()
    for span in spans:
        span.work_ended(ended)
    wait_for_ends(spans)
    for span in spans:
        joules, doubt, wrong = span.result()
        assert wrong is None
        assert abs(joules - 500.0 * (ended - started)) <= doubt


def test_the_reading_at_a_windows_beginning_is_not_made_twice() -> None:
    ticks = Ticking(0.5, phase=real_time.monotonic() - 5.3 * 0.5)
    card = HandCard(ticks)
    counter = opened(card)
    counter.clock, counter.period_seconds = ticks.clock(), 0.5
    card.reads.clear()
    (span,) = aligned_spans([counter])
    assert span.aligned
    assert len(card.reads) == 2


def test_a_wait_that_does_not_explain_itself_is_shown_by_the_next_tick() -> None:
    """100 J at the beginning of the work make a load that its last interval does not show."""
    ticks, extra = Ticking(FAST, phase=real_time.monotonic() - 3.0), [0.0]
    card = HandCard(lambda seconds: ticks(seconds) + 1000 * extra[0])
    counter = opened(card)
    counter.clock, counter.period_seconds = ticks.clock(), FAST
    (span,) = aligned_spans([counter])
    span.work_started(real_time.monotonic())
    extra[0] = 100.0
    now = real_time.monotonic()
    real_time.sleep(ticks.nearest(now) + 2.5 * FAST - now)
    span.work_ended(real_time.monotonic())
    wait_for_ends([span])
    assert span.wait.settled
    assert counter.last_tick is not None
    assert counter.last_tick.seconds > span.read[0] + 0.5 * FAST


def test_a_card_that_draws_less_after_the_work_than_before_is_known_by_its_next_tick() -> None:
    """500 W before the work, 1000 W in it, 50 W after it."""
    period = 0.2
    ticks = Ticking(period, 100.0, phase=real_time.monotonic() - 3.0)
    card = HandCard(ticks)
    counter = opened(card)
    counter.clock, counter.period_seconds = ticks.clock(), period
    (span,) = aligned_spans([counter])
    now = real_time.monotonic()
    started = ticks.nearest(now) + period
    ended = started + 2.5 * period

    def joules(seconds: float) -> float:
        """Up to the last tick."""
        seconds = ticks.phase + period * ticks.number(seconds)
        worked = min(max(0.0, seconds - started), ended - started)
        rested = max(0.0, seconds - ended)
        return ticks(min(seconds, started)) / 1000 + 1000.0 * worked + 50.0 * rested

    card.millijoules = lambda seconds: 1000 * joules(seconds)
    real_time.sleep(started - now)
    span.work_started(started)
    real_time.sleep(max(0.0, ended - real_time.monotonic()))
    span.work_ended(ended)
    wait_for_ends([span])

    assert span.wait.settled
    assert counter.last_tick is not None
    assert 0.0 <= span.wait.joules <= 50.0 * (counter.last_tick.seconds - ended) + 0.01


def test_the_reading_at_the_end_of_the_work_is_not_made_twice() -> None:
    ticks = Ticking(0.5, phase=real_time.monotonic() - 5.3 * 0.5)
    card = HandCard(ticks)
    counter = opened(card)
    counter.clock, counter.period_seconds = ticks.clock(), 0.5
    span = CounterSpan(counter)
    span.work_started(real_time.monotonic())
    card.reads.clear()
    span.work_ended(real_time.monotonic())
    wait_for_ends([span])
    at_end, first_look, *_ = map(ticks.number, card.reads)
    assert first_look > at_end


def test_a_counter_that_stopped_is_not_waited_for_without_end() -> None:
    card, counter, ticks = ticking()
    ticks.last = real_time.monotonic()
    (span,) = aligned_spans([counter])
    assert span.first is None
    assert card.reads[-1] - card.reads[0] < 10 * FAST  # three periods, tried once


def test_a_counter_without_a_clock_is_not_waited_for() -> None:
    card, counter, _ = ticking()
    counter.clock = None
    card.reads.clear()
    spans = aligned_spans([counter])
    assert len(card.reads) == 1
    wait_for_ends(spans)
    assert len(card.reads) == 1


def test_a_lost_counter_is_not_waited_for() -> None:
    card, counter, _ = ticking()
    card.code = 15
    card.reads.clear()
    (span,) = aligned_spans([counter])
    assert span.first is None
    assert len(card.reads) == 1
