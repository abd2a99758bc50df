"""The sentences in which a person reads a verdict; pure."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_energy.gate import Verdict
from pytest_energy.outcomes import Outcome
from pytest_energy.units import FRACTION, difference, percent, quantity

ACCEPT = "accept it with `--energy-update=replace`"
LOCK_IN = (
    "lock it in with `--energy-update=replace`, or let improvements pass with "
    "`--energy-improvement=pass`"
)
SETTLE = "settle it by A/B in one session with `--energy-settle=auto`"
QUIETER_OR_MORE = (
    "quieten the device, give a window more work (`--energy-tokens` where `finetune` prepares it), "
    "or raise `--energy-max-windows`"
)
QUIETER = "stop other work on the device, let it warm up, and run again"
THE_BASELINE = "the baseline"
THE_BASE = "the base"
"""The other side of pairs; nothing is stored of it, so that there is nothing to update."""
RECORD = "on an idle machine record one with `--energy-update=new`"
NO_BASELINE = f"there is no baseline to compare with: {RECORD}."
"""The whole sentence of `missing`."""
_ADVICE: Mapping[tuple[Outcome, bool], str] = {
    ("improvement", False): LOCK_IN,
    ("improvement", True): "nothing to do",
    ("regression", False): f"undo what costs it, or {ACCEPT}",
    ("regression", True): "undo what costs it, or raise `--energy-tolerance`",
}
"""By outcome, and whether it is against the base."""


def sentence(verdict: Verdict, against: str, counted: str, cause: str, remedy: str) -> str:
    """The whole sentence of a verdict: what was found `against` whom, and what there is to do.

    `counted` says what its windows are. `cause` and `remedy` say why it decides nothing and what
    settles that; they count if it is `inconclusive` or `invalid`.
    """
    if verdict.outcome == "missing":
        return NO_BASELINE
    if verdict.outcome == "invalid" or verdict.interval is None:
        return f"{cause}; {remedy}."
    facts = _facts(verdict, against, counted, verdict.interval)
    allowed = difference(verdict.tolerance, verdict.unit, signed=False)
    detect = difference(verdict.detect, verdict.unit, signed=False)
    if verdict.outcome == "inconclusive":
        return (
            f"{facts}, may be within the tolerance of {allowed} or a change of {detect} or more: "
            f"{cause}; {remedy}."
        )
    if verdict.outcome == "within" and abs(verdict.change or 0.0) <= verdict.tolerance:
        return f"{facts}, is within the tolerance of {allowed}: nothing to do."
    if verdict.outcome == "within":
        return (
            f"{facts}, is nearer to the tolerance of {allowed} than to the {detect} that must be "
            f"caught: nothing to do."
        )
    kind = "an improvement" if verdict.outcome == "improvement" else "a regression"
    advice = _ADVICE[verdict.outcome, against == THE_BASE]
    return f"{facts}, is {kind} beyond the tolerance of {allowed}: {advice}."


def _facts(verdict: Verdict, against: str, counted: str, interval: tuple[float, float]) -> str:
    """The part that all decided sentences share: value, baseline, change, interval, windows."""
    unit = verdict.unit
    low, high = (difference(edge, unit) for edge in interval)
    saved = " saved" if unit == FRACTION else ""
    return (
        f"{quantity(verdict.value or 0.0, unit)}{saved} against "
        f"{quantity(verdict.baseline or 0.0, unit)} of {against}, "
        f"{difference(verdict.change or 0.0, unit)} (95 % interval "
        f"{low.removesuffix(' points')} to {high}, {len(verdict.windows)} {counted})"
    )


def noisier(count: int, counted: str, noise: float, usual: float) -> str:
    """Why windows cannot be believed that vary more (relative SD) than the baseline's do."""
    return (
        f"noisier than the baseline: {count} {counted} vary by {rounded(noise)}, the baseline's by "
        f"{rounded(usual)}"
    )


def not_enough(count: int, counted: str, noise: str) -> str:
    """Why the most windows or pairs that are allowed decided nothing."""
    return f"{count} {counted}, the most allowed, were not enough {noise}"


def rounded(noise: float) -> str:
    """A relative SD in per cent, to a hundredth."""
    return percent(round(noise, 4))
