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

import math
from collections.abc import Sequence
from typing import NamedTuple

from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.card import DeviceLostError
from pytest_energy.meters.nvml.counter import Counter, Tick, stands_still
from pytest_energy.meters.nvml.ticks import wait_for_ticks
from pytest_energy.meters.protocol import COUNTER_RESET, DEVICE_LOST, fault, no_update

LATENCY_SECONDS = 0.00005
"""Between a call to the driver and its time stamp."""
AGREEMENT = 0.0005
"""Two estimates of the wait are one if they differ by less than this share of the window."""
LATE = 0.002
"""Less than this share of a window is not told from what the load's own swing leaves over."""
AT_REST = 1.2
"""A card that draws no more than this many times what it drew at rest has nothing to do."""
STEADY = 0.05
"""Intervals of powers this close are at one level."""
BUSY = 0.5
"""A steady level of this share of the load is work that goes on, or that is shown late."""
SHORT_GAP_SECONDS = 0.002
"""A longer gap was waited for, with nothing to do for the card."""
REST_DOUBT = 0.25
"""How much of its power at rest a card may be off in a gap."""
UNREST = 0.5
"""How much of its spread at rest a card's power may be off in a wait."""


class Estimate(NamedTuple):
    """Joules and how far they may be off (J); `settled` False asks for another tick."""

    joules: float
    uncertainty_joules: float
    settled: bool = True


def at_start(tick: Tick, started: float, period: float) -> tuple[float, float]:
    """Counter reading at the start of the work (J), and the power of the interval before it (W)."""
    watts = (tick.joules - tick.joules_before) / period
    return tick.joules + watts * max(0.0, started - tick.seconds), watts


def start_doubt(tick: Tick, started: float, rest_watts: float, load_watts: float) -> float:
    """How far the reading at the start may be off (J).

    Power may have changed right at the tick, so that all joules of a short gap are in doubt. In a
    longer one the card goes on resting as it did before the tick, about.
    """
    gap = max(0.0, started - tick.seconds)
    most = max(rest_watts, load_watts)
    at_rest = REST_DOUBT * rest_watts if gap > SHORT_GAP_SECONDS else most
    return most * (tick.half_width + LATENCY_SECONDS) + at_rest * gap


class Ending(NamedTuple):
    """How a window ended: the tick after its work, and what is known of the work.

    An interval is a `period` long, give or take `jitter` (s). `total_joules` is up to the tick,
    `load_watts` the mean up to the one before, `rest_watts` the power before the work; at rest, it
    differs by `idle_spread_watts` from interval to interval.
    """

    tick: Tick
    ended: float
    period: float
    jitter: float
    total_joules: float
    load_watts: float
    rest_watts: float
    idle_spread_watts: float

    @property
    def wait(self) -> float:
        """Between the end of the work and the tick (s)."""
        return max(0.0, self.tick.seconds - self.ended)

    @property
    def interval_joules(self) -> float:
        """Joules of the interval that the work ended in (J)."""
        return self.tick.joules - self.tick.joules_before

    @property
    def by_load(self) -> float:
        """Joules of the wait if the work drew what it did before, up to its end (J)."""
        wait, interval = self.wait, self.interval_joules
        joules = interval - self.load_watts * max(0.0, self.period - wait)
        # Not below nothing, and not above what the counter saw.
        return min(max(0.0, joules), interval * max(1.0, wait / self.period))

    def wait_by_rest(self) -> Estimate:
        """Joules of the wait if the card drew what it did before the work.

        What the load leaves of the interval must agree; otherwise another tick is asked for.
        """
        wait, interval = self.wait, self.interval_joules
        joules = min(max(0.0, self.rest_watts * wait), interval * max(1.0, wait / self.period))
        apart, agreement = abs(self.by_load - joules), AGREEMENT * self.total_joules
        doubt = max(apart, agreement) + self._always(joules, wait) + self._timing()
        return Estimate(joules, doubt, settled=apart <= agreement)

    def wait_by_next(self, following: Sequence[Tick]) -> Estimate:
        """Joules of the wait by the ticks after it; less than none if they show some of the work.

        What they show above the power of the last is the work's, shown late, or the card's on its
        way to rest. It is taken for the latter, and in doubt. Settled once the card rests or goes
        on evenly.
        """
        last, before = following[-1], (self.tick, *following)[-2]
        watts = (last.joules - last.joules_before) / self.period
        seconds = max(0.0, last.seconds - self.ended)
        after = last.joules - self.tick.joules
        most = self.interval_joules * max(1.0, self.wait / self.period)
        joules = min(watts * seconds - after, most)
        apart = self.by_load - joules
        late = after - self.rest_watts * (last.seconds - self.tick.seconds)
        noise = self.idle_spread_watts * self.period + self._timing()
        if late > noise and abs(apart) > LATE * self.total_joules:
            joules = self.by_load
        doubt = abs(apart) + self._always(watts * seconds, seconds)
        previous = (before.joules - before.joules_before) / self.period
        even = abs(watts - previous) <= STEADY * previous and watts <= BUSY * self.load_watts
        settled = watts <= AT_REST * self.rest_watts or (len(following) > 1 and even)
        return Estimate(joules, doubt + self._timing(), settled)

    def _always(self, joules: float, seconds: float) -> float:
        """What is not known of the joules after the work, however well they are explained (J)."""
        return joules * self.jitter / self.period + UNREST * self.idle_spread_watts * seconds

    def _timing(self) -> float:
        watts = max(self.load_watts, self.rest_watts, self.interval_joules / self.period)
        return watts * (self.tick.half_width + LATENCY_SECONDS)


