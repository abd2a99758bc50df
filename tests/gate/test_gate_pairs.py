"""Gates on interleaved pairs: A/B in one session, and savings."""

from __future__ import annotations

import math
import random

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import PairedGate, SavingsGate
from pytest_energy.stats.noise import PairStats, SessionStats

BASE = 0.005
QUIET = [SessionStats(BASE * (1 + 0.01 * (n % 3 - 1)), 0.004, 10) for n in range(8)]


def compare(gate: PairedGate, change: float, noise: float, seed: int = 1) -> Verdict:
    source = random.Random(seed)
    while gate.verdict is None:
        level = 1.3  # a session's own level, which pairs do not see
        base = BASE * level * math.exp(source.gauss(0, noise))
        gate.add(base, BASE * level * (1 + change) * math.exp(source.gauss(0, noise)))
    return gate.verdict


@pytest.mark.parametrize("stored", [None, QUIET])
@pytest.mark.parametrize(
    ("change", "outcome"), [(0.0, "within"), (0.06, "regression"), (-0.06, "improvement")]
)
def test_pairs_decide_with_and_without_a_baseline(
    stored: list[SessionStats] | None, change: float, outcome: str
) -> None:
    verdict = compare(PairedGate(stored), change, 0.004)
    assert verdict.outcome == outcome
    assert verdict.change == pytest.approx(change, abs=0.01)
    assert len(verdict.windows) == len(verdict.trace)
    assert 3 <= len(verdict.windows) <= 6


def test_a_baseline_saves_a_pair() -> None:
    alone = compare(PairedGate(), 0.0, 0.002)
    helped = compare(PairedGate(QUIET), 0.0, 0.002)
    assert (len(helped.windows), len(alone.windows)) == (3, 4)


def test_pairs_noisier_than_the_baseline_are_judged_by_themselves() -> None:
    quieter = [SessionStats(s.mean, 0.001, 10) for s in QUIET]
    verdict = compare(PairedGate(quieter), 0.0, 0.02)
    alone = compare(PairedGate(), 0.0, 0.02)
    assert verdict.trace[3:] == alone.trace[3:]
    assert verdict.outcome == "within"


def test_the_sentence_names_both_sides() -> None:
    verdict = compare(PairedGate(), 0.06, 0.003)
    for words in ("6.8", "of the base,", "interleaved pairs",
                  "regression beyond the tolerance of 2 %"):  # fmt: skip
        assert words in verdict.reason


def test_open_pairs_say_what_would_settle_them() -> None:
    verdict = compare(PairedGate(max_pairs=5), 0.034, 0.06)
    assert verdict.outcome == "inconclusive"
    assert "5 pairs, the most allowed, were not enough because they vary by" in verdict.reason
    assert "--energy-max-windows" in verdict.reason


def test_drift_within_pairs_is_told_and_cancels() -> None:
    gate = PairedGate(QUIET)
    level = BASE
    for number in range(30):
        first, second = level, level * 1.004
        level *= 1.008
        base, head = (first, second) if number % 2 == 0 else (second, first)
        if gate.add(base, head) is not None:
            break
    assert gate.verdict is not None
    assert gate.verdict.outcome == "within"
    assert gate.verdict.drift == pytest.approx(0.004, abs=1e-6)
    assert gate.verdict.change == pytest.approx(0.0, abs=0.002)


def test_the_last_pair_decides_only_where_pairs_resolve_the_levels() -> None:
    source = random.Random(4)
    differences = [0.027 + source.gauss(0, 0.02) for _ in range(40)]
    outcomes = []
    for most in (8, 30):
        gate = PairedGate(max_pairs=most)
        for difference in differences[:most]:
            if gate.add(BASE, BASE * math.exp(difference)) is not None:
                break
        assert gate.verdict is not None
        outcomes.append((gate.verdict.outcome, len(gate.verdict.windows)))
    assert outcomes[0] == ("inconclusive", 8)
    assert outcomes[1][0] == "within"


def test_one_outlier_does_not_keep_eleven_pairs_that_agree_from_deciding() -> None:
    for place in range(6):
        source = random.Random(place)
        gate = PairedGate(max_pairs=12)
        for number in range(12):
            change = 0.06 + (0.4 if number == place else 0.0) + source.gauss(0, 0.005)
            if gate.add(BASE, BASE * math.exp(change)) is not None:
                break
        assert gate.verdict is not None
        assert gate.verdict.outcome == "regression"
        assert gate.verdict.change == pytest.approx(0.06, abs=0.015)


