"""The joules between a window's ends and the counter's ticks next to them; pure arithmetic.

```
          tick        begin                          end            tick          tick
           |---gap------|============ work ===========|----wait------|-------------|
        joules                                   |--------interval---|
```
The counter says how many joules fell between ticks. Those of the gap and of the wait are not the
work's: they are estimated and left out, and what is not known of them goes into the uncertainty.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from pytest_energy.meters.nvml.card import DeviceLostError
from pytest_energy.meters.nvml.counter import RESOLUTION_JOULES, Counter, Tick, stands_still
from pytest_energy.meters.nvml.ticks import Samples, punctual_tick, wait_for_ticks
from pytest_energy.meters.protocol import COUNTER_RESET, fault, no_update

LATENCY_SECONDS = 0.00005
"""Between a call to the driver and its time stamp."""
AGREEMENT = 0.0005
"""Two estimates of the wait are one if they differ by less than this share of the window."""
CONFIRMED = 0.002
"""A steady load with a steady wait after it explains the counter if it is this close."""
UNREST = 0.5
"""How much of its spread at rest a card's power may be off in a wait."""
UNSEEN = 0.5
"""How much of a power that was not read at the time may be wrong."""


class Estimate(NamedTuple):
    """Joules and how far they may be off (J); `settled` False asks for another tick."""

    joules: float
    uncertainty_joules: float
    settled: bool = True


def at_start(tick: Tick, started: float, period: float) -> tuple[float, float]:
    """Counter reading at the start of the work (J), and the power of the interval before it (W)."""
    watts = (tick.joules - tick.joules_before) / period
    return tick.joules + watts * max(0.0, started - tick.seconds), watts


def start_doubt(tick: Tick, started: float, watts: float) -> float:
    """How far the reading at the start may be off (J), with power changing by up to `watts`."""
    gap = max(0.0, started - tick.seconds)
    return watts * (tick.half_width + LATENCY_SECONDS + UNSEEN * gap) + RESOLUTION_JOULES


def of_wait(
    tick: Tick,
    ended: float,
    period: float,
    total_joules: float,
    load_watts: float,
    idle_watts: float,
    idle_spread_watts: float,
    jitter: float,
    readings: Sequence[tuple[float, float]] = (),
) -> Estimate:
    """Joules between the end of the work and the tick after it.

    `load_watts` is the mean over the window up to its last tick, `idle_watts` that of the
    interval before the work; at rest it differs by `idle_spread_watts` from interval to interval.
    An interval is a period long, give or take `jitter` (s). `readings` are (time, watts) from the
    end to the tick, of a sensor that is known to be fresh; without them, and where the first two
    disagree, another tick is asked for.
    """
    interval = tick.joules - tick.joules_before
    wait = max(0.0, tick.seconds - ended)
    worked = max(0.0, period - wait)
    most = interval * max(1.0, wait / period)
    timing = _timing(tick, max(load_watts, idle_watts, interval / period))
    if len(readings) > 1:
        joules, doubt = _integrated(readings, ended, tick.seconds)
        # After a single step of power the counter knows better than the readings when it was.
        by_counter = interval - readings[0][1] * worked
        if abs(by_counter - joules) <= doubt:
            joules = by_counter
        return Estimate(min(max(0.0, joules), most), doubt + timing)
    by_load = min(max(0.0, interval - load_watts * worked), most)
    by_idle = min(idle_watts * wait, most)
    apart = abs(by_load - by_idle)
    agreement = AGREEMENT * total_joules
    doubt = max(apart, agreement) + UNREST * idle_spread_watts * wait
    doubt += by_idle * jitter / period + timing
    return Estimate(by_idle, doubt, settled=apart <= agreement)


def by_next_interval(
    tick: Tick,
    following: Tick,
    ended: float,
    period: float,
    total_joules: float,
    load_watts: float,
    idle_spread_watts: float,
    jitter: float,
) -> Estimate:
    """The same from the interval after the wait, which the card spends as it spent the wait."""
    interval = tick.joules - tick.joules_before
    wait = max(0.0, tick.seconds - ended)
    worked = max(0.0, period - wait)
    most = interval * max(1.0, wait / period)
    watts = (following.joules - tick.joules) / period
    joules = min(watts * wait, most)
    unexplained = abs(interval - load_watts * worked - joules)
    always = _timing(tick, max(load_watts, watts)) + joules * jitter / period
    always += UNREST * idle_spread_watts * wait
    if unexplained <= CONFIRMED * total_joules:
        return Estimate(joules, unexplained + always)
    # Wherever in these intervals the power took a step, the error is at most this.
    doubt = abs(watts - interval / period) * wait
    return Estimate(joules, doubt + always)


