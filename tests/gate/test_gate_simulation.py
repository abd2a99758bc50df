"""The simulation that `make perf` prints: it is the gate's own rule, and keeps its promises."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_energy.gate.gates import PairedGate, SequentialGate
from pytest_energy.stats.noise import SessionStats
from pytest_energy.stats.sequential import ErrorBudget

sys.path.append(str(Path(__file__).parents[2] / "perf"))

import gate_simulation as simulation
import gate_tables
import gate_trials
import vectorised_gate as vectorised

CELLS = [
    gate_trials.Cell(0.01, 0.0, 0.005),
    gate_trials.Cell(0.02, 0.5, 0.01),
    gate_trials.Cell(0.003, 0.5, 0.01),
]


def draws_and_stats(
    cell: gate_trials.Cell, trials: int, sessions: int = 8, stretch: float = 1.0
) -> tuple[gate_trials.Draws, vectorised.Recorded, list[list[SessionStats]]]:
    drawn = gate_trials.draw(cell, trials, np.random.default_rng(11), sessions)
    if stretch != 1.0:
        middle = drawn.current.mean(1, keepdims=True)
        current = middle + stretch * (drawn.current - middle)
        drawn = gate_trials.Draws(drawn.stored, current, stretch * drawn.interleaved)
    recorded = vectorised.record(drawn.stored)
    stored = [
        [
            SessionStats(float(mean), float(cv), recorded.windows, float(r1))
            for mean, cv, r1 in zip(*trial, strict=True)
        ]
        for trial in zip(recorded.mean, recorded.cv, recorded.autocorrelation, strict=True)
    ]
    return drawn, recorded, stored


@pytest.mark.parametrize(
    ("cell", "sessions", "stretch"),
    [(CELLS[0], 8, 1.0), (CELLS[1], 8, 1.0), (CELLS[0], 8, 2.5), (CELLS[1], 2, 1.0)],
)
@pytest.mark.parametrize("change", [0.0, 0.04])
def test_windows_are_decided_as_the_gate_decides_them(
    cell: gate_trials.Cell, sessions: int, stretch: float, change: float
) -> None:
    drawn, recorded, stored = draws_and_stats(cell, 50, sessions, stretch)
    logs = drawn.current + np.log1p(change)
    found = vectorised.stage_one(vectorised.learn(recorded), logs, gate_trials.HALF)
    for trial, values in enumerate(np.exp(logs)):
        gate = SequentialGate(stored[trial], alpha=0.005, beta=0.015, settled=True)
        for value in values:
            if gate.add(float(value)) is not None:
                break
        assert gate.verdict is not None
        assert gate.verdict.outcome == vectorised.OUTCOMES[found.outcome[trial]]
        assert len(gate.verdict.windows) == found.count[trial]


@pytest.mark.parametrize("with_baseline", [True, False])
@pytest.mark.parametrize("stretch", [1.0, 3.0])
def test_pairs_are_decided_as_the_gate_decides_them(with_baseline: bool, stretch: float) -> None:
    drawn, recorded, stored = draws_and_stats(CELLS[0], 100, stretch=stretch)
    differences = drawn.interleaved + np.log1p(0.04)
    known = vectorised.learn(recorded) if with_baseline else None
    found = vectorised.stage_two(known, differences, gate_trials.WHOLE)
    for trial, row in enumerate(differences):
        gate = PairedGate(stored[trial] if with_baseline else None)
        for difference in row:
            if gate.add(1.0, float(np.exp(difference))) is not None:
                break
        assert gate.verdict is not None
        assert gate.verdict.outcome == vectorised.OUTCOMES[found.outcome[trial]]
        assert len(gate.verdict.windows) == found.count[trial]


@pytest.mark.parametrize("cell", CELLS)
def test_the_gate_keeps_its_promises(cell: gate_trials.Cell) -> None:
    """Bounds leave room for the chance of 4,000 trials; the full run prints the figures."""
    unchanged, edge, caught, obvious = gate_trials.simulate(cell, 4_000, seed=3)
    assert unchanged.half.failed <= 0.003
    assert unchanged.both.failed <= 0.003
    assert unchanged.half.invalid <= 0.005
    assert edge.half.failed <= 0.018
    assert edge.whole.failed <= 0.03
    assert edge.both.failed <= 0.02
    assert caught.half.passed <= 0.03
    assert caught.both.failed >= 0.95
    assert obvious.both.passed == obvious.both.inconclusive == 0
    assert unchanged.both.inconclusive <= 0.001
    assert max(row.both.inconclusive for row in (edge, caught)) <= 0.01
    if cell.quiet:
        assert unchanged.half.windows <= 5.5
    assert unchanged.half.windows <= 19


def test_pairs_leave_little_open_where_windows_are_noisiest() -> None:
    """In this noise a true +5 % is left open more often than anything else is."""
    rows = gate_trials.simulate(gate_trials.Cell(0.02, 0.0, 0.005), 4_000, seed=3)
    assert rows[0].both.inconclusive <= 0.001
    assert max(row.both.inconclusive for row in rows) <= 0.01


def test_simpler_rules_are_wrong_where_the_gate_is_not() -> None:
    unchanged, edge, caught, _ = gate_trials.simulate(CELLS[1], 2_000, seed=4)
    assert unchanged.welch > 20 * max(unchanged.both.failed, 0.001)
    assert edge.above_2 > 0.4
    assert caught.above_5 < 0.6


@pytest.mark.parametrize("sessions", [1, 2, 3])
@pytest.mark.parametrize("between", [0.005, 0.02])
def test_few_sessions_never_fail_unchanged_code(sessions: int, between: float) -> None:
    rng = np.random.default_rng([5, sessions])
    drawn = gate_trials.draw(gate_trials.Cell(0.01, 0.2, between), 4_000, rng, sessions)
    baselines = vectorised.learn(vectorised.record(drawn.stored))
    found = gate_trials.rates(vectorised.stage_one(baselines, drawn.current, gate_trials.WHOLE))
    assert found.failed <= 0.01
    if sessions == 1:
        assert found.inconclusive >= 0.98


def test_the_smallest_gap_is_decided_about_every_second_time() -> None:
    table = gate_tables.gap_table(2_000, seed=6)
    for line in table.splitlines()[1:]:
        at_tolerance, at_detect, unchanged = (float(v) for v in line.split("|")[2].split())
        assert 45 < at_tolerance < 80
        assert 40 < at_detect < 70
        assert unchanged > 75


def test_the_tables_print(capsys: pytest.CaptureFixture[str]) -> None:
    simulation.main(["--trials", "50", "--seed", "2"])
    text = capsys.readouterr().out
    assert text.count("+10% |") == len(gate_trials.GRID)
    assert "both, +5 %: failed" in text
    assert "A/B without a baseline" in text


def test_many_checks_of_one_test_fail_no_oftener_than_one() -> None:
    drawn = gate_trials.draw(CELLS[0], 4_000, np.random.default_rng(8))
    baselines = vectorised.learn(vectorised.record(drawn.stored))
    budget = ErrorBudget(1)
    shared, unshared = np.zeros(4_000, bool), np.zeros(4_000, bool)
    for number in range(12):
        fresh = gate_trials.draw(CELLS[0], 4_000, np.random.default_rng(100 + number))
        logs = fresh.current + np.log1p(0.02)
        for failed, alpha in ((shared, budget.take("a test")), (unshared, 0.01)):
            rule = replace(gate_trials.WHOLE, alpha=alpha)
            outcome = vectorised.stage_one(baselines, logs, rule).outcome
            failed |= outcome == vectorised.REGRESSION
    assert shared.mean() <= 0.015
    assert unshared.mean() >= 3 * shared.mean()


def test_a_runs_checks_never_take_more_than_its_budget() -> None:
    budget = ErrorBudget(tests=3)
    taken = [budget.take(test) for test in ("a", "b", "c") for _ in range(40)]
    assert min(taken) > 0
    assert 0.0099 < sum(taken) <= 0.01
