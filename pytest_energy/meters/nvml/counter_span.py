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

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from pytest_energy.meters.nvml.card import DeviceLostError
from pytest_energy.meters.nvml.counter import RESOLUTION_JOULES, Counter, Tick, stands_still
from pytest_energy.meters.nvml.ticks import Samples, wait_for_ticks
from pytest_energy.meters.protocol import COUNTER_RESET, DEVICE_LOST, fault, no_update

LATENCY_SECONDS = 0.00005
"""Between a call to the driver and its time stamp."""
AGREEMENT = 0.0005
"""Two estimates of the wait are one if they differ by less than this share of the window."""
CONFIRMED = 0.002
"""A steady load with a steady wait after it explains the counter if it is this close."""
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


def start_doubt(tick: Tick, started: float, watts: float) -> float:
    """How far the reading at the start may be off (J), with power changing by up to `watts`.

    It may have changed right at the tick, so that all joules of the gap are in doubt.
    """
    gap = max(0.0, started - tick.seconds)
    return watts * (tick.half_width + LATENCY_SECONDS + gap) + RESOLUTION_JOULES


class Ending(NamedTuple):
    """How a window ended: the tick after its work, and what is known of the work.

    An interval is a `period` long, give or take `jitter` (s). `total_joules` is up to the tick,
    `load_watts` the mean up to the one before; at rest, the power differs by `idle_spread_watts`
    from interval to interval.
    """

    tick: Tick
    ended: float
    period: float
    jitter: float
    total_joules: float
    load_watts: float
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
    def most_joules(self) -> float:
        """What the wait cannot have taken more than (J)."""
        return self.interval_joules * max(1.0, self.wait / self.period)

    def without_wait(self, watts: float) -> float:
        """What is left of the interval if the work drew `watts` in it up to its end (J)."""
        return self.interval_joules - watts * max(0.0, self.period - self.wait)

    def wait_by_readings(
        self, readings: Sequence[tuple[float, float]], idle_watts: float
    ) -> Estimate:
        """Joules of the wait by (time, watts) from the end to the tick, of a fresh sensor."""
        joules, doubt = _integrated(readings, self.ended, self.tick.seconds)
        # After a single step of power the counter knows better than the readings when it was.
        by_counter = self.without_wait(readings[0][1])
        if abs(by_counter - joules) <= doubt:
            joules = by_counter
        return Estimate(min(max(0.0, joules), self.most_joules), doubt + self._timing(idle_watts))

    def wait_by_idle(self, idle_watts: float) -> Estimate:
        """Joules of the wait if it drew what the interval before the work did.

        What the load leaves of the interval must agree; otherwise another tick is asked for.
        """
        joules = min(idle_watts * self.wait, self.most_joules)
        by_load = max(0.0, self.without_wait(self.load_watts))
        apart = abs(by_load - joules)
        agreement = AGREEMENT * self.total_joules
        doubt = max(apart, agreement) + self._always(joules) + self._timing(idle_watts)
        return Estimate(joules, doubt, settled=apart <= agreement)

    def wait_by_next(self, following: Tick) -> Estimate:
        """Joules of the wait if it drew what the interval after it did."""
        watts = (following.joules - self.tick.joules) / self.period
        joules = min(watts * self.wait, self.most_joules)
        doubt = abs(self.without_wait(self.load_watts) - joules)
        if doubt > CONFIRMED * self.total_joules:
            # Wherever in these intervals the power took a step, the error is at most this.
            doubt = abs(watts - self.interval_joules / self.period) * self.wait
        timing = _timing(self.tick, max(self.load_watts, watts))
        return Estimate(joules, doubt + self._always(joules) + timing)

    def _always(self, joules: float) -> float:
        """What is not known of the joules of a wait, however well they are explained (J)."""
        return joules * self.jitter / self.period + UNREST * self.idle_spread_watts * self.wait

    def _timing(self, idle_watts: float) -> float:
        watts = max(self.load_watts, idle_watts, self.interval_joules / self.period)
        return _timing(self.tick, watts)


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
    """Joules of one card, how far they may be off (J), and what is wrong with them."""

    joules: float
    uncertainty_joules: float
    fault: str | None = None


