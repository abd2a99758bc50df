"""Windows that fit two verdicts are measured once, and what is warm is not warmed up again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_energy.checks.measuring import latest_windows, offer_windows, take_windows
from pytest_energy.clocks import real_time
from pytest_energy.metering import Window

_SUITE = """
import os

import pytest
import spending

spending.METHOD = os.environ["METHOD"]
steps = []


@pytest.fixture(scope="session")
def energy_workload():
    def train(batch):
        steps.append(batch)
        spending.spend(0.005 * batch["input_ids"].numel())

    return train


@pytest.fixture
def large(finetune):
    return finetune("sst2", batch_size=4, shared=True)


def windows_of(run, do):
    before = len(steps)
    record = do()
    return record, (len(steps) - before) / run.steps


def test_pairs(large, finetune, energy_gate):
    small = finetune("sst2", batch_size=8, shared=True)
    energy_gate.savings(baseline=large, candidate=small, id="pair")
"""


@pytest.fixture
def suite(
    pytester: pytest.Pytester, spending_cpu: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """An inner run that models joules, on a step of its own."""
    monkeypatch.setenv("METHOD", "modelled")
    return pytester


def test_windows_of_pairs_are_those_of_joules_per_token_too(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        f"""{_SUITE}
def test_joules(large, energy_gate):
    record, windows = windows_of(large, lambda: energy_gate.joules_per_token(large, id="large"))
    assert windows == 0
    assert len(record.windows) == 4
    assert record.reason.endswith("4 of its windows were measured for the savings of `pair`.")


def test_of_one_more_figure_they_are_no_evidence(large, energy_gate):
    record, windows = windows_of(large, lambda: energy_gate.joules_per_token(large, id="again"))
    assert windows == 4 == len(record.windows)  # and warm from before
"""
    )

    suite.runpytest().assert_outcomes(passed=3)


def test_windows_of_pairs_that_were_still_warming_up_are_left_out(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        _SUITE.replace("spending.spend(", "spending.spend(max(1.0, 1.6 - 0.025 * len(steps)) * ")
        + """
def test_joules(large, energy_gate):
    offered = len(large.earlier.windows)
    record, windows = windows_of(large, lambda: energy_gate.joules_per_token(large, id="large"))
    assert 0 < offered < 4
    assert windows == 4 - offered
    assert all(w.joules_per_token == pytest.approx(0.005) for w in record.windows)
"""
    )

    suite.runpytest("--energy-tokens=512").assert_outcomes(passed=2)


def test_a_verdict_that_can_fail_has_windows_of_its_own(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METHOD", "counter")
    suite.makepyfile(
        f"""{_SUITE}
def test_joules(large, energy_gate):
    record, windows = windows_of(large, lambda: energy_gate.joules_per_token(large, id="large"))
    assert windows == len(record.windows) > 0
"""
    )

    suite.runpytest().assert_outcomes(passed=2)


def test_pairs_that_came_too_early_are_measured_again(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        f"""{_SUITE}
def test_joules(large, energy_gate):
    large.earlier.load_seconds = -1.0  # less than any baseline's
    record, windows = windows_of(large, lambda: energy_gate.joules_per_token(large, id="large"))
    assert windows == len(record.windows) > 0
"""
    )

    suite.runpytest().assert_outcomes(passed=2)


def test_a_run_that_was_in_a_test_that_failed_is_built_anew(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        f"""{_SUITE}
seen = []


def test_kept(large):
    seen.append(large)


def test_fails(large):
    assert large is seen[0]
    assert False


def test_anew(large):
    assert large is not seen[0]
    seen.append(large)


def test_alone(finetune):
    run = finetune("sst2", batch_size=4)
    assert run is not seen[1]
    assert not seen[1].batches  # its memory is this test's


def test_after(large):
    assert large not in seen
"""
    )

    suite.runpytest("-k", "not pairs").assert_outcomes(passed=4, failed=1)


def _run(*, celsius: float | None = None, seconds_ago: float = 5.0) -> Any:
    notes = {} if celsius is None else {"gpu:0 temperature_celsius": celsius}
    started = real_time.unix_seconds() - seconds_ago
    window = Window("sst2", "counter", {"gpu:0": 1.0}, 2.0, 0.01, started, notes=notes, tokens=100)
    return SimpleNamespace(latest=[window], earlier=None)


def test_a_run_is_warm_for_a_minute() -> None:
    assert latest_windows(_run())
    assert not latest_windows(_run(seconds_ago=120.0))


def test_nothing_is_shared_on_a_device_that_tells_its_temperature() -> None:
    cold, card = _run(), _run(celsius=50.0)
    for run in (cold, card):
        offer_windows(run, run.latest, "pair", 0.0)

    assert not latest_windows(card)
    assert not take_windows(card, 0.0).windows
    assert take_windows(cold, 0.0).windows
    assert not take_windows(cold, 0.0).windows  # once only
