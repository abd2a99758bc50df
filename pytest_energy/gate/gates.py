"""The gates: values in, evidence kept, one verdict out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, ClassVar

from pytest_energy.errors import EnergyError
from pytest_energy.gate import TracePoint, Verdict
from pytest_energy.gate.sentences import (
    QUIETER,
    QUIETER_OR_MORE,
    SETTLE,
    THE_BASE,
    THE_BASELINE,
    facts,
    gap_of,
    more_sessions,
    not_enough,
    rounded,
    sentence,
    spread_in_words,
    wider_levels,
)
from pytest_energy.outcomes import WORST_FIRST, Outcome
from pytest_energy.stats.distributions import relative
from pytest_energy.stats.noise import PairStats, Pooled, Session, SessionStats, Spread, spread
from pytest_energy.stats.sequential import (
    LEAST_VALUES,
    Look,
    SequentialTest,
    look_at_pairs,
    look_at_session,
)
from pytest_energy.units import FRACTION


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that counts of several on one figure: the worst, then the largest change."""
    return min(verdicts, key=lambda v: (WORST_FIRST.index(v.outcome), -abs(v.change or 0.0)))


class Gate(ABC):
    """A sequential test on the logarithms of what is added; `verdict` is None until it is over."""

    counted: ClassVar[str]
    """What its values are of, in the plural."""

    against: ClassVar[str] = THE_BASELINE
    """The other side, as a sentence calls it."""

    def __init__(self, spread: Spread | None, test: SequentialTest, most: int, unit: str) -> None:
        if most < LEAST_VALUES:
            raise EnergyError(
                f"`max_windows` is {most}, but nothing is decided before {LEAST_VALUES}; raise it"
            )
        self._spread, self._test, self._most, self._unit = spread, test, most, unit
        self._logs: list[float] = []
        self._trace: list[TracePoint] = []
        self.verdict: Verdict | None = None

    @abstractmethod
    def _look(self) -> Look | None:
        """The test on the values so far (at least one); None without a baseline."""

    @abstractmethod
    def _values(self, look: Look | None) -> dict[str, Any]:
        """The verdict's value, baseline and windows, by name; the change is between the first two.

        Both come of what the test was made on, so that they say what it says.
        """

    @abstractmethod
    def _cause(self, look: Look) -> str:
        """Why the values so far decide nothing, if no more are asked for."""

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
            self.verdict = self._decided("missing", None)
            return self.verdict
        self._trace.append(self._traced(look))
        if look.outcome is not None:
            self.verdict = self._decided(look.outcome, look)
        return self.verdict

    def _decided(self, outcome: Outcome, look: Look | None) -> Verdict:
        verdict = Verdict(
            outcome=outcome,
            reason="",
            tolerance=self._test.tolerance,
            detect=self._test.detect,
            unit=self._unit,
            change=self._changed(look.change) if look else None,
            interval=self._around(look.change, look.half_width) if look else None,
            trace=tuple(self._trace),
            **self._values(look),
        )
        cause = self._cause(look) if look else ""
        remedy = QUIETER if outcome == "invalid" else self._remedy()
        reason = sentence(verdict, self.against, self.counted, cause, remedy)
        return replace(verdict, reason=reason, facts=facts(verdict, self.against, self.counted))

    def _traced(self, look: Look) -> TracePoint:
        count, change = len(self._logs), self._changed(look.change)
        if math.isinf(look.changed):
            return TracePoint(count, change)
        inner = None if look.within is None else self._around(0.0, look.within)
        return TracePoint(count, change, inner, self._around(0.0, look.changed))

    def _around(self, log_change: float, half: float) -> tuple[float, float]:
        low, high = sorted(map(self._changed, (log_change - half, log_change + half)))
        return low, high


class _AgainstBaseline(Gate):
    """A gate that compares a session with the sessions of a baseline, if there are any."""

    _local = False

    def _look(self) -> Look | None:
        if self._spread is None:
            return None
        return look_at_session(self._logs, self._spread, self._test, self._most)

    def _level(self, look: Look | None) -> float:
        """The session's level on the log scale, as far from the baseline's as the change says."""
        if look is None:
            return fmean(self._logs)
        assert self._spread is not None
        return self._spread.centre + look.change

    def _cause(self, look: Look) -> str:
        assert self._spread is not None
        usual, counted = math.sqrt(self._spread.sw2), self.counted
        if look.noise is not None:
            return (
                f"noisier than the baseline: {len(self._logs)} {counted} vary by "
                f"{rounded(look.noise)}, the baseline's by {rounded(usual)}"
            )
        if look.exhausted or self._spread.assumed:
            return f"{spread_in_words(self._spread)}, so more {counted} cannot decide"
        return not_enough(len(self._logs), counted, f"at a noise of {rounded(usual)}")

    def _remedy(self) -> str:
        savings, known = self._unit == FRACTION, self._spread
        settle = "record it again on a quieter device" if savings else SETTLE
        if known is None:
            return settle
        levels = self._test.tolerance, self._test.detect
        wider = "" if savings else wider_levels(known, *levels)
        gap = relative(self._test.caught - self._test.allowed)
        if self._local:
            more = "run it again, so that this machine's own baseline learns more, "
        elif known.assumed or gap_of(known.between) > gap:
            more = more_sessions(known, gap)
        else:
            more = ""
        either = f"{more}{wider}"
        return f"{either}or {settle}" if either else settle