def test_a_large_change_is_found_among_noisy_pairs() -> None:
    outcomes = [compare(PairedGate(max_pairs=20), 0.25, 0.065, seed) for seed in range(20)]
    assert {verdict.outcome for verdict in outcomes} == {"regression"}


@pytest.mark.parametrize("pair", [(0.0, 1.0), (1.0, 0.0), (math.nan, 1.0), (1.0, math.inf)])
def test_both_sides_are_positive_and_finite(pair: tuple[float, float]) -> None:
    gate = PairedGate()
    with pytest.raises(EnergyError, match="_joules_per_token` is"):
        gate.add(*pair)
    # What was refused leaves no trace.
    verdict = compare(gate, 0.0, 0.003)
    assert len(verdict.windows) == len(verdict.trace)


SAVED = [PairStats(0.5 + 0.002 * (n % 3 - 1), 0.01, 10) for n in range(8)]


def save(gate: SavingsGate, saved: float, noise: float = 0.005) -> Verdict:
    source = random.Random(2)
    while gate.verdict is None:
        gate.add(BASE, BASE * (1 - saved) * math.exp(source.gauss(0, noise)))
    return gate.verdict


@pytest.mark.parametrize(
    ("saved", "outcome"),
    [
        (0.5, "within"),
        (0.505, "within"),
        (0.495, "within"),
        (0.465, "regression"),
        (0.535, "improvement"),
    ],
)
def test_savings_are_gated_in_points(saved: float, outcome: str) -> None:
    verdict = save(SavingsGate(SAVED), saved)
    assert verdict.outcome == outcome
    assert verdict.value == pytest.approx(saved, abs=0.005)
    assert verdict.baseline == pytest.approx(0.5, abs=0.001)
    assert verdict.change == pytest.approx(saved - 0.5, abs=0.005)
    assert verdict.interval is not None
    assert verdict.interval[0] < (verdict.change or 0.0) < verdict.interval[1]
    assert verdict.windows[0] == pytest.approx(saved, abs=0.02)


def test_the_levels_of_savings_are_points_of_what_is_still_spent() -> None:
    """Of a saved half, 3 points are 6 % more energy; of 20 %, they are 3.75 %."""
    low = [PairStats(0.2 + 0.0005 * (n % 3 - 1), 0.002, 10) for n in range(20)]
    high = [PairStats(0.5 + 0.0005 * (n % 3 - 1), 0.002, 10) for n in range(20)]
    for stored, saved in ((low, 0.2), (high, 0.5)):
        assert save(SavingsGate(stored), saved - 0.034, 0.001).outcome == "regression"
        assert save(SavingsGate(stored), saved - 0.006, 0.001).outcome == "within"


def test_the_sentence_of_savings() -> None:
    verdict = save(SavingsGate(SAVED), 0.46)
    assert verdict.reason.startswith("45.8 % saved ")
    assert (
        "against 50.0 % of the baseline, -4.2 points (95 % interval -4.9 to -3.4 points"
        in verdict.reason
    )
    assert "beyond the tolerance of 1 point" in verdict.reason


def test_savings_without_a_baseline() -> None:
    verdict = SavingsGate([]).add(BASE, BASE / 2)
    assert verdict is not None
    assert verdict.outcome == "missing"
    assert verdict.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0, 0.01, 10), "`mean` is 1.0"), ((0.5, -1.0, 10), "must be 0 or more")],
)
def test_impossible_savings_are_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        PairStats(*arguments)  # type: ignore[arg-type]


def test_savings_below_zero_are_a_figure_like_any_other() -> None:
    stored = [PairStats(-0.1 + 0.001 * (n % 3), 0.004, 10) for n in range(8)]
    assert save(SavingsGate(stored), -0.1).outcome == "within"
    assert save(SavingsGate(stored), -0.2).outcome == "regression"


def test_pairs_without_any_order_decide_nothing_and_break_nothing() -> None:
    stored = 2 * [PairStats(0.5, 5.0, 4)]
    gate = SavingsGate(stored, max_pairs=3)

    for baseline, candidate in ((1.0, 1e-9), (1e-9, 1.0), (1.0, 1e-9)):
        gate.add(baseline, candidate)

    assert gate.verdict is not None
    assert gate.verdict.outcome in ("inconclusive", "invalid")
