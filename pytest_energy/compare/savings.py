"""What one run saves of another's J/token, in the head against in the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_energy import evidence
from pytest_energy.compare.bench import BASE, HEAD
from pytest_energy.compare.pairs import Judge, Rounds, decide
from pytest_energy.compare.question import Question
from pytest_energy.evidence import Summary
from pytest_energy.gate import PairedGate
from pytest_energy.metering import Window
from pytest_energy.records import VerdictRecord
from pytest_energy.units import FRACTION
from pytest_energy.verdict import (
    QUIETER_OR_MORE,
    THE_BASE,
    Subject,
    TracePoint,
    Verdict,
    decided,
    measured,
    undecided,
)


def answer(question: Question, rounds: Rounds) -> VerdictRecord:
    """The record of the verdict on a check of `savings`; a round is four windows."""
    rounds.buy()
    # Levels are points of what is saved; the test takes them relative to what the base spends.
    spent = _spent(BASE, rounds.windows(BASE, 0))
    levels = question.levels
    gate = PairedGate(
        tolerance=levels.tolerance / spent,
        detect=levels.detect / spent,
        alpha=question.alpha,
        beta=question.beta,
        max_pairs=question.most_pairs,
        unit=FRACTION,
    )
    _, verdict = decide(rounds, [Judge(gate, _spent)])
    windows = [rounds.windows(HEAD, i) for i in range(rounds.count)]
    summary = evidence.summarise_pairs([(larger, smaller) for larger, smaller in windows])
    base = verdict.baseline or spent
    record = replace(
        question.record,
        outcome=verdict.outcome,
        reason=_reason(question, verdict, base),
        explanation=_explanation(question, rounds),
        value=summary.mean,
        uncertainty=summary.uncertainty,
        baseline=1 - base,
        change=-base * (verdict.change or 0.0),
        trace=tuple(_in_points(point, base) for point in verdict.trace),
        windows=tuple(window for both in windows for window in both),
    )
    return question.answered(record, verdict, _summaries(rounds, 1), rounds.pairs(_spent), run=1)


def _reason(question: Question, verdict: Verdict, base: float) -> str:
    """The gate's sentence, in points of what is saved."""
    levels = question.levels
    subject = Subject(
        None, None, FRACTION, THE_BASE, "interleaved rounds", levels.tolerance, levels.detect
    )
    low, high = sorted(-base * edge for edge in verdict.interval or (0.0, 0.0))
    change, value = -base * (verdict.change or 0.0), 1 - (verdict.value or base)
    facts = measured(subject, value, 1 - base, change, (low, high), len(verdict.windows))
    if verdict.outcome == "inconclusive":
        cause = f"{len(verdict.windows)} rounds, the most allowed, were not enough"
        return undecided(subject, facts, cause, QUIETER_OR_MORE)
    return decided(verdict.outcome, subject, facts, change)


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


def _explanation(question: Question, rounds: Rounds) -> str:
    sentences = (
        f"{question.ready[HEAD].runs[run].id}: "
        f"{question.explained(_summaries(rounds, run), run, padding=False)}"
        for run in (0, 1)
    )
    return " ".join(sentences)


def _summaries(rounds: Rounds, run: int) -> tuple[Summary, Summary]:
    base, head = (
        evidence.summarise([rounds.windows(side, i)[run] for i in range(rounds.count)])
        for side in (BASE, HEAD)
    )
    return base, head


def _spent(side: int, windows: Sequence[Window]) -> float:
    """J/token of the smaller run over the larger's."""
    del side
    return windows[1].joules_per_token / windows[0].joules_per_token
