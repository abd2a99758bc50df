"""The verdict on one figure, and the sentence in which a person reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_energy.units import FRACTION, difference, quantity

Outcome = Literal["within", "regression", "improvement", "inconclusive", "invalid", "missing"]

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
THE_BASE = "the base"
"""The other side of pairs; nothing is stored of it, so that there is nothing to update."""
RECORD = "on an idle machine record one with `--energy-update=new`"


@dataclass(frozen=True)
class Evidence:
    """How much the windows say: log likelihood ratio of `detect` against `tolerance`.

    At `fails_at` or more the figure has changed, at `passes_at` or less it has not.
    """

    log_likelihood_ratio: float
    fails_at: float
    passes_at: float


@dataclass(frozen=True)
class TracePoint:
    """A gate after so many windows (or pairs): the change so far, and where it would be decided.

    All as `Verdict.change` is. Inside `within` (low, high) the figure has not changed, outside
    `changed` it has; None where the gate could not say so yet.
    """

    windows: int
    change: float
    within: tuple[float, float] | None = None
    changed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Verdict:
    """What the gate decided of one figure, and why.

    `value`, `baseline`, `windows` and `reference_windows` (the base's side of pairs) are in
    `unit`. `change`, the 95 % `interval`, `tolerance`, `detect` and `drift` (second window of a
    pair against the first) are relative; of a `fraction` such as savings they are differences.
    `path` is the log likelihood ratio after each window, the larger of the two sides; `trace` is
    the same as a person reads it.
    """

    outcome: Outcome
    reason: str
    tolerance: float
    detect: float
    metric: str | None = None
    id: str | None = None
    unit: str = "J/token"
    value: float | None = None
    baseline: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    windows: tuple[float, ...] = ()
    reference_windows: tuple[float, ...] = ()
    evidence: Evidence | None = None
    path: tuple[float, ...] = ()
    trace: tuple[TracePoint, ...] = ()
    drift: float | None = None


@dataclass(frozen=True)
class Subject:
    """What a sentence is about: `metric` and `id` may be left out; `against` is the other side."""

    metric: str | None
    id: str | None
    unit: str
    against: str
    counted: str
    tolerance: float
    detect: float

    def name(self) -> str:
        """`id` and metric, as far as they are known, as the beginning of a sentence."""
        parts = [f"`{self.id}`" if self.id else "", self.metric or ""]
        return " ".join(part for part in parts if part)

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
    name = subject.name()
    figure = quantity(value, subject.unit)
    if subject.unit == FRACTION:
        figure += " saved"
    return (
        f"{name}{': ' if name else ''}{figure} against {quantity(baseline, subject.unit)} of "
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


def no_baseline(subject: Subject) -> str:
    """The whole sentence of `missing`."""
    name = subject.name()
    return f"{name + ' has' if name else 'there is'} no baseline to compare with: {RECORD}."


def refused(subject: Subject, reason: str, remedy: str) -> str:
    """The whole sentence where no change can be stated, such as `invalid`."""
    name = subject.name()
    return f"{name}{': ' if name else ''}{reason}; {remedy}."
