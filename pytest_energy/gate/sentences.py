"""The sentences of a verdict, and of what a baseline can resolve; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pytest_energy.gate import Verdict
from pytest_energy.outcomes import Outcome
from pytest_energy.stats.distributions import relative
from pytest_energy.stats.noise import (
    ASSUMED_BETWEEN,
    LEAST_DEGREES,
    PairStats,
    Pooled,
    Session,
    Spread,
    spread,
)
from pytest_energy.units import FRACTION, difference, percent, quantity

LOCK_IN = (
    "record it as the new baseline (`--energy-update=replace`), or let improvements pass with "
    "`--energy-improvement=pass`"
)
SETTLE = "settle it by A/B in one session with `--energy-settle=auto`"
QUIETER_OR_MORE = (
    "make the device quieter, give a window more work (`--energy-tokens` if `finetune` prepares "
    "it), or raise `--energy-max-windows`"
)
RAISED = "`--energy-detect`"
RECORD_ANEW = "record anew with `--energy-update=replace`"
RECORD_AGAIN = "and record again"
LOAD_IT = "load the device for some minutes"
QUIETER = "stop other work on the device, let it warm up, and run again"
THE_BASELINE = "the baseline"
THE_BASE = "the base"
"""The other side of pairs; nothing is stored of it, so that there is nothing to update."""
_ADVICE: Mapping[tuple[Outcome, bool], str] = {
    ("improvement", False): LOCK_IN,
    ("improvement", True): "nothing to do",
    ("regression", False): "undo what costs it, or accept it with `--energy-update=replace`",
    ("regression", True): (
        "undo what costs it, or raise `--energy-tolerance` for this change if it is meant: once "
        "merged, it is part of the base"
    ),
}
"""By outcome, and whether it is against the base."""


def sentence(verdict: Verdict, against: str, counted: str, cause: str, remedy: str) -> str:
    """The whole sentence of a verdict: what was found `against` whom, and what there is to do.

    `counted` says what its windows are. `cause` and `remedy` say why it decides nothing and what
    settles that; they count if it is `inconclusive` or `invalid`.
    """
    if verdict.outcome == "missing":
        return (
            "there is no baseline to compare with: on an idle machine record one with "
            "`--energy-update=new`."
        )
    if verdict.outcome == "invalid" or verdict.interval is None:
        return f"{cause}; {remedy}."
    found = facts(verdict, against, counted)
    allowed = difference(verdict.tolerance, verdict.unit, signed=False)
    detect = difference(verdict.detect, verdict.unit, signed=False)
    if verdict.outcome == "inconclusive":
        return f"{found}, {_open(verdict, verdict.interval, allowed, detect)}: {cause}; {remedy}."
    if verdict.outcome == "within" and abs(verdict.change or 0.0) <= verdict.tolerance:
        return f"{found}, is within the tolerance of {allowed}: nothing to do."
    if verdict.outcome == "within":
        return (
            f"{found}, is nearer to the tolerance of {allowed} than to the {detect} that must be "
            f"caught: nothing to do."
        )
    kind = "an improvement" if verdict.outcome == "improvement" else "a regression"
    advice = _ADVICE[verdict.outcome, against == THE_BASE]
    return f"{found}, is {kind} beyond the tolerance of {allowed}. {advice[0].upper()}{advice[1:]}."


def compared(
    value: float, baseline: float, change: float, interval: tuple[float, float] | None, unit: str
) -> str:
    """A change in a few words: both figures, the change and its interval."""
    around = "" if interval is None else f" (95 % interval {_between(interval, unit)})"
    figures = f"{quantity(value, unit)} against {quantity(baseline, unit)}"
    return f"{figures}, {difference(change, unit)}{around}"


def _between(interval: tuple[float, float], unit: str) -> str:
    low, high = (difference(edge, unit) for edge in interval)
    return f"{low.removesuffix(' points')} to {high}"


def _open(verdict: Verdict, interval: tuple[float, float], allowed: str, detect: str) -> str:
    """What a change that is not decided may be, as its interval has it."""
    low, high = interval
    least = max(low, -high, 0.0)
    small, large = least <= verdict.tolerance, max(-low, high) >= verdict.detect
    if small and large:
        return f"may be within the tolerance of {allowed} or a change of {detect} or more"
    if large:
        return f"is beyond the tolerance of {allowed}, but not surely enough for a verdict"
    if small:
        return f"is less than the {detect} that must be caught, but not surely enough to pass"
    return f"lies between the tolerance of {allowed} and the {detect} that must be caught"


def facts(verdict: Verdict, against: str, counted: str) -> str:
    """What a verdict found `against` whom, without what follows; empty if it found nothing."""
    unit = verdict.unit
    if verdict.interval is None:
        return ""
    saved = " saved" if unit == FRACTION else ""
    return (
        f"{quantity(verdict.value or 0.0, unit)}{saved} against "
        f"{quantity(verdict.baseline or 0.0, unit)} of {against}, "
        f"{difference(verdict.change or 0.0, unit)} (95 % interval "
        f"{_between(verdict.interval, unit)}, {len(verdict.windows)} {counted})"
    )


def not_enough(count: int, counted: str, noise: str) -> str:
    """Why the most windows or pairs that are allowed decided nothing."""
    return f"{count} {counted}, the most allowed, were not enough {noise}"


def rounded(noise: float) -> str:
    """A relative SD in per cent, to a hundredth."""
    return percent(round(noise, 4))


_GAP_FACTOR = 3.55  # 4.2 between-session standard deviations with the tails of 8 sessions
_MOST_SESSIONS = 30

LEAST_DAYS = 3
"""Days below which a baseline of more sessions says little of how days differ."""


def smallest_gap(
    sessions: Sequence[Session],
    pooled: Pooled | None = None,
    tolerance: float = 0.0,
) -> float:
    """Smallest gap between tolerance and detect that one session can resolve, in their unit.

    About 4.2 between-session standard deviations times sqrt(1 + 1/S) for 8 sessions, more for
    fewer. Relative; for savings points of the saved fraction above `tolerance`.
    """
    known = spread(sessions, pooled=pooled)
    return _in_levels(sessions, known, tolerance) * gap_of(known.between)


def gap_of(between: float) -> float:
    """The gap resolved if this variance (B, log scale) stays, relative."""
    return relative(_GAP_FACTOR * math.sqrt(between))


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
    asked_for = f"`detect` {far} is {gap} above `tolerance` {near}, but {spread_in_words(known)}"
    more = more_sessions(known, asked / scale)
    if known.assumed:  # how large a gap it resolves is not known either
        return f"{asked_for}: {more}or settle it with `--energy-settle=auto`"
    return (
        f"{asked_for}: one session resolves {told}; {more}raise `detect` to {up}, or settle it "
        "with `--energy-settle=auto`"
    )


def wider_levels(known: Spread, tolerance: float, detect: float) -> str:
    """The advice to ask for what one session resolves; empty if it does, or if nobody knows."""
    held = gap_of(known.between)
    if known.assumed or held <= detect - tolerance:
        return ""
    return f"raise {RAISED} to {math.ceil(100 * (tolerance + held))} (percent), "


def _in_levels(sessions: Sequence[Session], known: Spread, tolerance: float) -> float:
    """What a gap of the logarithms' is in the unit of the levels: points are of what is spent."""
    return math.exp(known.centre) + tolerance if isinstance(sessions[0], PairStats) else 1.0


