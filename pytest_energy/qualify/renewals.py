"""When a value that is read again and again is renewed, and how evenly; pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import gcd, sqrt
from statistics import fmean, median, stdev
from typing import Final, NamedTuple

from pytest_energy.errors import EnergyError
from pytest_energy.qualify import Figure
from pytest_energy.stats.distributions import least_squares, moments

FOLLOWING: Final = 1.6
"""Renewals that are no further apart than so many times what is usual follow one another."""
SETTLING: Final = 4
WANDERS: Final = 0.05
"""Renewals that scatter about a line by more than this share of the period are on none."""
LEAST: Final = 20
"""Fewer renewals than this say nothing of a period."""


class Look(NamedTuple):
    """One reading: the time before and after the call (s), and what it said (J or W)."""

    before: float
    after: float
    value: float


class Renewal(NamedTuple):
    """A change of a value: when (s, the middle of what it may be), and what it is since then."""

    seconds: float
    half_width: float
    value: float


class Rhythm(NamedTuple):
    """Renewals on a line: one of its times (s), the period (s), the scatter about it (SD, s).

    If they are on no line, as those of a value that is renewed when it is asked for, the period is
    the mean from one to the next, and the scatter that of these.
    """

    origin_seconds: float
    period_seconds: Figure
    jitter_seconds: float
    is_even: bool = True

    def turn(self, seconds: float) -> int:
        """The number of the time on the line that is nearest."""
        return round((seconds - self.origin_seconds) / self.period_seconds)

    def at(self, turn: int) -> float:
        """The time on the line of that number (s)."""
        return self.origin_seconds + turn * self.period_seconds

    def nearest(self, seconds: float) -> float:
        """The time on the line that is nearest (s)."""
        return self.at(self.turn(seconds))


def renewals(looks: Sequence[Look]) -> list[Renewal]:
    """The changes of a value that was looked at."""
    return [
        Renewal((a.before + b.after) / 2, (b.after - a.before) / 2, b.value)
        for a, b in pairwise(looks)
        if a.value != b.value
    ]


def rhythm(seen: Sequence[Renewal]) -> Rhythm:
    """The line through renewals; some may be missing. Raises `EnergyError` for too few of them."""
    if len(seen) < LEAST:
        raise EnergyError(
            f"the value was renewed {len(seen)} times only, so it has no period; see that the "
            "driver is a recent one"
        )
    times = [each.seconds for each in seen]
    numbers = _numbered(times)
    (_, squares), (period, origin) = moments(numbers), least_squares(numbers, times)
    off = [t - origin - period * n for n, t in zip(numbers, times, strict=True)]
    scatter = sum(each**2 for each in off) / (len(off) - 2)
    # A look blurs a moment evenly over its width.
    blur = fmean(each.half_width**2 for each in seen) / 3
    jitter = sqrt(max(0.0, scatter - blur))
    doubt = 2 * sqrt(scatter / squares)
    line = Rhythm(origin, Figure(period, doubt), jitter)
    return line if jitter <= WANDERS * period else _uneven(line, times)


def _uneven(line: Rhythm, times: Sequence[float]) -> Rhythm:
    """The same from what is between renewals that follow one another, if these agree better."""
    steps = [b - a for a, b in pairwise(times)]
    usual = median(steps)
    following = [step for step in steps if usual / FOLLOWING < step < usual * FOLLOWING]
    spread = stdev(following) if len(following) >= SETTLING else line.jitter_seconds
    if spread >= line.jitter_seconds:
        return line
    doubt = 2 * spread / sqrt(len(following))
    return Rhythm(line.origin_seconds, Figure(fmean(following), doubt), spread, is_even=False)


def _numbered(times: Sequence[float]) -> list[int]:
    """The turns of renewals, some of which are missing; how long a turn is gets clearer with each.

    Steps between those that are seen from far apart differ, and are right in the mean.
    """
    steps = [b - a for a, b in pairwise(times)]
    longest = FOLLOWING * median(steps)
    about = fmean(step for step in steps if step < longest)
    numbers = [0]
    for before, at in pairwise(times):
        turns = round((at - times[0]) / about)
        if turns <= numbers[-1]:
            turns = numbers[-1] + max(1, round((at - before) / about))
        numbers.append(turns)
        about += (at - times[0] - turns * about) / max(turns, SETTLING)
    return numbers


def quantum_joules(values: Sequence[float]) -> float:
    """What divides all steps between a counter's readings, which are whole mJ (J)."""
    return gcd(*(round(1000 * (b - a)) for a, b in pairwise(values))) / 1000


def powers(seen: Sequence[Renewal], line: Rhythm) -> list[tuple[float, float]]:
    """A counter's power between renewals that follow one another: (time of the later, W).

    Values are joules. Steps over several periods are left out: when their joules came is not known.
    """
    return [
        (b.seconds, (b.value - a.value) / line.period_seconds)
        for a, b in pairwise(seen)
        if line.turn(b.seconds) - line.turn(a.seconds) == 1
    ]


def shown(seen: Sequence[Renewal], *, is_even: bool) -> list[tuple[float, float]]:
    """When readings were renewed, and what they show (s, W).

    Uneven ones are renewed as they are asked for, so at the end of what the moment may be.
    """
    return [(each.seconds + (0.0 if is_even else each.half_width), each.value) for each in seen]


def levels(seen: Sequence[Renewal], line: Rhythm) -> list[tuple[float, float]]:
    """What a counter shows at each of its turns, changed or not: (time on the line, J)."""
    values = {line.turn(each.seconds): each.value for each in seen}
    first, last = min(values), max(values)
    found, level = [], values[first]
    for turn in range(first, last + 1):
        level = values.get(turn, level)
        found.append((line.at(turn), level))
    return found


def call_seconds(looks: Sequence[Look]) -> float:
    """How long a call of the driver takes, the median (s)."""
    return median(look.after - look.before for look in looks)
