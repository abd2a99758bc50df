"""What a baseline can resolve, and how many more sessions would let it resolve what is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_energy.gate.sentences import rounded
from pytest_energy.stats.distributions import relative
from pytest_energy.stats.noise import LEAST_DEGREES, PairStats, Pooled, Session, Spread, spread
from pytest_energy.units import FRACTION, difference

_GAP_FACTOR = 3.55  # 4.2 between-session standard deviations with the tails of 8 sessions
_MOST_SESSIONS = 30


def smallest_gap(
    sessions: Sequence[Session],
    pooled: Pooled | None = None,
    device: str | None = None,
    tolerance: float = 0.0,
) -> float:
    """Smallest gap between tolerance and detect that one session can resolve, in their unit.

    About 4.2 between-session standard deviations times sqrt(1 + 1/S) for 8 sessions, more for
    fewer. Relative; for savings points of the saved fraction above `tolerance`.
    """
    known = spread(sessions, pooled=pooled, device=device)
    return _in_levels(sessions, known, tolerance) * gap_of(known.between)


def gap_of(between: float) -> float:
    """The gap resolved if this variance (B, log scale) stays, relative."""
    return relative(_GAP_FACTOR * math.sqrt(between))


def sessions_to_record(spread: Spread, gap: float) -> int | None:
    """How many more sessions resolve a relative gap, or None if no number does."""
    if spread.assumed:
        return max(1, int(LEAST_DEGREES) + 1 - spread.sessions)
    for more in range(1, _MOST_SESSIONS - spread.sessions + 1):
        if gap_of(spread.between_with(more)) <= gap:
            return more
    return None


def gap_warning(
    sessions: Sequence[Session],
    tolerance: float,
    detect: float,
    pooled: Pooled | None = None,
    device: str | None = None,
) -> str | None:
    """A sentence if tolerance and detect are closer than the baseline resolves, else None."""
    known = spread(sessions, pooled=pooled, device=device)
    scale = _in_levels(sessions, known, tolerance)
    asked, held = detect - tolerance, scale * gap_of(known.between)
    if held <= asked:
        return None
    # Rounded up, so that following the advice silences the warning.
    enough = math.ceil(1000 * (tolerance + held)) / 1000
    unit = FRACTION if isinstance(sessions[0], PairStats) else ""
    far, gap, near, told, up = (
        difference(level, unit, signed=False) for level in (detect, asked, tolerance, held, enough)
    )
    return (
        f"`detect` {far} is {gap} above `tolerance` {near}, but {spread_in_words(known)}: one "
        f"session resolves {told}; {more_sessions(known, asked / scale)}raise `detect` to {up}, "
        f"or settle it with `--energy-settle=auto`"
    )


def _in_levels(sessions: Sequence[Session], known: Spread, tolerance: float) -> float:
    """What a gap of the logarithms' is in the unit of the levels: points are of what is spent."""
    return math.exp(known.centre) + tolerance if isinstance(sessions[0], PairStats) else 1.0


def spread_in_words(known: Spread) -> str:
    """How many sessions there are and by how much they differ."""
    count = f"{known.sessions} session{'' if known.sessions == 1 else 's'}"
    if not known.device_known:
        return "no session of the baseline is from this device, and devices differ"
    if known.assumed:
        return f"{count} cannot say how sessions differ"
    return f"the baseline's {count} differ by {rounded(math.sqrt(known.tau2))}"


def more_sessions(known: Spread, gap: float) -> str:
    """The advice to record sessions, if it helps, as the beginning of a list."""
    if not known.device_known:
        return "record a session on this device with `--energy-update=append`, "
    count = sessions_to_record(known, gap)
    if count is None:
        return ""
    return f"record {count} more with `--energy-update=append`, "
