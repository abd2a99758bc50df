"""Waiting for counters to tick: a sleep and a look or two, and before it their calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import attrgetter
from statistics import median
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.counter import SURELY, Counter, Tick, TickClock
from pytest_energy.meters.nvml.two_powers import TwoPowers, at_rest

Samples = list[tuple[float, float]]
"""Power readings as (time, watts)."""
Seen = tuple[float, float, float]
Ticks = list[Seen]
"""Ticks as (time, half-width, joules)."""

PATIENCE_PERIODS = 5.0
SURE_SECONDS = 0.0002
"""A prediction this good spares the looks before the tick; so does one as good as half a call."""
SPIN_SECONDS = 0.001
"""A prediction this good of ticks that do not jitter is worth spinning for: it is sure again."""
STEP_SECONDS = 0.0004
OVERSLEEP_SECONDS = 0.0002
LOST_SECONDS = 0.001
"""A look this long before the next tick may come after it: threads do not run when they wish."""
_NONE: Mapping[str, Any] = {}


def wait_for_ticks(
    counters: Sequence[Counter],
    read: Mapping[str, tuple[float, float]] = _NONE,
    later_seconds: float = 0.0,
    spin_seconds: float = SPIN_SECONDS,
) -> dict[str, Tick | None]:
    """Wait until each counter has ticked once; None if none came within five periods.

    `read` are the counters' last readings (time, joules), which spare one if no tick can have come
    since. Who has to wait for `later_seconds` after the tick in any case wakes up once for both if
    it is well known when the tick is due. Ticks that are known to `spin_seconds` are spun for if
    they do not jitter.
    """
    ticks: dict[str, Tick | None] = dict.fromkeys(counter.domain for counter in counters)
    waits = [
        _Wait(counter, counter.clock, read.get(counter.domain), later_seconds, spin_seconds)
        for counter in counters
        if counter.clock is not None
    ]
    while waits:
        wait = min(waits, key=attrgetter("next_look"))
        delay = wait.next_look - real_time.monotonic()
        if delay > 0:
            real_time.sleep(delay)
        if wait.look():
            waits.remove(wait)
            ticks[wait.counter.domain] = wait.tick
    return ticks


class _Wait:
    """One counter that is waited for: the next look, and what was seen at the last."""

    def __init__(
        self,
        counter: Counter,
        clock: TickClock,
        read: tuple[float, float] | None,
        later_seconds: float,
        spin_seconds: float,
    ) -> None:
        self.counter = counter
        self.tick: Tick | None = None
        self._clock, self._spin_seconds = clock, spin_seconds
        self._period = period = clock.period_seconds
        at, joules = read or counter.read_now()
        latest = clock.latest(at)
        doubt = clock.doubt(latest + period)
        surely = latest + doubt <= at and real_time.monotonic() <= latest + period - doubt
        if read is not None and not surely:  # a tick may have come since
            at, joules = counter.read_now()
            latest = clock.latest(at)
        self._unchanged_at, self._joules = at, joules
        # The tick before may be late. Seen only at the next look, a whole period later, it would
        # pass for the following one.
        self._late = at < latest + doubt
        self._expect(latest if self._late else latest + period, doubt)
        if doubt <= SPIN_SECONDS and doubt < later_seconds < period - doubt - LOST_SECONDS:
            self._sure, self.next_look = True, self._due + later_seconds

    def look(self) -> bool:
        """Read the counter; whether there is no more to wait for."""
        before, joules = self.counter.read_now()
        now = real_time.monotonic()
        if joules != self._joules:
            self.tick = self.counter.last_tick = self._seen(joules, now)
            return True
        self._unchanged_at = before
        if self._late and now > self._due + self._doubt:
            self._late = False
            due = self._clock.following(now)
            self._expect(due, self._clock.doubt(due))
        else:
            self._later(now)
        patience = PATIENCE_PERIODS * self._period
        return self.counter.lost is not None or now > self._due + patience

    def _expect(self, due: float, doubt: float) -> None:
        """Look for the tick that is due then."""
        self._due, self._doubt = due, doubt
        self._sure = doubt <= max(SURE_SECONDS, self.counter.call_seconds / 2)
        if self._sure:
            self.next_look = due + doubt
            return
        sharp = SURELY * self._clock.jitter_seconds <= SURE_SECONDS
        spins = sharp and doubt <= self._spin_seconds
        self._step = 0.0 if spins else max(STEP_SECONDS, doubt / 4)
        self.next_look = due - doubt - OVERSLEEP_SECONDS

    def _later(self, now: float) -> None:
        """Set the next look after one that came too early."""
        if self._sure or now > self._due + self._doubt:
            self._step = max(STEP_SECONDS, self._doubt / 4)
        self._sure = False
        self.next_look = now + self._step

    def _seen(self, joules: float, now: float) -> Tick:
        """The last tick that came between the last two looks, and about when it was due.

        If this look is late, several have come, and each is taken to have brought the same joules.
        """
        due, doubt, period = self._due, self._doubt, self._period
        further = max(0, int((now - due - doubt) / period))
        perhaps = max(0, int((now - due + doubt) / period))
        early = max(self._unchanged_at, due + further * period - doubt)
        late = min(now, due + perhaps * period + doubt)
        if early > late:
            early, late = self._unchanged_at, now
            self._clock.missed()
        seconds, half_width = (early + late) / 2, (late - early) / 2
        if not self._sure and not perhaps:
            self._clock.saw(seconds, half_width)
        interval_joules = (joules - self._joules) / (1 + further)
        return Tick(seconds, half_width, joules - interval_joules, joules)


LONGEST_SECONDS = 2.0
SLOWEST_SECONDS = 5.0
"""A counter that ticked at all within two seconds is observed for this long."""
SHORTEST_SECONDS = 0.5
LEARNINGS = 3
"""Learning begins anew so often at most."""
TICKS = 6
CALIBRATION_TICKS, SLOW_CALIBRATION_TICKS = 4, 8
"""If calls take milliseconds, looks are so blunt that it takes more of them."""
CALIBRATION_SPIN_SECONDS = 0.005
"""Nothing is metered yet, and what is sharp from the beginning spares windows many looks."""
ENOUGH_TICKS = 3
LOOK_SECONDS = 0.0005
SAMPLE_SECONDS = 0.002
SPARING = 4
"""Power readings take one in so many parts of the time at most: ticks must not go unseen."""
SHORTEST_PERIOD_SECONDS = 0.004


def calibrate(counters: Sequence[Counter]) -> list[Counter]:
    """Find each counter's clock or how coarse it is, and whether watts are fresh.

    Returns those that were seen to move.
    """
    if not counters:
        return []
    ticks, samples = undisturbed(counters)
    for counter in counters:
        learn(counter, ticks[counter.domain], samples[counter.domain])
    # A few more ticks are looked at from closer by, now that it is known when they are due.
    slow = any(counter.call_seconds > SPIN_SECONDS for counter in counters)
    for _ in range(SLOW_CALIBRATION_TICKS if slow else CALIBRATION_TICKS):
        wait_for_ticks(counters, spin_seconds=CALIBRATION_SPIN_SECONDS)
    return [counter for counter in counters if ticks[counter.domain]]


def look_at_rest_again(counters: Sequence[Counter]) -> None:
    """See whether counters that disagreed with their cards' readings at rest do so still.

    To be called when nothing is metered. If the power moves too much to tell, it stays open.
    """
    ticks, samples = undisturbed(counters)
    for counter in counters:
        first = counter.apart_at_rest
        again = _rest(counter, ticks[counter.domain], samples[counter.domain])
        if first is None or again is None:
            continue
        same = again.agree or (again.ratio > 1) == (first.ratio > 1)
        counter.at_rest, counter.apart_at_rest = (again, None) if same else (None, again)


def _rest(counter: Counter, ticks: Ticks, samples: Samples) -> TwoPowers | None:
    """Both powers of one card over what was observed."""
    powers = at_rest([(seconds, joules) for seconds, _, joules in ticks], samples)
    return powers if powers is None or powers.agree else powers.closer(counter.card.mean_watts())


def undisturbed(counters: Sequence[Counter]) -> tuple[dict[str, Ticks], dict[str, Samples]]:
    """What is observed of them while none falls back: what it fell by is no power of any card.

    One that goes on falling is taken as it is, in the end: its windows will say so.
    """
    for _ in range(LEARNINGS):
        falls = sum(counter.falls for counter in counters)
        seen = observed(counters)
        if sum(counter.falls for counter in counters) == falls:
            break
    return seen


def observed(counters: Sequence[Counter]) -> tuple[dict[str, Ticks], dict[str, Samples]]:
    """Ticks and power readings by domain, of half a second at least and six ticks of each."""
    ticks: dict[str, Ticks] = {counter.domain: [] for counter in counters}
    samples: dict[str, Samples] = {counter.domain: [] for counter in counters}
    calls: dict[str, list[float]] = {counter.domain: [] for counter in counters}
    last = {counter.domain: counter.read_now() for counter in counters}
    start = next_sample = real_time.monotonic()
    while not seen_enough(min(map(len, ticks.values())), real_time.monotonic() - start):
        sample = real_time.monotonic() >= next_sample
        asking = 0.0
        for counter in counters:
            earlier, joules = counter.read_now()
            now = real_time.monotonic()
            calls[counter.domain].append(now - earlier)
            before, joules_before = last[counter.domain]
            if joules != joules_before:
                ticks[counter.domain].append(((before + now) / 2, (now - before) / 2, joules))
            last[counter.domain] = (earlier, joules)
            if sample:
                watts = counter.card.sharpest_watts()
                if watts is not None:
                    samples[counter.domain].append((now, watts))
                asking += real_time.monotonic() - now
        if sample:
            spared = real_time.monotonic() + SPARING * asking
            next_sample = max(next_sample + SAMPLE_SECONDS, spared)
        real_time.sleep(LOOK_SECONDS)
    for counter in counters:
        counter.call_seconds = median(calls[counter.domain])
    return ticks, samples


def seen_enough(fewest: int, seconds: float) -> bool:
    """Whether to stop looking after so long (s), with so many ticks of the slowest counter."""
    if fewest >= TICKS:
        return seconds >= SHORTEST_SECONDS
    return seconds >= (SLOWEST_SECONDS if 0 < fewest < ENOUGH_TICKS else LONGEST_SECONDS)


def learn(counter: Counter, ticks: Ticks, samples: Samples) -> None:
    """Set the counter's clock and the rest, from ticks and power readings at rest."""
    powers = _rest(counter, ticks, samples)
    # The load may swing just now: what is apart has to be so later, too.
    apart = powers is not None and not powers.agree
    counter.at_rest, counter.apart_at_rest = (None, powers) if apart else (powers, None)
    counter.clock, counter.period_seconds = None, SLOWEST_SECONDS
    if len(ticks) < ENOUGH_TICKS:
        return
    clock = TickClock([(seconds, half_width) for seconds, half_width, _ in ticks])
    if clock.period_seconds < SHORTEST_PERIOD_SECONDS:
        counter.period_seconds = SHORTEST_PERIOD_SECONDS
        return
    counter.clock, counter.period_seconds = clock, clock.period_seconds
    watts = [_watts(*each, clock.period_seconds) for each in pairwise(ticks)]
    counter.idle_spread_watts = max(watts) - min(watts)
    counter.rest_watts = median(watts)


def _watts(earlier: Seen, later: Seen, period_seconds: float) -> float:
    """The power between two ticks that were seen; there are others between if a look was late."""
    periods = max(1, round((later[0] - earlier[0]) / period_seconds))
    return (later[2] - earlier[2]) / (periods * period_seconds)
