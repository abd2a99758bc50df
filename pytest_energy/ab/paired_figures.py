"""The figures that both sides are compared by: J/token, and what one run saves of another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_energy.ab.measurement import Figure
from pytest_energy.ab.paired_check import PairedCheck
from pytest_energy.ab.sides import BASE, HEAD
from pytest_energy.checks.figures import PADDING_DIFFERS
from pytest_energy.checks.measuring import summarise, summarise_pairs
from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import PairedGate
from pytest_energy.gate.sentences import QUIETER_OR_MORE, THE_BASE, facts, sentence
from pytest_energy.metering import Window
from pytest_energy.results import VerdictRecord
from pytest_energy.units import FRACTION


class PairedJoulesPerToken(PairedCheck):
    """J/token of head against base, and J/real token beside it if padding differs."""

    def _measured(self) -> VerdictRecord:
        number, verdict = self.decide(self._gates)
        of_real_tokens = number > 0
        factor = (self.ready[HEAD].runs[0].padding_overhead if of_real_tokens else None) or 1.0
        windows = tuple(self.measurement.windows(HEAD))
        return self.answered(
            verdict,
            self._figures()[number],
            run=0,
            metric="joules_per_real_token" if of_real_tokens else "joules_per_token",
            unit="J/real token" if of_real_tokens else "J/token",
            explanation=self.explained(0, verdict=verdict, padding=of_real_tokens),
            uncertainty=summarise(windows).uncertainty * factor,
            windows=windows,
        )

    def _gates(self, renewed: bool) -> list[tuple[PairedGate, Figure]]:
        figures = self._figures()
        units = ("J/token", "J/real token")[: len(figures)]
        gates = [self.gate(unit, renewed=renewed, share=len(units)) for unit in units]
        return list(zip(gates, figures, strict=True))

    def _figures(self) -> list[Figure]:
        """J/token, and J/real token beside it if padding differs, which J/token does not see."""
        base, head = (ready.runs[0].padding_overhead for ready in self.ready)
        if not base or not head or abs(head / base - 1) <= PADDING_DIFFERS:
            return [_joules_per_token]
        overheads = (base, head)

        def of_real_tokens(side: int, windows: Sequence[Window]) -> float:
            return windows[0].joules_per_token * overheads[side]

        return [_joules_per_token, of_real_tokens]


class PairedSavings(PairedCheck):
    """What one run saves of another's J/token, in the head against in the base.

    A round is four windows. The gate takes what is spent of the larger run's J/token.
    """

    def _measured(self) -> VerdictRecord:
        self.measurement.measure()
        # Levels are points of what is saved; the test takes them relative to what the base spends.
        spent = _spent(BASE, self.measurement.round(BASE, 0))
        _, verdict = self.decide(
            lambda renewed: [(self.gate(FRACTION, renewed=renewed, scale=spent), _spent)]
        )
        larger, smaller = (self.measurement.windows(HEAD, run) for run in (0, 1))
        pairs = list(zip(larger, smaller, strict=True))
        summary = summarise_pairs(pairs)
        return self.answered(
            self.shown(verdict),
            _spent,
            run=1,
            explanation=" ".join(
                f"{self.ready[HEAD].runs[run].id}: {self.explained(run)}" for run in (0, 1)
            ),
            uncertainty=summary.uncertainty,
            windows=tuple(window for both in pairs for window in both),
        )

    def shown(self, verdict: Verdict) -> Verdict:
        """A verdict on what is spent, as one on what is saved."""
        base = verdict.baseline or 1.0

        def edges(pair: tuple[float, float] | None) -> tuple[float, float] | None:
            return None if pair is None else (-base * pair[1], -base * pair[0])

        shown = replace(
            verdict,
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            value=1 - (verdict.value or base),
            baseline=1 - base,
            change=-base * (verdict.change or 0.0),
            interval=edges(verdict.interval or (0.0, 0.0)),
            trace=tuple(
                replace(
                    point,
                    change=-base * point.change,
                    within=edges(point.within),
                    changed=edges(point.changed),
                )
                for point in verdict.trace
            ),
        )
        cause = f"{len(verdict.windows)} rounds, the most allowed, were not enough"
        reason = sentence(shown, THE_BASE, "interleaved rounds", cause, QUIETER_OR_MORE)
        found = facts(shown, THE_BASE, "interleaved rounds")
        return replace(shown, reason=reason, facts=found)


def _joules_per_token(side: int, windows: Sequence[Window]) -> float:
    del side
    return windows[0].joules_per_token


def _spent(side: int, windows: Sequence[Window]) -> float:
    """J/token of the smaller run over the larger's."""
    del side
    return windows[1].joules_per_token / windows[0].joules_per_token
