"""What only watching shows: how often a counter ticks, and how fresh power readings are."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pytest_energy.meters.nvml.clock import TickClock
from pytest_energy.meters.nvml.counter import Counter
from pytest_energy.meters.nvml.ticks import wait_for_ticks

LONGEST_SECONDS = 2.0
SLOWEST_SECONDS = 5.0
"""A counter that ticked at all within two seconds is watched for this long."""
SHORTEST_SECONDS = 0.5
TICKS = 6
TUNING_TICKS = 3
ENOUGH_TICKS = 3
STEP_SECONDS = 0.0005
SAMPLE_SECONDS = 0.002
SHORTEST_PERIOD_SECONDS = 0.004
FRESH_SECONDS = 0.005
"""A reading that follows the counter within this time is trusted at a window's end."""


@dataclass
class Watched:
    """What was seen of one card: ticks as (time, half-width, joules), samples as (time, watts)."""

    ticks: list[tuple[float, float, float]] = field(default_factory=list)
    samples: list[tuple[float, float]] = field(default_factory=list)


def observe(counters: Sequence[Counter]) -> dict[str, Watched]:
    """Look at the counters until each has ticked six times, half a second at least."""
    seen = {counter.domain: Watched() for counter in counters}
    last = {counter.domain: (time.monotonic(), counter.joules()) for counter in counters}
    start = next_sample = time.monotonic()
    while not _enough(seen.values(), time.monotonic() - start):
        sample = time.monotonic() >= next_sample
        next_sample += SAMPLE_SECONDS if sample else 0.0
        for counter in counters:
            joules, now = counter.joules(), time.monotonic()
            before, joules_before = last[counter.domain]
            if joules != joules_before:
                tick = ((before + now) / 2, (now - before) / 2, joules)
                seen[counter.domain].ticks.append(tick)
            last[counter.domain] = (now, joules)
            watts = counter.card.sharpest_watts() if sample else None
            if watts is not None:
                seen[counter.domain].samples.append((now, watts))
        time.sleep(STEP_SECONDS)
    return seen


def _enough(seen: Collection[Watched], seconds: float) -> bool:
    fewest = min((len(watched.ticks) for watched in seen), default=0)
    if not seen or fewest >= TICKS:
        return not seen or seconds >= SHORTEST_SECONDS
    return seconds >= (SLOWEST_SECONDS if 0 < fewest < ENOUGH_TICKS else LONGEST_SECONDS)


def learn(counter: Counter, watched: Watched) -> None:
    """Keep what was seen: the counter's clock or how coarse it is, and whether watts are fresh."""
    counter.clock, counter.period_seconds = None, SLOWEST_SECONDS
    if len(watched.ticks) < ENOUGH_TICKS:
        return
    clock = TickClock([(seconds, half_width) for seconds, half_width, _ in watched.ticks])
    if clock.period_seconds < SHORTEST_PERIOD_SECONDS:
        counter.period_seconds = SHORTEST_PERIOD_SECONDS
        return
    counter.clock, counter.period_seconds = clock, clock.period_seconds
    counter.has_fresh_watts = is_fresh(watched)
    powers = [
        (after - before) / clock.period_seconds
        for (_, _, before), (_, _, after) in pairwise(watched.ticks)
    ]
    counter.idle_spread_watts = max(powers) - min(powers)


def tune(counters: Sequence[Counter]) -> None:
    """Watch a few more ticks from closer by, now that it is known when they are due."""
    for _ in range(TUNING_TICKS):
        wait_for_ticks(counters)


def is_fresh(watched: Watched) -> bool:
    """Whether the power reading was seen to change and the counter agreed at once, tick by tick."""
    changed = False
    for (start, _, before), (end, _, after) in pairwise(watched.ticks):
        inside = [watts for seconds, watts in watched.samples if start <= seconds <= end]
        if len(inside) < 3:
            return False
        step = max(inside) - min(inside)
        changed = changed or step > 0.2 * max(inside)
        off = abs(integral(watched.samples, start, end) - (after - before))
        if off > step * FRESH_SECONDS + 0.03 * (after - before):
            return False
    return changed


def integral(samples: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """Joules between two times; the power changes halfway between two samples."""
    joules = 0.0
    for (earlier, watts), (later, next_watts) in pairwise(samples):
        halfway = (earlier + later) / 2
        joules += watts * max(0.0, min(halfway, end) - max(earlier, start))
        joules += next_watts * max(0.0, min(later, end) - max(halfway, start))
    return joules