JUST_NOW_PERIODS = 0.03
"""A tick this recent still serves as a window's beginning: back-to-back windows share one."""
SHARP_SECONDS = 0.002
SHARP_CALLS = 1.5
ATTEMPTS = 3
MOST_FOLLOWING = 3
"""So many more ticks after the work are waited for at most."""
_NO_WAIT = Estimate(0.0, 0.0)
_TOO_EARLY = Estimate(0.0, 0.0, settled=False)


class CardJoules(NamedTuple):
    """Joules of one card, how far they may be off (J), and what is wrong with them."""

    joules: float
    uncertainty_joules: float
    fault: str | None = None


def aligned_spans(counters: Sequence[Counter], share: float = 0.0) -> list[CounterSpan]:
    """A window on each counter, begun on its latest tick; one that came just now is not waited for.

    If a card's sensor looks part of the time, this goes on until `share` of the time between two
    looks has passed since the last tick. All windows are made before the wait: after it, the work
    should start soon.
    """
    spans = [CounterSpan(counter) for counter in counters]
    reads = {span.domain: span.read for span in spans}
    blind = (c.period_seconds for c in counters if c.clock is not None and not c.sees_all)
    later_seconds = share * max(blind, default=0.0)
    for _ in range(ATTEMPTS + _lag_periods(spans)):
        blurred = [span.counter for span in spans if not span.aligned and span.can_tick]
        if not blurred:
            break
        fresh = wait_for_ticks(blurred, reads, later_seconds)
        for span in spans:
            span.first = fresh.get(span.domain) or span.first
        if not any(fresh.values()):
            break
        reads = {}
    latest = max((span.first.seconds for span in spans if span.first), default=-math.inf)
    if (left := latest + later_seconds - real_time.monotonic()) > 0:
        real_time.sleep(left)
    return spans


def wait_for_ends(spans: Sequence[CounterSpan]) -> None:
    """Wait for the counters' first ticks after the work, and for others until the cards rest."""
    reads = {span.domain: span.read for span in spans}
    ticks = wait_for_ticks([span.counter for span in spans], reads)
    for span in spans:
        span.ticked(ticks[span.domain])
    for _ in range(MOST_FOLLOWING + _lag_periods(spans)):
        unsettled = [span for span in spans if not span.wait.settled]
        if not unsettled:
            return
        ticks = wait_for_ticks([span.counter for span in unsettled])
        for span in unsettled:
            span.ticked_again(ticks[span.domain])


def _lag_periods(spans: Sequence[CounterSpan]) -> int:
    return max((span.counter.lag_periods for span in spans), default=0)


