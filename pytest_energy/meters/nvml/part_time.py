"""What a card's sensor, which may look part of the time, leaves unknown of a window's joules."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from math import dist, pi, sin, sqrt
from typing import Final, NamedTuple, TypeAlias

from pytest_energy.meters.protocol import ALIASED, MOST_WATTS, Unseen, fault
from pytest_energy.meters.sensors import Sensor

HARMONICS: Final = 40
EDGES: Final = 1.25
"""What both ends together may cost, in shares of a period that are not looked at."""
LEAST_SEEN: Final = 0.1
"""Of a harmonic: if less of it is left, noise hides it."""
SAFETY: Final = 1.5
"""What the sum of the harmonics is taken times: it covers 95 % of windows, and more near lock."""
PERIOD_DOUBT: Final = 0.003
"""A sensor's period, and a mean step, are known to this share: lock may be that close."""


Readings: TypeAlias = Sequence[tuple[float, float]]
"""Power readings or cumulative joules as (time in s, W or J)."""


class Load(NamedTuple):
    """What is known of the work in a window: its mean power, that of rest (W), its length (s).

    `most_watts` is what the card may draw (W).
    """

    mean_watts: float
    rest_watts: float
    seconds: float
    most_watts: float = MOST_WATTS

    @property
    def above_rest_watts(self) -> float:
        """By how much it draws more than the card at rest (W)."""
        return abs(self.mean_watts - self.rest_watts)


def edge_joules(sensor: Sensor, load: Load) -> float:
    """How far a window's joules may be off as its ends fall between two looks (J).

    The work is seen by a whole number of looks, one more or one less than it is long.
    """
    if sensor.sees_all:
        return 0.0
    rest = load.seconds % sensor.period_seconds
    unseen = min(1.0, EDGES * abs(1 - sensor.window_seconds / sensor.period_seconds))
    return unseen * load.above_rest_watts * max(rest, sensor.period_seconds - rest)


class Swing(NamedTuple):
    """The power's range within a step (W): as readings of so long a look saw it (s), or assumed."""

    watts: float
    look_seconds: float | None = None


def lock_joules(sensor: Sensor, load: Load, step_seconds: float, swing: Swing) -> float:
    """How far they may be off (J) as steps of one length beat with the looks.

    The bound takes each harmonic of a square wave of the load's swing, damped by the sensor's
    window and by how evenly the looks fall on the step. If readings tell, their own look has damped
    the first already.
    """
    if sensor.sees_all:
        return 0.0
    looks = max(1, round(load.seconds / sensor.period_seconds))
    share, squares = sensor.window_seconds / step_seconds, 0.0
    look = swing.look_seconds
    first = 1.0 if look is None else max(abs(_sinc(look / step_seconds)), LEAST_SEEN)
    turns = sensor.period_seconds / step_seconds
    for h in range(1, HARMONICS + 1):
        # How much of it is left in the mean over the looks, whose distance is known to a share.
        off = abs(h * turns - round(h * turns))
        lock = _coherence(max(0.0, off - PERIOD_DOUBT * h * turns), looks)
        seen = min(1.0, abs(_sinc(h * share)) / first)
        squares += (2 * swing.watts / (pi * h) * seen * lock) ** 2
    return SAFETY * sqrt(squares) * load.seconds


def scatter_joules(sensor: Sensor, load: Load, watts: Sequence[float]) -> float:
    """How far they may be off (J) by what readings (W) differ, if no step's length is known.

    Readings that follow one another slowly, as in a beat, tell as little as a few.
    """
    spread = standard_deviation(watts)
    if sensor.sees_all or not spread:
        return 0.0
    mean = sum(watts) / len(watts)
    alike = sum((a - mean) * (b - mean) for a, b in pairwise(watts)) / (len(watts) * spread**2)
    looks = max(1.0, load.seconds / sensor.period_seconds)
    told = max(1.0, looks * (1 - alike) / (1 + alike)) if alike > 0 else looks
    return (2 + 2 / told) * spread / sqrt(told) * load.seconds


def standard_deviation(watts: Sequence[float]) -> float:
    """How far readings are from their mean (W): each window needs it, so it is not worked out
    in fractions as `statistics` does; 0 if there is none.
    """
    mean = sum(watts) / max(1, len(watts))
    return dist(watts, [mean] * len(watts)) / sqrt(max(1, len(watts)))


def _coherence(off: float, looks: int) -> float:
    """Length of the mean of `looks` unit vectors, each `off` turns after the last."""
    if off * looks >= 0.5:
        return 1 / (looks * sin(pi * min(off, 0.5)))
    return abs(sin(pi * off * looks) / (looks * sin(pi * off))) if off else 1.0


def _sinc(x: float) -> float:
    return sin(pi * x) / (pi * x) if x else 1.0


