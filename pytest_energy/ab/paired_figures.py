"""The figures that are compared in pairs: J/token, J/real token beside it, and savings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_energy.ab.paired_check import PairedCheck
from pytest_energy.ab.rounds import BASE, HEAD, Figure
from pytest_energy.checks.joules_per_token import PADDING_DIFFERS
from pytest_energy.checks.measuring import summarise_pairs
from pytest_energy.gate import TracePoint, Verdict
from pytest_energy.gate.gates import PairedGate
from pytest_energy.gate.sentences import QUIETER_OR_MORE, THE_BASE, sentence
from pytest_energy.metering import Window
from pytest_energy.results import VerdictRecord
from pytest_energy.units import FRACTION


class PairedJoulesPerToken(PairedCheck):
    """J/token of head against base, and J/real token beside it if padding differs."""

    def _measured(self) -> VerdictRecord:
        gates = self._gates()
        number, verdict = self.sampler.decide(gates)
        of_real_tokens = number > 0
        factor = (self._overheads()[HEAD] if of_real_tokens else None) or 1.0
        return self._answered(
            verdict,
            self.sampler.pairs(gates[number][1]),
            run=0,
            metric="joules_per_real_token" if of_real_tokens else "joules_per_token",
            unit="J/real token" if of_real_tokens else "J/token",
            reason=verdict.reason,
            explanation=self.explained(0, padding=of_real_tokens),
            value=verdict.value,  # the mean of logarithms, as the base's: their ratio is the change
            uncertainty=self.summary(HEAD).uncertainty * factor,
            baseline=verdict.baseline,
            change=verdict.change,
            trace=verdict.trace,
            windows=tuple(self.sampler.windows(HEAD)),
        )

    def _gates(self) -> list[tuple[PairedGate, Figure]]:
        base, head = self._overheads()
        if not base or not head or abs(head / base - 1) <= PADDING_DIFFERS:
            return [(self._gate(1, "J/token"), _joules_per_token)]
        overheads = (base, head)

        def of_real_tokens(side: int, windows: Sequence[Window]) -> float:
            return windows[0].joules_per_token * overheads[side]

        # J/token does not see a worse padding policy; J/real token does.
        return [
            (self._gate(2, "J/token"), _joules_per_token),
            (self._gate(2, "J/real token"), of_real_tokens),
        ]

    def _gate(self, share: int, unit: str) -> PairedGate:
        return PairedGate(
            self.known or None,
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            alpha=self.alpha / share,
            beta=self.beta,
            max_pairs=self.most_pairs,
            unit=unit,
        )

    def _overheads(self) -> tuple[float | None, float | None]:
        base, head = (ready.runs[0].padding_overhead for ready in self.ready)
        return base, head


class PairedSavings(PairedCheck):
    """What one run saves of another's J/token, in the head against in the base.

    A round is four windows. The gate takes what is spent of the larger run's J/token.
    """

    def _measured(self) -> VerdictRecord:
        self.sampler.measure()
        # Levels are points of what is saved; the test takes them relative to what the base spends.
        spent = _spent(BASE, self.sampler.round(BASE, 0))
        gate = PairedGate(
            tolerance=self.levels.tolerance / spent,
            detect=self.levels.detect / spent,
            alpha=self.alpha,
            beta=self.beta,
            max_pairs=self.most_pairs,
            unit=FRACTION,
        )
        _, verdict = self.sampler.decide([(gate, _spent)])
        pairs = list(zip(self.sampler.windows(HEAD, 0), self.sampler.windows(HEAD, 1), strict=True))
        summary = summarise_pairs(pairs)
        base = verdict.baseline or spent
        return self._answered(
            verdict,
            self.sampler.pairs(_spent),
            run=1,
            reason=self._reason(verdict, base),
            explanation=" ".join(
                f"{self.ready[HEAD].runs[run].id}: {self.explained(run, padding=False)}"
                for run in (0, 1)
            ),
            value=summary.mean,
            uncertainty=summary.uncertainty,
            baseline=1 - base,
            change=-base * (verdict.change or 0.0),
            trace=tuple(_in_points(point, base) for point in verdict.trace),
            windows=tuple(window for both in pairs for window in both),
        )

    def _reason(self, verdict: Verdict, base: float) -> str:
        """The gate's sentence, in points of what is saved."""
        low, high = sorted(-base * edge for edge in verdict.interval or (0.0, 0.0))
        shown = replace(
            verdict,
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            value=1 - (verdict.value or base),
            baseline=1 - base,
            change=-base * (verdict.change or 0.0),
            interval=(low, high),
        )
        cause = f"{len(verdict.windows)} rounds, the most allowed, were not enough"
        return sentence(shown, THE_BASE, "interleaved rounds", cause, QUIETER_OR_MORE)


def _in_points(point: TracePoint, base: float) -> TracePoint:
    """A point of the gate's trace, as changes of what is saved."""

    def edges(pair: tuple[float, float] | None) -> tuple[float, float] | None:
        return None if pair is None else (-base * pair[1], -base * pair[0])

    return replace(
        point,
        change=-base * point.change,
        within=edges(point.within),
        changed=edges(point.changed),
    )


def _joules_per_token(side: int, windows: Sequence[Window]) -> float:
    del side
    return windows[0].joules_per_token


def _spent(side: int, windows: Sequence[Window]) -> float:
    """J/token of the smaller run over the larger's."""
    del side
    return windows[1].joules_per_token / windows[0].joules_per_token
