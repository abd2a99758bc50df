"""What all gates share: values in, evidence kept, one verdict out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from pytest_energy.errors import EnergyError
from pytest_energy.sequential import LEAST_VALUES, Levels, Look
from pytest_energy.statistics import relative
from pytest_energy.verdict import (
    Evidence,
    Outcome,
    Subject,
    TracePoint,
    Verdict,
    decided,
    measured,
    no_baseline,
    refused,
    undecided,
)

_COVERAGE = 1.959964  # standard deviations either side of a 95 % interval
_QUIETER = "stop other work on the device, let it warm up, and run again"


@dataclass(frozen=True)
class Figures:
    """What has been measured so far, in the unit that is shown."""

    value: float
    baseline: float | None
    windows: tuple[float, ...]
    reference_windows: tuple[float, ...] = ()
    drift: float | None = None


class Gate(ABC):
    """A sequential test on the logarithms of what is added; `verdict` is None until it is over."""

    def __init__(self, levels: Levels, subject: Subject, most: int) -> None:
        if most < LEAST_VALUES:
            raise EnergyError(
                f"`max_windows` is {most}, but nothing is decided before {LEAST_VALUES}; raise it"
            )
        self._levels = levels
        self._subject = subject
        self._most = most
        self._logs: list[float] = []
        self._path: list[float] = []
        self._trace: list[TracePoint] = []
        self.verdict: Verdict | None = None

    def stop(self, reason: str) -> Verdict:
        """End as `inconclusive` before the gate is sure; `reason` says why no more follows."""
        return self._end("inconclusive", reason, self._remedy())

    def invalidate(self, reason: str) -> Verdict:
        """End as `invalid`; `reason` says why the windows cannot be believed."""
        return self._end("invalid", reason, _QUIETER)

    @abstractmethod
    def _look(self) -> Look | None:
        """The test on the values so far (at least one); None without a baseline."""

    @abstractmethod
    def _figures(self) -> Figures:
        """The values so far, of which there is at least one."""

    @abstractmethod
    def _cause(self, look: Look) -> str:
        """Why the values so far decide nothing, where no more are asked for."""

    @abstractmethod
    def _remedy(self) -> str:
        """What settles an open verdict."""

    def _changed(self, log_change: float) -> float:
        """A change on the log scale as it is shown."""
        return relative(log_change)

    def _logarithm(self, name: str, value: float) -> float:
        if self.verdict is not None:
            raise EnergyError(
                f"`add` came after the verdict `{self.verdict.outcome}`; make a new gate"
            )
        if not (math.isfinite(value) and value > 0):
            raise EnergyError(
                f"`{name}` is {value}, but energy is positive and finite; drop invalid windows "
                f"before they reach the gate"
            )
        return math.log(value)

    def _observe(self, log: float) -> Verdict | None:
        self._logs.append(log)
        look = self._look()
        if look is None:
            return self._conclude("missing", no_baseline(self._subject), None)
        self._path.append(look.evidence)
        self._trace.append(self._traced(look))
        if look.outcome is None:
            return None
        if look.outcome == "invalid":
            return self._conclude("invalid", self._refused(self._cause(look), _QUIETER), look)
        if look.outcome == "inconclusive":
            text = undecided(self._subject, self._facts(look), self._cause(look), self._remedy())
            return self._conclude("inconclusive", text, look)
        change = self._changed(look.change)
        text = decided(look.outcome, self._subject, self._facts(look), change)
        return self._conclude(look.outcome, text, look)

    def _end(self, outcome: Outcome, reason: str, remedy: str) -> Verdict:
        if self.verdict is not None:
            raise EnergyError(f"the verdict is `{self.verdict.outcome}` already; make a new gate")
        look = self._look() if self._logs else None
        if look is None or not math.isfinite(look.variance):
            return self._conclude(outcome, self._refused(reason, remedy), None)
        if outcome == "invalid":
            return self._conclude(outcome, self._refused(reason, remedy), look)
        text = undecided(self._subject, self._facts(look), reason, remedy)
        return self._conclude(outcome, text, look)

    def _refused(self, reason: str, remedy: str) -> str:
        return refused(self._subject, reason, remedy)

    def _facts(self, look: Look) -> str:
        figures = self._figures()
        assert figures.baseline is not None
        return measured(
            self._subject,
            figures.value,
            figures.baseline,
            self._changed(look.change),
            self._interval(look),
            len(self._logs),
        )

    def _traced(self, look: Look) -> TracePoint:
        count, change = len(self._logs), self._changed(look.change)
        if count < LEAST_VALUES or not math.isfinite(look.variance):
            return TracePoint(count, change)
        within, changed = self._levels.edges(look.variance, look.height)
        inner = None if within is None else self._either_way(within)
        return TracePoint(count, change, inner, self._either_way(changed))

    def _either_way(self, log_change: float) -> tuple[float, float]:
        low, high = sorted(self._changed(side * log_change) for side in (-1, 1))
        return low, high

    def _interval(self, look: Look) -> tuple[float, float]:
        half = _COVERAGE * math.sqrt(look.variance)
        low, high = sorted(self._changed(look.change + side * half) for side in (-1, 1))
        return low, high

    def _conclude(self, outcome: Outcome, reason: str, look: Look | None) -> Verdict:
        figures = self._figures() if self._logs else None
        levels, subject = self._levels, self._subject
        self.verdict = Verdict(
            outcome=outcome,
            reason=reason,
            tolerance=subject.tolerance,
            detect=subject.detect,
            metric=subject.metric,
            id=subject.id,
            unit=subject.unit,
            value=figures.value if figures else None,
            baseline=figures.baseline if figures else None,
            change=self._changed(look.change) if look else None,
            interval=self._interval(look) if look else None,
            windows=figures.windows if figures else (),
            reference_windows=figures.reference_windows if figures else (),
            evidence=Evidence(look.evidence, levels.fails_at, levels.passes_at) if look else None,
            path=tuple(self._path),
            trace=tuple(self._trace),
            drift=figures.drift if figures else None,
        )
        return self.verdict
