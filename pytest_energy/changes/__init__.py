"""Changes of level in a series of noisy values, found as they would have been session by session.

The series is replayed: after each value the segment since the last change is split in two, and a
change is called where the means of both parts differ by more than noise explains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from pytest_energy.changes.segment import Noise, Segment
from pytest_energy.changes.settle import settled

THRESHOLD = 4.6
"""Of the statistic; one series of 365 values of pure noise passes it in 2 to 6 % of years."""


def threshold(of: int) -> float:
    """What the statistic must pass where `of` series share one budget of false alarms."""
    return math.sqrt(THRESHOLD**2 + 2.0 * math.log(max(1, of)))


def find_changes(values: Sequence[float], of: int = 1) -> list[int]:
    """Indices at which a new level begins; `values` on the scale on which noise is even."""
    limit = threshold(of)
    return settled(values, list(replay(values, limit)), limit)


def replay(values: Iterable[float], limit: float) -> Iterator[int]:
    """Changes as they are found, one value after the other, before later ones date them anew."""
    start, segment = 0, Segment(Noise(0.0))
    for value in values:
        segment.add(value)
        cut = segment.split(limit)
        if cut is not None:
            start += cut
            yield start
            segment = segment.after(cut)
