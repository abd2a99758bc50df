"""What all gates share: values in, evidence kept, one verdict out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_energy.errors import EnergyError
from pytest_energy.gate import Evidence, TracePoint, Verdict
from pytest_energy.gate.resolution import (
    gap_of,
    more_sessions,
    spread_in_words,
)
from pytest_energy.gate.sentences import (
    QUIETER_OR_MORE,
    SETTLE,
    THE_BASE,
    Subject,
    decided,
    measured,
    no_baseline,
    refused,
    undecided,
)
from pytest_energy.outcomes import Outcome
from pytest_energy.stats.distributions import relative
from pytest_energy.stats.noise import PairStats, Pooled, Session, SessionStats, spread
from pytest_energy.stats.sequential import (
    LEAST_VALUES,
    Levels,
    Look,
    look_at_pairs,
    look_at_session,
    pair_drift,
)
from pytest_energy.units import FRACTION, percent

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


class _AgainstBaseline(Gate):
    """A gate that compares a session with the sessions of a baseline."""

    def __init__(
        self,
        sessions: Sequence[Session],
        levels: Levels,
        subject: Subject,
        most: int,
        device: str | None,
        pooled: Pooled | None,
        local: bool,
    ) -> None:
        super().__init__(levels, subject, most)
        self._local = local
        self._spread = spread(sessions, pooled=pooled, device=device) if sessions else None

    def _look(self) -> Look | None:
        if self._spread is None:
            return None
        return look_at_session(self._logs, self._spread, self._levels, self._most)

    def _cause(self, look: Look) -> str:
        assert self._spread is not None
        usual = percent(round(math.sqrt(self._spread.sw2), 4))
        if look.outcome == "invalid":
            noise = percent(round(look.noise or 0.0, 4))
            return (
                f"noisier than the baseline: {len(self._logs)} {self._subject.counted} vary by "
                f"{noise}, the baseline's by {usual}"
            )
        if look.exhausted or self._spread.assumed:
            return f"{spread_in_words(self._spread)}, so more {self._subject.counted} cannot decide"
        return (
            f"{len(self._logs)} {self._subject.counted}, the most allowed, were not enough at a "
            f"noise of {usual}"
        )

    def _remedy(self) -> str:
        settle = "record it again on a quieter device" if self._subject.unit == FRACTION else SETTLE
        if self._spread is None:
            return settle
        if self._local:
            return f"run it again, so that this machine's own baseline learns more, or {settle}"
        gap = self._levels.caught - self._levels.allowed
        more = ""
        if self._spread.assumed or math.log1p(gap_of(self._spread.between)) > gap:
            more = more_sessions(self._spread, relative(gap))
        return f"{more}{'or ' if more else ''}{settle}"


class SequentialGate(_AgainstBaseline):
    """One session's windows against a baseline of sessions: a sequential likelihood ratio test.

    `tolerance` is allowed, `detect` must be caught, both relative; `alpha` and `beta` are the
    rates at which changes as large as these may be failed and passed. Where pairs can settle what
    stays open, give half of each; K gates of one run take `alpha / K`. `device` is the UUID of
    this run's device, `pooled` what the file's other entries know, `local` whether the sessions are
    what a machine keeps for itself, so that each run may add one; `metric` and `id` only name
    the figure in sentences. Without sessions the first value ends as `missing`.
    """

    def __init__(
        self,
        sessions: Sequence[SessionStats],
        tolerance: float = 0.02,
        detect: float = 0.05,
        alpha: float = 0.01,
        beta: float = 0.03,
        max_windows: int = 30,
        *,
        device: str | None = None,
        pooled: Pooled | None = None,
        local: bool = False,
        metric: str | None = None,
        id: str | None = None,  # noqa: A002
        unit: str = "J/token",
    ) -> None:
        levels = Levels.of(tolerance, detect, alpha, beta)
        subject = Subject(metric, id, unit, "the baseline", "windows", tolerance, detect)
        super().__init__(sessions, levels, subject, max_windows, device, pooled, local)

    def add(self, joules_per_token: float) -> Verdict | None:
        """Take one window's energy, in `unit`; None asks for one more."""
        return self._observe(self._logarithm("joules_per_token", joules_per_token))

    def _figures(self) -> Figures:
        return Figures(
            value=math.exp(fmean(self._logs)),
            baseline=math.exp(self._spread.centre) if self._spread else None,
            windows=tuple(math.exp(log) for log in self._logs),
        )


