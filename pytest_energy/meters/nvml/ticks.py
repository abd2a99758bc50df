"""Waiting for counters to tick without spinning a core."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from pytest_energy.meters.nvml.card import DeviceLostError
from pytest_energy.meters.nvml.clock import TickClock
from pytest_energy.meters.nvml.counter import Counter, Tick

Samples = list[tuple[float, float]]
"""Power readings as (time, watts)."""

PATIENCE_PERIODS = 3.0
SURE_SECONDS = 0.0003
"""A prediction this good spares the look before the tick."""
STEP_SECONDS = 0.0004
SAMPLES_A_PERIOD = 12
SHORTEST_SAMPLE_SECONDS = 0.005
_NONE: Mapping[str, Samples] = {}


def wait_for_ticks(
    counters: Sequence[Counter], samples: Mapping[str, Samples] = _NONE
) -> dict[str, Tick | None]:
    """Wait until each counter has ticked once; None where none came within three periods.

    A counter whose ticks come when they are due costs one or two looks. The lists in `samples`
    are filled with power readings from now to the tick.
    """
    ticks: dict[str, Tick | None] = {counter.domain: None for counter in counters}
    waits = [_Wait(c, samples.get(c.domain)) for c in counters if c.clock is not None]
    while waits:
        wait = min(waits, key=_next_look)
        delay = wait.next_look - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        if wait.look():
            waits.remove(wait)
            ticks[wait.counter.domain] = wait.tick
    return ticks


class _Wait:
    """One counter that is waited for: the next look, and what was seen at the last."""

    def __init__(self, counter: Counter, samples: Samples | None) -> None:
        clock = counter.clock
        assert clock is not None
        self.counter = counter
        self.tick: Tick | None = None
        self._clock = clock
        self._samples = samples
        self._every = max(clock.period_seconds / SAMPLES_A_PERIOD, SHORTEST_SAMPLE_SECONDS)
        _let_pass(clock)
        self._joules = counter.joules()
        self._unchanged_at = time.monotonic()
        self._due = clock.following(self._unchanged_at)
        self._doubt = clock.doubt(self._due)
        self._give_up = self._unchanged_at + PATIENCE_PERIODS * clock.period_seconds
        self._sure = self._doubt <= SURE_SECONDS
        self._step = max(STEP_SECONDS, self._doubt / 4)
        self._tick_look = self._due + (1 if self._sure else -1) * self._doubt
        self._sample()

    @property
    def next_look(self) -> float:
        """When to look again (s): for the tick, or for another power reading before it."""
        if not self._samples:
            return self._tick_look
        return min(self._tick_look, self._samples[-1][0] + self._every)

    def look(self) -> bool:
        """Read the counter; whether there is no more to wait for."""
        joules = self.counter.joules()
        now = time.monotonic()
        self._sample()
        if joules != self._joules:
            self.tick = self.counter.last_tick = self._seen(joules, now)
            return True
        self._unchanged_at = now
        if now >= self._tick_look:
            self._tick_look, self._sure = now + self._step, False
        return now >= self._give_up or self.counter.lost is not None

    def _sample(self) -> None:
        if self._samples is None:
            return
        try:
            watts = self.counter.card.sharpest_watts()
        except DeviceLostError as error:
            self.counter.lost = str(error)
            return
        if watts is not None:
            self._samples.append((time.monotonic(), watts))

    def _seen(self, joules: float, now: float) -> Tick:
        if self._sure:
            return Tick(min(self._due, now), self._doubt, self._joules, joules)
        seconds, half_width = (self._unchanged_at + now) / 2, (now - self._unchanged_at) / 2
        if half_width <= self._step:
            self._clock.saw(seconds, half_width)
        elif abs(self._due - seconds) <= half_width and self._doubt < half_width:
            # Overslept: the tick is somewhere in between, most likely where it was due.
            return Tick(self._due, self._doubt, self._joules, joules)
        return Tick(seconds, half_width, self._joules, joules)


def _next_look(wait: _Wait) -> float:
    return wait.next_look


def _let_pass(clock: TickClock) -> None:
    """Wait until a tick that was due a moment ago has surely been shown: it must not be missed."""
    now = time.monotonic()
    due = clock.following(now) - clock.period_seconds
    sure = due + clock.doubt(due)
    if now < sure:
        time.sleep(sure - now)
