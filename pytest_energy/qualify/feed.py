"""What feeds a counter, how it takes loads that swing about as often as it looks; pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import log
from statistics import fmean, pstdev
from typing import Final

from pytest_energy.meters.nvml.part_time import WIDEST_SHARE
from pytest_energy.meters.nvml.sensors import Load, Swing, lock_joules
from pytest_energy.meters.sensors import Feed
from pytest_energy.qualify import PART, Beat, Source
from pytest_energy.qualify.renewals import Renewal
from pytest_energy.qualify.response import Edge, Points, Response, Trajectory

SAME_PERIOD: Final = 0.02
SAME_IF_ASKED: Final = 0.1
"""Readings that are renewed when they are asked for are up to one look late."""
ECHO: Final = 0.3
"""A counter that is apart from the readings by less than this share of their scatter adds them."""
NO_ECHO: Final = 0.7
GRAINS: Final = 2
"""Readings that scatter by less than so many of the counter's steps cannot be told apart by it."""
MOST_LATE: Final = 3
LEAST_PAIRS: Final = 10
EXCESS: Final = 0.08
"""Scatter beyond what is explained, as a share of the swing, that a counter of all has not."""
MOST_BEATS: Final = 3
CLOSE: Final = 0.03
"""Ranges of steps that are no further apart than this share are shown as one."""
SHORTEST_STEP, LONGEST_STEP = 0.005, 0.5
FINER: Final = 1.002


def echo(
    counted: Points, readings: Sequence[Renewal], period_seconds: float, grain_watts: float = 0.0
) -> float | None:
    """How far a counter's power is from the readings, as a share of the readings' scatter.

    Both are of even work. `grain_watts` is one step of the counter as power. At 0 the counter adds
    up the very readings, now or a few periods late. None says that readings scatter too little, or
    are too few.
    """
    times = [each.seconds + period_seconds / 2 for each in readings]
    found = []
    for late in range(MOST_LATE + 1):
        pairs = []
        for at, watts in counted:
            i = bisect_right(times, at - late * period_seconds)
            if 0 < i < len(readings):  # the nearest one
                pairs.append((watts, readings[i].value))
        scatter = pstdev([value for _, value in pairs]) if len(pairs) >= LEAST_PAIRS else 0.0
        if scatter > GRAINS * grain_watts:
            found.append(pstdev([watts - value for watts, value in pairs]) / scatter)
    return min(found, default=None)


def feed_of(
    counter: Source | None, readings: Source | None, echoed: float | None, beats_scatter: bool
) -> Feed:
    """What a counter adds up; unknown unless the experiments agree, or if it has no rhythm."""
    if counter is None:
        return "unknown"
    alike = readings is not None and _alike(counter, readings)
    # Readings on no clock are no counter's looks in any case, so that they are none says nothing.
    on_clock = readings is not None and readings.is_even
    other = alike and on_clock and echoed is not None and echoed > NO_ECHO
    same = alike and echoed is not None and echoed < ECHO
    if counter.is_part or (beats_scatter and not counter.sees_all):
        return "unknown" if other else "sensor"
    if (
        beats_scatter
        or readings is None
        or counter.window_seconds.doubt > (1 - PART) * counter.period_seconds
    ):
        return "unknown"
    if same:
        return "unknown" if readings.is_part else "sensor"
    return "true power" if other or (alike and readings.is_part) else "unknown"


def _alike(counter: Source, readings: Source) -> bool:
    """Whether the readings may be the looks that the counter adds up, by when they are renewed."""
    off = abs(readings.period_seconds / counter.period_seconds - 1)
    return off < (SAME_PERIOD if readings.is_even else SAME_IF_ASKED)


def scatters(beats: Sequence[Beat], grain: float) -> bool:
    """Whether power under square loads scatters more than a counter of all that is drawn explains.

    `grain` is one step of the counter as a share of the swing.
    """
    beyond = [each.seen**2 - each.if_all_seen**2 - grain**2 / 6 for each in beats]
    return sum(square > EXCESS**2 for square in beyond) >= MOST_BEATS


def beat(
    edges: Sequence[Edge], points: Points, step_seconds: float, source: Source, found: Response
) -> Beat:
    """How the power that a source shows scatters under a square load, and how it would."""
    course = Trajectory(edges, found.rise_seconds, found.fall_seconds)
    period = source.period_seconds
    whole = [course.mean(at - source.lag_seconds, period) for at, _ in points]
    seen = pstdev([watts for _, watts in points]) / found.swing_watts
    return Beat(step_seconds, seen, pstdev(whole))


def lock_shares(
    source: Source, idle: float, loaded: float, seconds: float
) -> list[tuple[float, float]]:
    """Lengths of steps (s), and the share that a window's joules may be off for keeping step.

    The steps swing between both powers (W), evenly; none for a source that looks all the time.
    """
    if not source.is_part:
        return []
    load, swing = Load(fmean((idle, loaded)), idle, seconds), Swing(loaded - idle)
    steps = int(log(LONGEST_STEP / SHORTEST_STEP) / log(FINER))
    found = [SHORTEST_STEP * FINER**i for i in range(1 + steps)]
    joules = load.mean_watts * seconds
    return [(each, lock_joules(source.sensor, load, each, swing) / joules) for each in found]


def lock_prone(
    source: Source, idle: float, loaded: float, seconds: float
) -> list[tuple[float, float]]:
    """Lengths of steps (s, from and to) of which a window of so many seconds is no evidence.

    The steps swing between both powers (W), evenly.
    """
    ranges: list[tuple[float, float]] = []
    for step, share in lock_shares(source, idle, loaded, seconds):
        if share <= WIDEST_SHARE:
            continue
        if ranges and step <= (1 + CLOSE) * ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], step)
        else:
            ranges.append((step, step))
    return ranges
