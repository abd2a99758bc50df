"""The power over a window as a few points, from what a meter sampled anyway; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from pytest_energy.meters.protocol import PowerTrace

MOST_POINTS = 120
"""Points that a window keeps of each domain: what a plot can show, and no file grows by."""


def power_trace(samples: Iterable[tuple[float, float]], started: float, ended: float) -> PowerTrace:
    """Samples (time in s, W) between two times, as (s since the first, W), thinned evenly."""
    inside = [(at, watts) for at, watts in samples if started <= at <= ended]
    every = -(-len(inside) // MOST_POINTS) or 1
    return tuple((round(at - started, 4), round(watts, 3)) for at, watts in inside[::every])


def mean_powers(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The mean power (W) between points (time in s, cumulative J), each halfway between two."""
    return [
        ((earlier + later) / 2, (after - before) / (later - earlier))
        for (earlier, before), (later, after) in pairwise(curve)
        if later > earlier
    ]
