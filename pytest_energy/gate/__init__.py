"""What a gate decides: a verdict and its way there; pure."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_energy.outcomes import Outcome


@dataclass(frozen=True)
class TracePoint:
    """A gate after so many windows (or pairs): the change so far, and where it would be decided.

    All as `Verdict.change` is. Inside `within` (low, high) the figure has not changed, outside
    `changed` it has; None if the gate could not say so yet.
    """

    windows: int
    change: float
    within: tuple[float, float] | None = None
    changed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Verdict:
    """What the gate decided of one figure, and why.

    `value`, `baseline` and `windows` are in `unit`. `change`, the 95 % `interval`, `tolerance`,
    `detect` and `drift` (second window of a pair against the first) are relative; of a `fraction`
    such as savings they are differences. `trace` is how the gate came to it, window by window.
    """

    outcome: Outcome
    reason: str
    tolerance: float
    detect: float
    unit: str = "J/token"
    value: float | None = None
    baseline: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    windows: tuple[float, ...] = ()
    trace: tuple[TracePoint, ...] = ()
    drift: float | None = None
    facts: str = ""
    """What was found, without what follows from it."""
