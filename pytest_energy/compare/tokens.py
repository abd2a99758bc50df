"""J/token of head against base, and J/real token beside it where padding differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_energy import evidence
from pytest_energy.compare.bench import BASE, HEAD
from pytest_energy.compare.pairs import Judge, Rounds, decide
from pytest_energy.compare.question import Question
from pytest_energy.gate import PairedGate
from pytest_energy.metering import Window
from pytest_energy.records import VerdictRecord
from pytest_energy.token_check import PADDING_DIFFERS


def answer(question: Question, rounds: Rounds) -> VerdictRecord:
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