class SequentialGate(_AgainstBaseline):
    """One session's windows against a baseline of sessions: a sequential likelihood ratio test.

    `tolerance` is allowed, `detect` must be caught, both relative; `alpha` and `beta` are the
    rates at which changes as large as these may be failed and passed. If pairs can settle what
    stays open, give half of each and say `settled`: then a change that an outlying session may
    be is left to them. K gates of one run take `alpha / K`. `device` is the name of this run's
    device, `pooled` what the file's other entries know. `local` says whether the sessions are what
    a machine keeps for itself, so that each run may add one. Windows more than 4 SD of the
    baseline's from their median count as that far off. Without sessions the first value ends as
    `missing`.
    """

    counted = "windows"

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
        settled: bool = False,
        unit: str = "J/token",
    ) -> None:
        test = SequentialTest(tolerance, detect, alpha, beta)
        super().__init__(_known(sessions, pooled, device, settled), test, max_windows, unit)
        self._local = local

    def add(self, joules_per_token: float) -> Verdict | None:
        """Take one window's energy, in `unit`; None asks for one more."""
        return self._observe(self._logarithm("joules_per_token", joules_per_token))

    def _values(self, look: Look | None) -> dict[str, Any]:
        return {
            "value": math.exp(self._level(look)),
            "baseline": math.exp(self._spread.centre) if self._spread else None,
            "windows": tuple(map(math.exp, self._logs)),
        }


class SavingsGate(_AgainstBaseline):
    """The saved fraction of interleaved pairs against a baseline of sessions of them.

    `tolerance` and `detect` are points of the saved fraction (0.01 is one point); a verdict's
    `change` and `interval` are such points as well, below zero if less is saved. The other
    arguments are those of `SequentialGate`.
    """

    counted = "pairs"

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
        settled: bool = False,
    ) -> None:
        known = _known(sessions, pooled, device, settled)
        self._spent = math.exp(known.centre) if known else 1.0
        test = SequentialTest(tolerance, detect, alpha, beta, base=self._spent)
        super().__init__(known, test, max_pairs, FRACTION)
        self._local = local

    def add(
        self, baseline_joules_per_token: float, candidate_joules_per_token: float
    ) -> Verdict | None:
        """Take one pair of windows, both in the same unit; None asks for one more pair."""
        base = self._logarithm("baseline_joules_per_token", baseline_joules_per_token)
        candidate = self._logarithm("candidate_joules_per_token", candidate_joules_per_token)
        return self._observe(candidate - base)

    def _changed(self, log_change: float) -> float:
        return -self._spent * relative(log_change)

    def _values(self, look: Look | None) -> dict[str, Any]:
        return {
            "value": -math.expm1(self._level(look)),
            "baseline": 1 - self._spent if self._spread else None,
            "windows": tuple(-math.expm1(log) for log in self._logs),
        }


class PairedGate(Gate):
    """Interleaved windows of a base and a head in one session, where session noise cancels.

    With `sessions` the within-session variance starts from theirs; without, it is taken from the
    pairs alone, from 4 of them on, or from 6 if the first 4 vary much. Pairs that are `renewed`
    come from new processes each, which differ by more than windows do. Then `sessions` say the
    least that pairs vary by, as they do if they are `local`. Pairs are in the order ABBA: base
    first in the first, head first in the second, and so on; what the order does is taken out.
    """

    counted, against = "interleaved pairs", THE_BASE

    def __init__(
        self,
        sessions: Sequence[SessionStats] | None = None,
        tolerance: float = 0.02,
        detect: float = 0.05,
        alpha: float = 0.01,
        beta: float = 0.03,
        max_pairs: int = 30,
        *,
        local: bool = False,
        renewed: bool = False,
        unit: str = "J/token",
    ) -> None:
        test = SequentialTest(tolerance, detect, alpha, beta)
        super().__init__(spread(sessions) if sessions else None, test, max_pairs, unit)
        self._least = local or renewed
        self._renewed = renewed
        self._pairs: list[tuple[float, float]] = []

    def add(self, base_joules_per_token: float, head_joules_per_token: float) -> Verdict | None:
        """Take one pair, both in `unit`; None asks for one more."""
        base = self._logarithm("base_joules_per_token", base_joules_per_token)
        head = self._logarithm("head_joules_per_token", head_joules_per_token)
        self._pairs.append((base, head))
        return self._observe(head - base)

    def _look(self) -> Look:
        return look_at_pairs(
            self._logs,
            self._spread,
            self._test,
            self._most,
            least=self._least,
            renewed=self._renewed,
        )

    def _values(self, look: Look | None) -> dict[str, Any]:
        assert look is not None
        level = fmean(log for pair in self._pairs for log in pair)
        return {
            "value": math.exp(level + look.change / 2),
            "baseline": math.exp(level - look.change / 2),
            "windows": tuple(math.exp(head) for _, head in self._pairs),
            "drift": math.expm1(look.order),
        }

    def _cause(self, look: Look) -> str:
        noise = rounded(look.noise or 0.0)
        return not_enough(len(self._logs), "pairs", f"because they vary by {noise}")

    def _remedy(self) -> str:
        return QUIETER_OR_MORE


def _known(
    sessions: Sequence[Session], pooled: Pooled | None, device: str | None, settled: bool
) -> Spread | None:
    """What `spread` says of the sessions, if there are any."""
    return spread(sessions, pooled=pooled, device=device, settled=settled) if sessions else None