class CounterSpan:
    """One counter's window, step by step: made, aligned, ended, ticked, perhaps ticked again."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.domain = counter.domain
        self.started = self._ended = 0.0
        self._failures = counter.failures
        self.read = counter.read_now()
        """The last reading at the window's beginning, or its end, which a wait goes on from."""
        self._falls = counter.falls  # what the first reading shows lies before the window
        self.first = _just_now(counter, *self.read)
        self.wait = _NO_WAIT
        """Joules between the end and the tick after it; not settled: another tick would help."""
        self._period = counter.period_seconds
        self._jitter = 2 * counter.clock.jitter_seconds if counter.clock else 0.0
        self.rest_watts = self._total = 0.0
        self._ending: Ending | None = None
        self._following: list[Tick] = []

    @property
    def aligned(self) -> bool:
        """Whether the window begins on a tick whose time is known well, and rest before a gap."""
        first = self.first
        # The next tick would be seen between two calls as well.
        sharp = max(SHARP_SECONDS, SHARP_CALLS * self.counter.call_seconds)
        if first is None or first.half_width > sharp:
            return False
        until = self._as_shown(first).seconds
        if self.counter.lag_seconds and until < self.read[0]:  # who knows what was done since
            return False
        if self.counter.sees_all:
            return True
        watts = (first.joules - first.joules_before) / self._period
        if until - self._period >= self.read[0]:  # nothing was done since
            self.counter.rest_watts = watts
        return watts <= AT_REST * self.counter.rest_watts

    @property
    def can_tick(self) -> bool:
        """Whether ticks can be waited for."""
        return self.counter.clock is not None and not self.counter.lost

    def work_started(self, started: float) -> None:
        """Leave out what lies before, by the tick's power or, without a tick, by reading anew.

        To be called just before the work starts, perhaps more than once.
        """
        self.started = started
        if self.first is None:
            self._start_joules = self.counter.joules()

    def work_ended(self, ended: float) -> None:
        """Take the counter's figure at the end of the work; to be called at once."""
        self._ended = ended
        self.read = self.counter.read_now()
        if self.first is not None:
            start = at_start(self._as_shown(self.first), self.started, self._period)
            self._start_joules, self.rest_watts = start
        self._total = self.read[1] - self._start_joules

    def ticked(self, tick: Tick | None) -> None:
        """Take the first tick after the work; None: there was none in time."""
        if tick is None:
            return
        tick = self._as_shown(tick)
        if tick.seconds < self._ended:
            self.wait = _TOO_EARLY
            return
        self._total = tick.joules - self._start_joules
        powers = self._load_watts(tick), self.rest_watts, self.counter.idle_spread_watts
        self._ending = Ending(tick, self._ended, self._period, self._jitter, self._total, *powers)
        self.wait = self._ending.wait_by_rest()

    def ticked_again(self, tick: Tick | None) -> None:
        """Take another tick, which shows what the card draws when it waits; None: none in time."""
        if self.wait is _TOO_EARLY and tick is not None:
            self.ticked(tick)
            return
        if tick is None or self._ending is None:
            self.wait = self.wait._replace(settled=True)
            return
        self._following.append(self._as_shown(tick))
        self.wait = self._ending.wait_by_next(self._following)

    def result(self) -> CardJoules:
        """The joules of the work alone."""
        joules = self._total - self.wait.joules
        seconds = max(self._ended - self.started, 1e-6)
        missed = (self.first is None) + (self._ending is None)
        doubt = self.wait.uncertainty_joules + self.counter.resolution_joules
        doubt += missed * self._period * joules / seconds
        if self.first is not None:
            first = self._as_shown(self.first)
            doubt += start_doubt(first, self.started, self.rest_watts, joules / seconds)
        return CardJoules(joules, doubt, self._fault(missed))

    def _as_shown(self, tick: Tick) -> Tick:
        """A tick at the time up to which it shows the joules."""
        counter = self.counter
        if not counter.lag_seconds:
            return tick
        return tick._replace(
            seconds=tick.seconds - counter.lag_seconds,
            half_width=tick.half_width + counter.lag_doubt_seconds,
        )

    def _load_watts(self, last: Tick) -> float:
        """Mean power of the work up to the last tick before its end (W)."""
        seconds = last.seconds - self._period - self.started
        if seconds > self._period / 2:
            return (last.joules_before - self._start_joules) / seconds
        return (last.joules - self._start_joules) / max(last.seconds - self.started, 1e-6)

    def _fault(self, ticks_missed: int) -> str | None:
        counter = self.counter
        if counter.failures > self._failures:
            silent = f"`{counter.domain}` did not answer in the window"
            return counter.lost or fault(DEVICE_LOST, silent)
        if counter.falls > self._falls:
            return fault(
                COUNTER_RESET, f"the counter of `{counter.domain}` fell back in the window"
            )
        if counter.clock is None and not self._total:
            return no_update(self._period, self._ended - self.started)
        try:
            return stands_still(counter) if ticks_missed else None
        except DeviceLostError as error:
            return str(error)


def _just_now(counter: Counter, now: float, joules: float) -> Tick | None:
    """The latest tick, if it is recent and sharp and the counter still stands where it put it."""
    tick = counter.last_tick
    if tick is None or now - tick.seconds > JUST_NOW_PERIODS * counter.period_seconds:
        return None
    return tick if tick.joules == joules and tick.half_width <= SHARP_SECONDS else None