class SavingsGate(_AgainstBaseline):
    """The saved fraction of interleaved pairs against a baseline of sessions of them.

    `tolerance` and `detect` are points of the saved fraction (0.01 is one point); a verdict's
    `change` and `interval` are such points as well, below zero where less is saved.
    """

    def __init__(
        self,
        sessions: Sequence[PairStats],
        tolerance: float = 0.01,
        detect: float = 0.03,
        alpha: float = 0.01,
        beta: float = 0.03,
        max_pairs: int = 30,
        *,
        device: str | None = None,
        pooled: Pooled | None = None,
        local: bool = False,
        metric: str | None = None,
        id: str | None = None,  # noqa: A002
    ) -> None:
        self._spent = 1.0
        if sessions:
            self._spent = math.exp(spread(sessions, pooled=pooled, device=device).centre)
        levels = Levels.of(tolerance, detect, alpha, beta, base=self._spent)
        subject = Subject(metric, id, FRACTION, "the baseline", "pairs", tolerance, detect)
        super().__init__(sessions, levels, subject, max_pairs, device, pooled, local)

    def add(self, bert_joules_per_token: float, distil_joules_per_token: float) -> Verdict | None:
        """Take one pair of windows, both in the same unit; None asks for one more pair."""
        base = self._logarithm("bert_joules_per_token", bert_joules_per_token)
        other = self._logarithm("distil_joules_per_token", distil_joules_per_token)
        return self._observe(other - base)

    def _changed(self, log_change: float) -> float:
        return -self._spent * relative(log_change)

    def _figures(self) -> Figures:
        return Figures(
            value=-math.expm1(fmean(self._logs)),
            baseline=1 - self._spent if self._spread else None,
            windows=tuple(-math.expm1(log) for log in self._logs),
        )


class PairedGate(Gate):
    """Interleaved windows of a base and a head in one session, where session noise cancels.

    With `sessions` the within-session variance starts from theirs; without, it is taken from the
    pairs alone, from 4 of them on and with the tails that so few deserve. Pairs are taken to be
    in the order ABBA: base first in the first, head first in the second, and so on.
    """

    def __init__(
        self,
        sessions: Sequence[SessionStats] | None = None,
        tolerance: float = 0.02,
        detect: float = 0.05,
        alpha: float = 0.01,
        beta: float = 0.03,
        max_pairs: int = 30,
        *,
        metric: str | None = None,
        id: str | None = None,  # noqa: A002
        unit: str = "J/token",
    ) -> None:
        levels = Levels.of(tolerance, detect, alpha, beta)
        subject = Subject(metric, id, unit, THE_BASE, "interleaved pairs", tolerance, detect)
        super().__init__(levels, subject, max_pairs)
        self._spread = spread(sessions) if sessions else None
        self._base: list[float] = []
        self._head: list[float] = []
        self._base_first: list[bool] = []

    def add(
        self,
        base_joules_per_token: float,
        head_joules_per_token: float,
        *,
        base_first: bool | None = None,
    ) -> Verdict | None:
        """Take one pair, both in `unit`; `base_first` says its order where it is not ABBA."""
        base = self._logarithm("base_joules_per_token", base_joules_per_token)
        head = self._logarithm("head_joules_per_token", head_joules_per_token)
        self._base.append(base)
        self._head.append(head)
        usual = len(self._base_first) % 2 == 0
        self._base_first.append(usual if base_first is None else base_first)
        return self._observe(head - base)

    def _look(self) -> Look:
        return look_at_pairs(self._logs, self._spread, self._levels, self._most)

    def _figures(self) -> Figures:
        drift = pair_drift(self._logs, self._base_first)
        return Figures(
            value=math.exp(fmean(self._head)),
            baseline=math.exp(fmean(self._base)),
            windows=tuple(math.exp(log) for log in self._head),
            reference_windows=tuple(math.exp(log) for log in self._base),
            drift=None if drift is None else math.expm1(drift),
        )

    def _cause(self, look: Look) -> str:
        return (
            f"{len(self._logs)} pairs, the most allowed, were not enough where they vary by "
            f"{percent(round(look.noise or 0.0, 4))}"
        )

    def _remedy(self) -> str:
        return QUIETER_OR_MORE
