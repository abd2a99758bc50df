"""What A/B promises of pairs of every noise, in trials of the rule that the gate is held to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "perf"))

import pair_trials

TRIALS = 2_000
"""Bounds leave room for the chance of so many; the full run prints the figures."""

CASES = {case.name: case for case in pair_trials.cases()}


def found(name: str) -> pair_trials.Found:
    return pair_trials.run(CASES[name], TRIALS, seed=5)


@pytest.mark.parametrize("kind", ["normal", "uniform", "t3"])
@pytest.mark.parametrize("sd", ["0.3%", "3.0%", "6.0%", "15.0%"])
def test_unchanged_code_fails_in_no_noise(kind: str, sd: str) -> None:
    assert found(f"pairs alone, {kind}, SD {sd}").failed <= 0.003


@pytest.mark.parametrize(("sd", "caught"), [("9%", 0.99), ("13%", 0.935)])
def test_a_change_of_a_quarter_is_caught_by_twenty_pairs(sd: str, caught: float) -> None:
    name = f"pairs alone, SD {sd}, 20 pairs at most, +25%"
    assert found(name).failed <= 0.003
    assert found(name).caught >= caught


@pytest.mark.parametrize("told", ["alone", "baseline"])
def test_the_order_of_pairs_decides_nothing_and_hinders_nothing(told: str) -> None:
    of_it = found(f"first window after a switch +5 %, windows 0.3%, {told}")
    assert (of_it.failed, of_it.passed) == (0, 0)
    assert of_it.caught == 1
    assert of_it.pairs <= 5
    assert of_it.pairs_changed <= 6


@pytest.mark.parametrize("sd", ["0.3%", "1.0%"])
def test_a_side_that_is_ahead_on_a_curve_of_both_fails_nothing(sd: str) -> None:
    """Sides warm up one by one, so that one may have had more windows than the other."""
    of_it = found(f"windows {sd} rise by 2 %, the head 6 windows ahead")
    assert (of_it.failed, of_it.caught) == (0, 1)


def test_one_outlier_does_not_keep_the_others_from_deciding() -> None:
    of_it = found("one pair +40%, the others SD 0.7%, 12 pairs")
    assert of_it.failed <= 0.002
    assert of_it.caught >= 0.97


def test_quiet_pairs_take_no_more_than_four_to_pass() -> None:
    assert found("pairs alone, normal, SD 0.3%").pairs <= 4.05
    assert found("windows 1.0%, autocorrelation 0.0").pairs <= 5.1


def test_the_tables_print(capsys: pytest.CaptureFixture[str]) -> None:
    pair_trials.main(["--trials", "20", "--only", "outlier"])
    pair_trials.main(["--trials", "20", "--only", "one pair +40%"])
    assert "one pair +40%, the others" in capsys.readouterr().out
    assert "50" in pair_trials.sessions_table(20, 1)
    assert "2.0%" in pair_trials.renewal_table(20, 1)
