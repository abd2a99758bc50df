"""Waiting for counters to tick: a sleep and a look or two, and a short spin to learn when."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from pytest_energy.meters.nvml.card import DeviceLostError
from pytest_energy.meters.nvml.clock import TickClock
from pytest_energy.meters.nvml.counter import Counter, Tick

Samples = list[tuple[float, float]]
"""Power readings as (time, watts)."""

PATIENCE_PERIODS = 3.0
SURE_SECONDS = 0.0002
"""A prediction this good spares the looks before the tick."""
SPIN_SECONDS = 0.001
"""A prediction this good is worth spinning for, which makes it good enough to be sure again."""
STEP_SECONDS = 0.0004
OVERSLEEP_SECONDS = 0.0002
SAMPLES_A_PERIOD = 8
SHORTEST_SAMPLE_SECONDS = 0.005
_NONE: Mapping[str, Samples] = {}


def wait_for_ticks(
    counters: Sequence[Counter], samples: Mapping[str, Samples] = _NONE
) -> dict[str, Tick | None]:
    """Wait until each counter has ticked once; None where none came within three periods.

    The lists in `samples` are filled with power readings from now to the tick.
    """
    ticks: dict[str, Tick | None] = {counter.domain: None for counter in counters}
    waits = [_Wait(c, c.clock, samples.get(c.domain)) for c in counters if c.clock is not None]
    while waits:
        wait = min(waits, key=_next_look) if len(waits) > 1 else waits[0]
        delay = wait.next_look() - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        if wait.look():
            waits.remove(wait)
            ticks[wait.counter.domain] = wait.tick
    return ticks


def punctual_tick(counter: Counter, since: float, joules: float) -> Tick | None:
    """The first tick after `since`, when the counter stood at `joules`, by one sleep and one look.

    None where it takes more: where ticks are not predictable enough, or this one has passed.
    """
    clock = counter.clock
    if clock is None:
        return None
    due, doubt = clock.expect(since)
    if doubt > SURE_SECONDS or since < due - clock.period_seconds + doubt:
        return None
    delay = due + doubt - time.monotonic()
    if delay <= 0:
        return None
    time.sleep(delay)
    after = counter.joules()
    if after == joules:
        return None
    tick = counter.last_tick = Tick(due, doubt, joules, after)
    return tick


class _Wait:
    """One counter that is waited for: the next look, and what was seen at the last."""

    def __init__(self, counter: Counter, clock: TickClock, samples: Samples | None) -> None:
        _let_pass(clock)
        self.counter = counter
        self.tick: Tick | None = None
        self._clock = clock
        self._samples = samples
        self._joules = counter.joules()
        self._unchanged_at = time.monotonic()
        following = clock.following(self._unchanged_at)
        before = following - clock.period_seconds
        # The tick before may be late. Seen only at the next look, a whole period later, it would
        # pass for the following one.
        self._late = self._unchanged_at < before + clock.doubt(before)
        self._expect(before if self._late else following)
        if samples is not None:
            self._sample(samples)

    def next_look(self) -> float:
        """When to look again (s): for the tick, or for another power reading before it."""
        if not self._samples:
            return self._tick_look
        every = max(self._clock.period_seconds / SAMPLES_A_PERIOD, SHORTEST_SAMPLE_SECONDS)
        return min(self._tick_look, self._samples[-1][0] + every)

    def look(self) -> bool:
        """Read the counter; whether there is no more to wait for."""
        joules = self.counter.joules()
        now = time.monotonic()
        if self._samples is not None and (now < self._tick_look or joules != self._joules):
            self._sample(self._samples)
        if joules != self._joules:
            self.tick = self.counter.last_tick = self._seen(joules, now)
            return True
        self._unchanged_at = now
        if self._late and now > self._due + self._doubt:
            self._late = False
            self._expect(self._clock.following(now))
        elif now >= self._tick_look:
            self._later(now)
        patience = PATIENCE_PERIODS * self._clock.period_seconds
        return self.counter.lost is not None or now > self._due + patience

    def _expect(self, due: float) -> None:
        """Look for the tick that is due then."""
        self._due, self._doubt = due, self._clock.doubt(due)
        self._sure = self._doubt <= SURE_SECONDS
        self._step = 0.0 if self._doubt <= SPIN_SECONDS else max(STEP_SECONDS, self._doubt / 4)
        early = due - self._doubt - OVERSLEEP_SECONDS
        self._tick_look = due + self._doubt if self._sure else early

    def _later(self, now: float) -> None:
        """Set the next look after one that came too early."""
        self._sure = False
        if now > self._due + self._doubt:
            self._step = max(STEP_SECONDS, self._doubt / 4)
        self._tick_look = now + self._step

    def _sample(self, samples: Samples) -> None:
        try:
            watts = self.counter.card.sharpest_watts()
        except DeviceLostError as error:
            self.counter.lost = str(error)
            return
        if watts is not None:
            samples.append((time.monotonic(), watts))

    def _seen(self, joules: float, now: float) -> Tick:
        """The tick that came between the last two looks, and about when it was due."""
        early = max(self._unchanged_at, self._due - self._doubt)
        late = min(now, self._due + self._doubt)
        if early > late:
            early, late = self._unchanged_at, now
            self._clock.missed()
        seconds, half_width = (early + late) / 2, (late - early) / 2
        if not self._sure:
            self._clock.saw(seconds, half_width)
        return Tick(seconds, half_width, self._joules, joules)


def _next_look(wait: _Wait) -> float:
    return wait.next_look()


def _let_pass(clock: TickClock) -> None:
    """Wait until a tick that was due a moment ago has surely been shown: it must not be missed."""
    now = time.monotonic()
    due = clock.following(now) - clock.period_seconds
    sure = due + clock.doubt(due)
    if now < sure < due + SPIN_SECONDS:
        time.sleep(sure - now)
