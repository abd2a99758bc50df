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

from pytest_energy.meters.nvml.counter import RESOLUTION_JOULES, Tick

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