def aligned_spans(counters: Sequence[Counter]) -> list[CounterSpan]:
    """A window on each counter, begun on its latest tick; one that came just now is not waited for.

    All are made before the wait: after it, the work should start soon.
    """
    spans = [CounterSpan(counter) for counter in counters]
    read = {span.domain: span.read for span in spans}
    for _ in range(ATTEMPTS):
        blurred = [s for s in spans if not s.aligned and s.counter.clock and not s.counter.lost]
        fresh = wait_for_ticks([span.counter for span in blurred], read)
        for span in blurred:
            span.first = fresh[span.domain] or span.first
        if not any(fresh.values()):
            break
        read = {}
    return spans


def wait_for_ends(spans: Sequence[CounterSpan]) -> None:
    """Wait for the counters' first ticks after the work, and for another where that helps."""
    counters = [span.counter for span in spans]
    samples: dict[str, Samples] = {c.domain: [] for c in counters if c.has_fresh_watts}
    ticks = wait_for_ticks(counters, {span.domain: span.read for span in spans}, samples)
    for span in spans:
        span.ticked(ticks[span.domain], samples.get(span.domain, ()))
    unsettled = [span for span in spans if not span.wait.settled]
    following = wait_for_ticks([span.counter for span in unsettled])
    for span in unsettled:
        span.ticked_again(following[span.domain])


class CounterSpan:
    """One counter's window, step by step: made, aligned, ended, ticked, perhaps ticked again."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.domain = counter.domain
        self.started = self._ended = 0.0
        self._failures = counter.failures
        self.read = counter.read_now()
        """The last reading at the window's beginning, or its end, which a wait goes on from."""
        self.first = _just_now(counter, *self.read)
        self.wait = _NO_WAIT
        """Joules between the end and the tick after it; not settled: another tick would help."""
        self._resets = counter.resets
        self._period = counter.period_seconds
        self._jitter = 2 * counter.clock.jitter_seconds if counter.clock else 0.0
        self._idle_watts = self._total = 0.0
        self._ending: Ending | None = None
        self._start_joules = 0.0

    @property
    def aligned(self) -> bool:
        """Whether the window begins on a tick whose time is known well."""
        return self.first is not None and self.first.half_width <= SHARP_SECONDS

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
            start = at_start(self.first, self.started, self._period)
            self._start_joules, self._idle_watts = start
        self._total = self.read[1] - self._start_joules

    def ticked(self, tick: Tick | None, samples: Sequence[tuple[float, float]]) -> None:
        """Take the first tick after the work; None: there was none in time.

        `samples` are powers from the end to the tick, if the card's sensor is known to be fresh.
        """
        if tick is None:
            return
        self._total = tick.joules - self._start_joules
        load_watts, spread = self._load_watts(tick), self.counter.idle_spread_watts
        period, jitter = self._period, self._jitter
        self._ending = Ending(tick, self._ended, period, jitter, self._total, load_watts, spread)
        if len(samples) > 1:
            self.wait = self._ending.wait_by_readings(samples, self._idle_watts)
        else:
            self.wait = self._ending.wait_by_idle(self._idle_watts)

    def ticked_again(self, tick: Tick | None) -> None:
        """Take the tick after that one, which shows what the card draws when it waits."""
        if tick is not None and self._ending is not None:
            self.wait = self._ending.wait_by_next(tick)

    def result(self) -> CardJoules:
        """The joules of the work alone."""
        joules = self._total - self.wait.joules
        seconds = max(self._ended - self.started, 1e-6)
        missed = (self.first is None) + (self._ending is None)
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
        if counter.failures > self._failures:
            silent = f"`{counter.domain}` did not answer in the window"
            return counter.lost or fault(DEVICE_LOST, silent)
        if counter.resets > self._resets:
            fell = f"the counter of `{counter.domain}` fell back in the window"
            return fault(COUNTER_RESET, fell)
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
