"""The sentences in which a person reads a verdict; pure."""

from __future__ import annotations

from dataclasses import dataclass

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
THE_BASE = "the base"
"""The other side of pairs; nothing is stored of it, so that there is nothing to update."""
RECORD = "on an idle machine record one with `--energy-update=new`"
NO_BASELINE = f"there is no baseline to compare with: {RECORD}."
"""The whole sentence of `missing`."""


@dataclass(frozen=True)
class Subject:
    """What a sentence is about: the figure's unit, its other side, what is counted, the levels."""

    unit: str
    against: str
    counted: str
    tolerance: float
    detect: float

    def allowed(self) -> str:
        """The tolerance in words."""
        return difference(self.tolerance, self.unit, signed=False)


def measured(
    subject: Subject,
    value: float,
    baseline: float,
    change: float,
    interval: tuple[float, float],
    count: int,
) -> str:
    """The part that all decided sentences share: value, baseline, change, interval, windows."""
    low, high = (difference(edge, subject.unit) for edge in interval)
    figure = quantity(value, subject.unit)
    if subject.unit == FRACTION:
        figure += " saved"
    return (
        f"{figure} against {quantity(baseline, subject.unit)} of "
        f"{subject.against}, {difference(change, subject.unit)} "
        f"(95 % interval {low.removesuffix(' points')} to {high}, "
        f"{count} {subject.counted})"
    )


def decided(outcome: Outcome, subject: Subject, facts: str, change: float) -> str:
    """The whole sentence of `within`, `regression` or `improvement`."""
    if outcome == "within" and abs(change) <= subject.tolerance:
        return f"{facts}, is within the tolerance of {subject.allowed()}: nothing to do."
    if outcome == "within":
        detect = difference(subject.detect, subject.unit, signed=False)
        return (
            f"{facts}, is nearer to the tolerance of {subject.allowed()} than to the {detect} "
            f"that must be caught: nothing to do."
        )
    advice = _advice(outcome, subject)
    kind = "an improvement" if outcome == "improvement" else "a regression"
    return f"{facts}, is {kind} beyond the tolerance of {subject.allowed()}: {advice}."


def _advice(outcome: Outcome, subject: Subject) -> str:
    if subject.against == THE_BASE:
        kept = "nothing to do" if outcome == "improvement" else "undo what costs it"
        return kept if outcome == "improvement" else f"{kept}, or raise `--energy-tolerance`"
    return LOCK_IN if outcome == "improvement" else f"undo what costs it, or {ACCEPT}"


def undecided(subject: Subject, facts: str, cause: str, remedy: str) -> str:
    """The whole sentence of `inconclusive`: what it may be, why it is open, what settles it."""
    detect = difference(subject.detect, subject.unit, signed=False)
    return (
        f"{facts}, may be within the tolerance of {subject.allowed()} or a change of {detect} or "
        f"more: {cause}; {remedy}."
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
