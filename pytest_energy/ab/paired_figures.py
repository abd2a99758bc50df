"""J/token of head against base, and J/real token beside it where padding differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_energy.ab.paired_check import Question
from pytest_energy.ab.rounds import BASE, HEAD, Judge, Rounds, decide
from pytest_energy.checks import measuring as evidence
from pytest_energy.checks.joules_per_token import PADDING_DIFFERS
from pytest_energy.checks.measuring import Summary
from pytest_energy.gate import TracePoint, Verdict
from pytest_energy.gate.gates import PairedGate
from pytest_energy.gate.sentences import QUIETER_OR_MORE, THE_BASE, sentence
from pytest_energy.metering import Window
from pytest_energy.results import VerdictRecord
from pytest_energy.units import FRACTION


def answer_joules_per_token(question: Question, rounds: Rounds) -> VerdictRecord:
    """The record of the verdict on a check of `joules_per_token`."""
    judges = _judges(question)
    judge, verdict = decide(rounds, judges)
    of_real_tokens = judge is not judges[0]
    summaries = (
        evidence.summarise([rounds.windows(BASE, i)[0] for i in range(rounds.count)]),
        evidence.summarise([rounds.windows(HEAD, i)[0] for i in range(rounds.count)]),
    )
    factor = (_overheads(question)[HEAD] if of_real_tokens else None) or 1.0
    record = replace(
        question.record,
        metric="joules_per_real_token" if of_real_tokens else "joules_per_token",
        unit="J/real token" if of_real_tokens else "J/token",
        outcome=verdict.outcome,
        reason=verdict.reason,
        explanation=question.explained(summaries, 0, padding=of_real_tokens),
        value=verdict.value,  # the mean of logarithms, as the base's: their ratio is the change
        uncertainty=summaries[HEAD].uncertainty * factor,
        baseline=verdict.baseline,
        change=verdict.change,
        trace=verdict.trace,
        windows=tuple(rounds.windows(HEAD, i)[0] for i in range(rounds.count)),
    )
    return question.answered(record, verdict, summaries, rounds.pairs(judge.figure))


def _judges(question: Question) -> list[Judge]:
    base, head = _overheads(question)
    if not base or not head or abs(head / base - 1) <= PADDING_DIFFERS:
        return [Judge(_gate(question, 1, "J/token"), _joules_per_token)]
    overheads = (base, head)

    def of_real_tokens(side: int, windows: Sequence[Window]) -> float:
        return windows[0].joules_per_token * overheads[side]

    # J/token does not see a worse padding policy; J/real token does.
    return [
        Judge(_gate(question, 2, "J/token"), _joules_per_token),
        Judge(_gate(question, 2, "J/real token"), of_real_tokens),
    ]


def _gate(question: Question, share: int, unit: str) -> PairedGate:
    return PairedGate(
        question.sessions or None,
        tolerance=question.levels.tolerance,
        detect=question.levels.detect,
        alpha=question.alpha / share,
        beta=question.beta,
        max_pairs=question.most_pairs,
        unit=unit,
    )


def _joules_per_token(side: int, windows: Sequence[Window]) -> float:
    del side
    return windows[0].joules_per_token


def _overheads(question: Question) -> tuple[float | None, float | None]:
    base, head = (ready.runs[0].padding_overhead for ready in question.ready)
    return base, head


def answer_savings(question: Question, rounds: Rounds) -> VerdictRecord:
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
    low, high = sorted(-base * edge for edge in verdict.interval or (0.0, 0.0))
    shown = replace(
        verdict,
        tolerance=question.levels.tolerance,
        detect=question.levels.detect,
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