TOLD_SHARE: Final = 0.02
"""A person is told if joules may be off by more than this share: the gate's usual tolerance."""
WIDEST_SHARE: Final = 0.1
"""Beyond this share a window is no evidence if the sensor is known to look part of the time."""
ALIKE: Final = 0.01
"""Steps are of one length if they differ by no more than this share."""
UNSEEN_SHARE: Final = 0.2
"""Of a step between two looks that may be unseen: nothing larger happens in it."""
MOST_SEEN: Final = 0.5
"""No look shows more of a step than half of it: it blurs what it sees."""
DATED_LOOKS: Final = 4
"""So many looks of a window are dated against its steps."""
DATED_SHARE: Final = 0.1
"""Looks have to be dated to this share of a step to tell its phases apart."""
MARGIN: Final = 1.1
"""What lies between the looks at a step may be this much further apart."""
MOST_APART: Final = 0.05
"""A counter that ticks this much faster or slower than its sensor is known to is another clock."""
REMEMBERED: Final = 256
LENGTHS: Final = 16
"""So many lengths of steps are told apart: models take turns."""
OTHER_BATCHES: Final = (1.25, 1.5, 0.75, 2.0, 3.0, 0.5)
LONGER_WINDOWS: Final = (2, 4, 8, 16)


class _Seen:
    """What was seen of steps of one length: at which phases of them, and the readings (W)."""

    def __init__(self, step_seconds: float) -> None:
        self.step_seconds = step_seconds
        self.phases: deque[float] = deque(maxlen=REMEMBERED)
        self.watts: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, looks: Readings, step_seconds: float) -> None:
        """Take a window's looks; later in it the steps may have slipped against them, unnoticed."""
        self.phases += [(seconds / step_seconds) % 1.0 for seconds, _ in looks[:DATED_LOOKS]]
        self.watts += [watts for _, watts in looks]

    def widest_gap(self) -> float:
        """The largest share of a step between two looks at it."""
        phases = sorted(self.phases)
        following = [*phases[1:], *(phase + 1 for phase in phases[:1])]
        return max((b - a for a, b in zip(phases, following, strict=True)), default=1.0)


class PartTime:
    """What one card's joules are made of, and what was seen of recent windows' steps, by length.

    `look_seconds` is how long a look a reading of its power takes; joules may be made otherwise.
    """

    def __init__(self, sensor: Sensor, look_seconds: float) -> None:
        self.sensor, self._look_seconds = sensor, look_seconds
        self._seen: deque[_Seen] = deque(maxlen=LENGTHS)

    def renewed_every(self, seconds: float) -> None:
        """Take a counter's period for the sensor's if they are about the same: it is exact."""
        if abs(seconds / self.sensor.period_seconds - 1) < MOST_APART:
            self.sensor = self.sensor.renewed_every(seconds)

    def unseen(
        self, load: Load, looks: Readings, step_seconds: float | None, when: float = 0.0
    ) -> Unseen:
        """How far a window's joules may be off for this sensor, and whether it is no evidence.

        Where no step's length is known, its readings' scatter stands for it. Looks are timed
        from the start of the work on, and dated to `when` (s).
        """
        sensor, ends = self.sensor, edge_joules(self.sensor, load)
        if sensor.sees_all:
            return Unseen(0.0)
        if step_seconds is None:
            return Unseen(ends + scatter_joules(sensor, load, [watts for _, watts in looks]))
        swing = self._swing(load, looks, step_seconds, when)
        lock = lock_joules(sensor, load, step_seconds, swing)
        share = lock / max(load.mean_watts * load.seconds, 1e-9)
        if share <= TOLD_SHARE or swing.look_seconds is None:
            return Unseen(ends + lock)
        remedy = self._remedy(load, step_seconds, swing)
        text = (
            f"steps of {1000 * step_seconds:.3g} ms may keep step with the sensor, which "
            f"{sensor.told()}: joules may be off by {100 * share:.0f} %; {remedy}"
        )
        refused = share > WIDEST_SHARE and sensor.is_known
        return Unseen(ends + lock, fault(ALIASED, text) if refused else None, text)

    def _swing(self, load: Load, looks: Readings, step_seconds: float, when: float) -> Swing:
        """The power's range within a step, by readings once all of a step was seen.

        Windows begin anywhere between two looks, so that more of a step is seen with each. Until
        then it may be all that the card can draw.
        """
        alike = (s for s in self._seen if abs(step_seconds / s.step_seconds - 1) <= ALIKE)
        if (steps := next(alike, None)) is None:
            steps = _Seen(step_seconds)
            self._seen.append(steps)
        steps.add(looks, step_seconds)
        look = self._look_seconds
        seen = min(MOST_SEEN, (look - 2 * when) / step_seconds + UNSEEN_SHARE)
        if steps.widest_gap() <= seen and when <= DATED_SHARE * step_seconds:
            return Swing(MARGIN * (max(steps.watts) - min(steps.watts)), look)
        return Swing(max(load.most_watts - load.rest_watts, load.above_rest_watts))

    def _remedy(self, load: Load, step_seconds: float, swing: Swing) -> str:
        """A length of step, or of window, that would do."""

        def does(step: float, seconds: float) -> bool:
            longer = load._replace(seconds=seconds)
            off = lock_joules(self.sensor, longer, step, swing)
            return off <= TOLD_SHARE * load.mean_watts * seconds

        for times in OTHER_BATCHES:
            if does(times * step_seconds, load.seconds):
                return f"batches {times:g} times as large would do"
        for times in LONGER_WINDOWS:
            if does(step_seconds, times * load.seconds):
                return f"windows of {times * load.seconds:.3g} s would do"
        return "give each step more work, or less"
