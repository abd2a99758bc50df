"""After a change: passes of both sides in turn under torch's profiler, and what carries it."""

from __future__ import annotations

from pytest_energy.ab.rounds import BASE, HEAD, SidePair
from pytest_energy.gate.carriers import ProfileChange, compared
from pytest_energy.metering.profile import Profile

_IN_TURN = (BASE, HEAD, HEAD, BASE, BASE, HEAD)


def profile_change(sides: SidePair, run: int, change: float) -> ProfileChange | None:
    """What carries the `change` (relative) of a run; None if a side computes nothing by torch.

    Of each side's passes the fastest counts: what disturbs a pass only makes it slower. Raises
    `EnergyError` if a side cannot go on.
    """
    found: tuple[list[Profile], list[Profile]] = ([], [])
    # Where one process lives at a time, each begins once.
    for side in sorted(_IN_TURN) if sides.turns is not None else _IN_TURN:
        profile = sides.profile(side, run)
        if profile is None:
            return None
        found[side].append(profile)
    base, head = (min(each, key=lambda profile: profile.seconds) for each in found)
    return compared(base, head, change)
