"""What share of their time the processes of a run communicate."""

from __future__ import annotations

from statistics import median

from pytest_energy.errors import check_count
from pytest_energy.workloads.distributed import DistributedFineTuning


def communication_share(run: DistributedFineTuning, pairs: int = 3) -> float:
    """The share of a window's time that goes away if no gradients are exchanged.

    The median of `pairs` of windows, one with and one without. What is hidden behind
    computation is no part of it, waiting for the slowest rank is. Noise may make it negative.
    """
    check_count("pairs", pairs)
    shares = []
    for index in range(pairs):
        # ABBA: what drifts with time weighs on both sides alike.
        order = (True, False) if index % 2 == 0 else (False, True)
        seconds = {
            exchange: (run.window() if exchange else run.window_without_exchange()).seconds
            for exchange in order
        }
        shares.append(1 - seconds[False] / seconds[True])
    return median(shares)
