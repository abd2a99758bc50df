"""A counter's power beside that of the card's power readings: two sources that should agree.

The limits are those of published sensors: readings added up err by -8 to +13 % against an external
meter, counters by a few per cent. Counter and readings have differed by 1.7 on a real card. A
sensor that looks part of the time errs by tens of per cent if the load swings about as often as it
looks. If the load does so in step with it, it errs by any factor. Then it cannot be told who is
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Final, NamedTuple

from pytest_energy.meters.nvml.part_time import Readings, standard_deviation

EXPLAINED_SHARE: Final = 0.18
"""13 % of the readings and 5 % of the counter."""
EXPLAINED_WATTS: Final = 5.0
"""A reading's offset, which is most of it if a card draws little."""
MOST_FACTOR: Final = 2.0
LAG_SECONDS: Final = 0.35
"""A reading is renewed every 0.1 s and takes up to 0.25 s to rise to a new load."""
MEAN_SECONDS: Final = 1.0
"""What readings that are means of the last second lag by in addition."""
LEAST_SECONDS: Final = 0.5
FEWEST_LOOKS: Final = 5
STRETCHES: Final = 5
STEADY: Final = 1.25
"""By how much the ratio of both may differ from stretch to stretch if it is to be relied on."""


class Look(NamedTuple):
    """The counter (J) and the power reading (W) at one moment (s)."""

    seconds: float
    joules: float
    watts: float


class TwoPowers(NamedTuple):
    """Mean power of one stretch by both sources, and what both may differ by for known reasons."""

    counted_watts: float
    read_watts: float
    explained_watts: float

    @property
    def ratio(self) -> float:
        """The counter's power as a share of the readings'."""
        return self.counted_watts / self.read_watts

    @property
    def agree(self) -> bool:
        """Whether they are no further apart than known sensors and what was seen explain."""
        return abs(self.counted_watts - self.read_watts) <= self.explained_watts

    @property
    def excess(self) -> int:
        """1 or -1 if the counter shows more, or less, than no known sensor explains; else 0."""
        if self.agree or 1 / MOST_FACTOR <= self.ratio <= MOST_FACTOR:
            return 0
        return 1 if self.ratio > 1 else -1

    def closer(self, mean_watts: float | None) -> TwoPowers:
        """With the mean of the last second in place of the readings if it is nearer the counter.

        It has seen a load that swings in step with the sensor.
        """
        now = abs(self.read_watts - self.counted_watts)
        if not mean_watts or abs(mean_watts - self.counted_watts) >= now:
            return self
        return self._replace(read_watts=mean_watts)

    def __str__(self) -> str:
        return f"{self.counted_watts:.0f} W, and its power readings say {self.read_watts:.0f} W"


def at_rest(ticks: Readings, samples: Readings) -> TwoPowers | None:
    """Both powers while nothing was metered, from a counter's ticks and readings close together.

    None if they are too few, or if the ratio changes: the load may have swung, unseen by one.
    """
    # What no reading was made of cannot be compared; readings are rare if the driver is slow.
    first, last = (samples[0][0], samples[-1][0]) if samples else (0.0, 0.0)
    ticks = [tick for tick in ticks if first <= tick[0] <= last]
    every = max(1, -(-(len(ticks) - 1) // STRETCHES))
    stretches = list(pairwise(ticks[::every]))
    read = [integral(samples, start, end) for (start, _), (end, _) in stretches]
    counted = [after - before for (_, before), (_, after) in stretches]
    if len(stretches) < 2 or min(read) <= 0 or min(counted) <= 0:
        return None
    ratios = [c / r for c, r in zip(counted, read, strict=True)]
    if max(ratios) > STEADY * min(ratios):
        return None
    seconds = stretches[-1][1][0] - stretches[0][0][0]
    watts = sum(read) / seconds
    return TwoPowers(sum(counted) / seconds, watts, EXPLAINED_SHARE * watts + EXPLAINED_WATTS)


def in_window(
    looks: Sequence[Look], started: float, period_seconds: float, *, sharp: bool
) -> TwoPowers | None:
    """Both powers in a window, from looks in it; None if it is too short to tell.

    The first part is left out: readings lag. `period_seconds` is the counter's; `sharp` is False
    if the readings are means of the last second.
    """
    lag = LAG_SECONDS if sharp else LAG_SECONDS + MEAN_SECONDS
    inside = [look for look in looks if look.seconds >= started + lag]
    seconds = inside[-1].seconds - inside[0].seconds if inside else 0.0
    if len(inside) < FEWEST_LOOKS or seconds < LEAST_SECONDS:
        return None
    watts = [look.watts for look in inside]
    read = integral([(look.seconds, look.watts) for look in inside]) / seconds
    if read <= 0:
        return None
    counted = (inside[-1].joules - inside[0].joules) / seconds
    # At either end the counter may be a tick behind that did not come, and readings by their lag.
    ends = (2 * period_seconds * max(watts) + lag * (max(watts) - min(watts))) / seconds
    chance = 2 * standard_deviation(watts) / sqrt(len(watts))
    explained = EXPLAINED_SHARE * read + EXPLAINED_WATTS + ends + chance
    return TwoPowers(counted, read, explained)


def integral(samples: Readings, start: float = float("-inf"), end: float = float("inf")) -> float:
    """Joules between two times; the power changes halfway between two samples."""
    joules = 0.0
    for (earlier, watts), (later, next_watts) in pairwise(samples):
        halfway = (earlier + later) / 2
        joules += watts * max(0.0, min(halfway, end) - max(earlier, start))
        joules += next_watts * max(0.0, min(later, end) - max(halfway, start))
    return joules