def _integrated(
    readings: Sequence[tuple[float, float]], start: float, end: float
) -> tuple[float, float]:
    """Joules between two times and their doubt; power changes anywhere between two readings."""
    joules = doubt = 0.0
    times = [start, *(seconds for seconds, _ in readings[1:-1]), end]
    for i, (earlier, later) in enumerate(pairwise(times)):
        before, after = readings[i][1], readings[i + 1][1]
        joules += (before + after) / 2 * (later - earlier)
        doubt += abs(after - before) / 2 * (later - earlier)
    return joules, doubt


def _timing(tick: Tick, watts: float) -> float:
    return watts * (tick.half_width + LATENCY_SECONDS) + RESOLUTION_JOULES


JUST_NOW_PERIODS = 0.03
"""A tick this recent still serves as a window's beginning: back-to-back windows share one."""
SHARP_SECONDS = 0.002
ATTEMPTS = 3
_NO_WAIT = Estimate(0.0, 0.0)


class CardJoules(NamedTuple):
    """Joules of one card over a window, how far they may be off (J), what is wrong with them."""

    joules: float
    uncertainty_joules: float
    fault: str | None = None


class CounterSpan:
    """The cards' counters around a piece of work: aligned when made, then step by step."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        # Made before the wait: after it, the work should start soon.
        self._cards = [_CardSpan(counter) for counter in counters]
        _align(self._cards)

    def work_started(self, started: float) -> None:
        """Take the time at which the work starts; to be called just before."""
        for card in self._cards:
            card.started = started

    def work_started_later(self, started: float) -> None:
        """Take another time at which the work starts; to be called just before."""
        for card in self._cards:
            card.started_later(started)

    def work_ended(self, ended: float) -> None:
        """Take the counters' figures at the end of the work; to be called at once."""
        for card in self._cards:
            card.work_ended(ended)

    def end(self) -> dict[str, CardJoules]:
        """Joules of the work by domain; waits for the next ticks."""
        if len(self._cards) != 1 or not self._cards[0].punctual_end():
            self._wait_for_ends()
        unsettled = [card for card in self._cards if not card.wait.settled]
        if unsettled:
            following = wait_for_ticks([card.counter for card in unsettled])
            for card in unsettled:
                card.ticked_again(following[card.counter.domain])
        return {card.counter.domain: card.result() for card in self._cards}

    def _wait_for_ends(self) -> None:
        counters = [card.counter for card in self._cards]
        samples: dict[str, Samples] = {c.domain: [] for c in counters if c.has_fresh_watts}
        ticks = wait_for_ticks(counters, samples)
        for card in self._cards:
            card.ticked(ticks[card.counter.domain], samples.get(card.counter.domain, ()))


