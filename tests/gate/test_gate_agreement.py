"""A verdict's sentence, interval, value, baseline and change never contradict each other."""

from __future__ import annotations

import math
import random

import pytest

from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import PairedGate, SavingsGate, SequentialGate
from pytest_energy.stats.noise import PairStats, SessionStats

TRIALS = 300


def drawn(source: random.Random) -> Verdict:
    """A random gate's verdict on random values, of every kind, noise, change and error rate."""
    noise, between = (10 ** source.uniform(-3, -0.7) for _ in range(2))
    change = source.choice([0.0, 0.02, 0.03, 0.05, source.uniform(-0.5, 1.0)])
    tolerance = source.choice([0.0, 0.01, 0.02])
    alpha, beta = source.choice([0.4, 0.01, 1e-4]), source.choice([0.4, 0.03])
    count, most = source.randint(1, 9), source.randint(3, 20)
    level = source.gauss(0, between)

    def value() -> float:
        return (1 + change) * math.exp(level + source.gauss(0, noise))

    sessions = [
        SessionStats(math.exp(source.gauss(0, between)), noise, source.randint(1, 10))
        for _ in range(count)
    ]
    detect = tolerance + source.choice([0.005, 0.03, 0.2])
    kind = source.randrange(3)
    if kind == 0:
        gate = SequentialGate(sessions, tolerance, detect, alpha, beta, most)
        while gate.verdict is None:
            gate.add(value())
        return gate.verdict
    if kind == 1:
        stored = [PairStats(1 - 0.5 * s.mean, s.variation, s.count) for s in sessions if s.mean < 2]
        saved = SavingsGate(stored, tolerance, detect, alpha, beta, most)
        while saved.verdict is None:
            saved.add(1.0, 0.5 * value())
        return saved.verdict
    known = sessions if source.random() < 0.5 else None
    paired = PairedGate(known, tolerance, detect, alpha, beta, most)
    while paired.verdict is None:
        paired.add(math.exp(source.gauss(0, noise)), value())
    return paired.verdict


def sizes(verdict: Verdict) -> tuple[float, float]:
    """How small and how large the change may be by its interval, in the verdict's levels.

    The test is one of logarithms: -1.96 % is as far as +2 %.
    """
    assert verdict.interval is not None
    low, high = verdict.interval
    base = 1.0
    if verdict.unit == "fraction":
        assert verdict.baseline is not None
        base = 1 - verdict.baseline
        low, high = -high, -low  # what is spent
    logs = sorted(math.log1p(max(edge / base, -1 + 1e-12)) for edge in (low, high))
    least = 0.0 if logs[0] <= 0 <= logs[1] else min(map(abs, logs))
    return base * math.expm1(least), base * math.expm1(max(map(abs, logs)))


@pytest.mark.parametrize("seed", range(5))
def test_sentences_intervals_and_figures_agree(seed: int) -> None:
    source = random.Random(seed)
    outcomes = set()
    for _ in range(TRIALS):
        verdict = drawn(source)
        outcomes.add(verdict.outcome)
        value, baseline, change = verdict.value, verdict.baseline, verdict.change
        assert value is not None
        assert baseline is not None
        assert change is not None
        moved = value - baseline if verdict.unit == "fraction" else value / baseline - 1
        assert moved == pytest.approx(change, rel=1e-6, abs=1e-9)
        assert verdict.interval is not None
        assert verdict.interval[0] <= change <= verdict.interval[1]
        assert verdict.trace[-1].change == change
        least, most = sizes(verdict)
        near = 1 + 1e-6
        if verdict.outcome in ("regression", "improvement"):
            assert least * near >= verdict.tolerance
            assert (change > 0) == (
                (verdict.outcome == "regression") != (verdict.unit == "fraction")
            )
        elif verdict.outcome == "within":
            assert most <= verdict.detect * near
        elif "may be within the tolerance" in verdict.reason:
            assert least <= verdict.tolerance * near
        elif "is beyond the tolerance" in verdict.reason:
            assert most * 1.1 >= verdict.detect
        if verdict.outcome == "inconclusive" and "or a change of" in verdict.reason:
            assert most * 1.1 >= verdict.detect
    assert outcomes >= {"regression", "improvement", "within", "inconclusive"}
