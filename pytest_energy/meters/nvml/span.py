"""One window over cards that have an energy counter: aligned to ticks at both ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from pytest_energy.meters.nvml import edges
from pytest_energy.meters.nvml.card import DeviceLostError
from pytest_energy.meters.nvml.counter import RESOLUTION_JOULES, Counter, Tick, stands_still
from pytest_energy.meters.nvml.ticks import Samples, wait_for_ticks

JUST_NOW_PERIODS = 0.03
"""A tick this recent still serves as a window's beginning: back-to-back windows share one."""
SHARP_SECONDS = 0.002
ATTEMPTS = 3


class CardJoules(NamedTuple):
    """Joules of one card over a window, how far they may be off (J), what is wrong with them."""

    joules: float
    uncertainty_joules: float
    fault: str | None = None


class CounterSpan:
    """The cards' counters around a piece of work: aligned when made, then step by step."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        ticks = _aligned(counters)
        self._cards = [_CardSpan(counter, ticks[counter.domain]) for counter in counters]

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
        counters = [card.counter for card in self._cards]
        samples: dict[str, Samples] = {c.domain: [] for c in counters if c.has_fresh_watts}
        ticks = wait_for_ticks(counters, samples)
        for card in self._cards:
            card.ticked(ticks[card.counter.domain], samples.get(card.counter.domain, []))
        unsettled = [card for card in self._cards if not card.settled]
        following = wait_for_ticks([card.counter for card in unsettled])
        for card in unsettled:
            card.ticked_again(following[card.counter.domain])
        return {card.counter.domain: card.result() for card in self._cards}


class _CardSpan:
    """One card's window, step by step: begun, work ended, ticked, perhaps ticked again."""

    def __init__(self, counter: Counter, first: Tick | None) -> None:
        self.counter = counter
        self.started = self._ended = 0.0
        self._resets = counter.resets
        self._period = counter.period_seconds
        self._jitter = 2 * counter.clock.jitter_seconds if counter.clock else 0.0
        self._idle_watts = self._total = 0.0
        self._edges_missed = 0 if first else 1
        self._last: Tick | None = None
        self._first = first
        self._start_joules = counter.joules() if first is None else first.joules
        self._wait = edges.Estimate(0.0, 0.0)

    @property
    def settled(self) -> bool:
        """Whether no other tick would make the joules surer."""
        return self._wait.settled

    def started_later(self, started: float) -> None:
        """Leave out what lies before, by the tick's power or, without a tick, by reading anew."""
        self.started = started
        if self._first is None:
            self._start_joules = self.counter.joules()

    def work_ended(self, ended: float) -> None:
        """Take the counter's figure at the end of the work."""
        self._ended = ended
        if self._first is not None:
            start = edges.at_start(self._first, self.started, self._period)
            self._start_joules, self._idle_watts = start
        self._total = self.counter.joules() - self._start_joules

    def ticked(self, tick: Tick | None, samples: Samples) -> None:
        """Take the first tick after the work; None: there was none in time."""
        self._last = tick
        if tick is None:
            self._edges_missed += 1
            return
        self._total = tick.joules - self._start_joules
        self._wait = edges.of_wait(
            tick, self._ended, self._period, self._total, self._load_watts(tick),
            self._idle_watts, self.counter.idle_spread_watts, self._jitter, samples,
        )  # fmt: skip

    def ticked_again(self, tick: Tick | None) -> None:
        """Take the tick after that one, which shows what the card draws when it waits."""
        assert self._last is not None
        if tick is not None:
            self._wait = edges.by_next_interval(
                self._last, tick, self._ended, self._period, self._total,
                self._load_watts(self._last), self.counter.idle_spread_watts, self._jitter,
            )  # fmt: skip

    def result(self) -> CardJoules:
        """The joules of the work alone."""
        joules = self._total - self._wait.joules
        seconds = max(self._ended - self.started, 1e-6)
        missed = self._edges_missed * self._period * joules / seconds
        doubt = self._wait.uncertainty_joules + missed + RESOLUTION_JOULES
        if self._first is not None:
            watts = max(self._idle_watts, joules / seconds)
            doubt += edges.start_doubt(self._first, self.started, watts)
        return CardJoules(joules, doubt, self._fault())

    def _load_watts(self, last: Tick) -> float:
        """Mean power of the work up to the last tick before its end (W)."""
        seconds = last.seconds - self._period - self.started
        if seconds > self._period / 2:
            return (last.joules_before - self._start_joules) / seconds
        return (last.joules - self._start_joules) / max(last.seconds - self.started, 1e-6)

    def _fault(self) -> str | None:
        counter = self.counter
        if counter.lost is not None:
            return counter.lost
        if counter.resets > self._resets:
            return f"counter reset: the counter of `{counter.domain}` fell back in the window"
        if counter.clock is None or not self._edges_missed:
            return None
        try:
            return stands_still(counter)
        except DeviceLostError as error:
            return str(error)


def _aligned(counters: Sequence[Counter]) -> dict[str, Tick | None]:
    """Each card's latest tick; those with one just now are not waited for."""
    now = time.monotonic()
    ticks = {counter.domain: _just_now(counter, now) for counter in counters}
    for _ in range(ATTEMPTS):
        blurred = [c for c in counters if not _sharp(ticks[c.domain]) and c.clock and not c.lost]
        if not blurred:
            break
        fresh = wait_for_ticks(blurred)
        ticks.update({domain: tick for domain, tick in fresh.items() if tick is not None})
        if not any(fresh.values()):
            break
    return ticks


def _just_now(counter: Counter, now: float) -> Tick | None:
    tick = counter.last_tick
    if tick is None or now - tick.seconds > JUST_NOW_PERIODS * counter.period_seconds:
        return None
    return tick if counter.joules() == tick.joules else None


def _sharp(tick: Tick | None) -> bool:
    return tick is not None and tick.half_width <= SHARP_SECONDS