class _CardSpan:
    """One card's window, step by step: made, begun, work ended, ticked, perhaps ticked again."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.started = self._ended = 0.0
        self.first: Tick | None = None
        self.wait = _NO_WAIT
        """Joules between the end and the tick after it; not settled: another tick would help."""
        self._resets = counter.resets
        self._period = counter.period_seconds
        self._jitter = 2 * counter.clock.jitter_seconds if counter.clock else 0.0
        self._idle_watts = self._total = 0.0
        self._last: Tick | None = None
        self._start_joules = self._end_joules = counter.joules()

    def punctual_begin(self) -> bool:
        """Take a tick just now, or wait for the next one by one look; False: that will not do."""
        now, counter = time.monotonic(), self.counter
        first = _just_now(counter, now, self._start_joules)
        first = first or punctual_tick(counter, now, self._start_joules)
        self.begun(first)
        return first is not None

    def begun(self, first: Tick | None) -> None:
        """Begin on a tick; None: there was none."""
        self.first = first
        self._start_joules = self.counter.joules() if first is None else first.joules

    @property
    def aligned(self) -> bool:
        """Whether the window begins on a tick whose time is known well."""
        return self.first is not None and self.first.half_width <= SHARP_SECONDS

    def started_later(self, started: float) -> None:
        """Leave out what lies before, by the tick's power or, without a tick, by reading anew."""
        self.started = started
        if self.first is None:
            self._start_joules = self.counter.joules()

    def work_ended(self, ended: float) -> None:
        """Take the counter's figure at the end of the work."""
        self._ended = ended
        self._end_joules = self.counter.joules()
        if self.first is not None:
            start = at_start(self.first, self.started, self._period)
            self._start_joules, self._idle_watts = start
        self._total = self._end_joules - self._start_joules

    def punctual_end(self) -> bool:
        """Wait for the first tick after the work by one look; False: that will not do."""
        if self.counter.has_fresh_watts:
            return False
        tick = punctual_tick(self.counter, self._ended, self._end_joules)
        if tick is not None:
            self.ticked(tick, ())
        return tick is not None

    def ticked(self, tick: Tick | None, samples: Sequence[tuple[float, float]]) -> None:
        """Take the first tick after the work; None: there was none in time."""
        self._last = tick
        if tick is None:
            return
        self._total = tick.joules - self._start_joules
        self.wait = of_wait(
            tick, self._ended, self._period, self._total, self._load_watts(tick),
            self._idle_watts, self.counter.idle_spread_watts, self._jitter, samples,
        )  # fmt: skip

    def ticked_again(self, tick: Tick | None) -> None:
        """Take the tick after that one, which shows what the card draws when it waits."""
        assert self._last is not None
        if tick is not None:
            self.wait = by_next_interval(
                self._last, tick, self._ended, self._period, self._total,
                self._load_watts(self._last), self.counter.idle_spread_watts, self._jitter,
            )  # fmt: skip

    def result(self) -> CardJoules:
        """The joules of the work alone."""
        joules = self._total - self.wait.joules
        seconds = max(self._ended - self.started, 1e-6)
        missed = (self.first is None) + (self._last is None)
        doubt = self.wait.uncertainty_joules + RESOLUTION_JOULES
        doubt += missed * self._period * joules / seconds
        if self.first is not None:
            watts = max(self._idle_watts, joules / seconds)
            doubt += start_doubt(self.first, self.started, watts)
        return CardJoules(joules, doubt, self._fault(missed))

    def _load_watts(self, last: Tick) -> float:
        """Mean power of the work up to the last tick before its end (W)."""
        seconds = last.seconds - self._period - self.started
        if seconds > self._period / 2:
            return (last.joules_before - self._start_joules) / seconds
        return (last.joules - self._start_joules) / max(last.seconds - self.started, 1e-6)

    def _fault(self, ticks_missed: int) -> str | None:
        counter = self.counter
        if counter.lost is not None:
            return counter.lost
        if counter.resets > self._resets:
            return fault(
                COUNTER_RESET, f"the counter of `{counter.domain}` fell back in the window"
            )
        if counter.clock is None and not self._total:
            return no_update(self._period, self._ended - self.started)
        if counter.clock is None or not ticks_missed:
            return None
        try:
            return stands_still(counter)
        except DeviceLostError as error:
            return str(error)


def _align(cards: Sequence[_CardSpan]) -> None:
    """Begin each card on its latest tick; those with one just now are not waited for."""
    if len(cards) == 1 and cards[0].punctual_begin():
        return
    now = time.monotonic()
    for card in cards:
        card.begun(_just_now(card.counter, now, card.counter.joules()))
    for _ in range(ATTEMPTS):
        blurred = [c for c in cards if not c.aligned and c.counter.clock and not c.counter.lost]
        if not blurred:
            break
        fresh = wait_for_ticks([card.counter for card in blurred])
        for card in blurred:
            if (tick := fresh[card.counter.domain]) is not None:
                card.begun(tick)
        if not any(fresh.values()):
            break
    for card in cards:
        if card.first is None:
            card.begun(None)


def _just_now(counter: Counter, now: float, joules: float) -> Tick | None:
    """The latest tick, if it is recent and sharp and the counter still stands where it put it."""
    tick = counter.last_tick
    if tick is None or now - tick.seconds > JUST_NOW_PERIODS * counter.period_seconds:
        return None
    return tick if tick.joules == joules and tick.half_width <= SHARP_SECONDS else None