def spread_in_words(known: Spread) -> str:
    """How many sessions there are and by how much they differ."""
    count = f"{known.sessions} session{'' if known.sessions == 1 else 's'}"
    if not known.device_known:
        return "no session of the baseline is from this device, and devices differ"
    if known.days < min(known.sessions, LEAST_DAYS):
        of = "one day" if known.days == 1 else f"{known.days} days"
        return (
            f"{count} of {of} cannot say how days differ, which is taken to be "
            f"{rounded(ASSUMED_BETWEEN)}"
        )
    if known.assumed:
        return f"{count} cannot say how sessions differ"
    return f"the baseline's {count} differ by {rounded(math.sqrt(known.tau2))}"


def more_sessions(known: Spread, gap: float) -> str:
    """The advice to record sessions until a relative gap is resolved; empty if none would do."""
    if not known.device_known:
        return "record a session on this device with `--energy-update=append`, "
    if known.assumed:
        count = max(1, int(LEAST_DEGREES) + 1 - known.days)
    else:
        counts = range(1, _MOST_SESSIONS - known.days + 1)
        count = next((more for more in counts if gap_of(known.between_with(more)) <= gap), 0)
    days = " on other days" if known.assumed or known.days < known.sessions else ""
    return f"record {count} more{days} with `--energy-update=append`, " if count else ""
