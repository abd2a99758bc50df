"""Whether a device has warmed up: when J/token has stopped moving in one direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

STEADY = 0.01
"""Relative step between windows below which they count as equal; sensors repeat no better."""


def is_stationary(values: Sequence[float]) -> bool:
    """Whether warm-up windows, oldest first, have become steady in J/token.

    They have when the last two differ by at most 1 % and the last three do not climb or fall by
    more than that together, or when the last three turn back: noise does, warming up does not.
    One value never suffices.
    """
    if len(values) < 2:
        return False
    logs = [math.log(value) for value in values[-3:]]
    steps = [after - before for before, after in pairwise(logs)]
    if len(steps) == 2 and steps[0] * steps[1] < 0:
        return True
    return abs(steps[-1]) <= STEADY and abs(sum(steps)) <= STEADY
