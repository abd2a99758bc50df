"""Windows for claims: the middle one of several, measured again where invalid, or no verdict."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

_RUN = '''
"""Claim: it is so."""

import os

import gated
import pytest
import spending
from paper.sampler import ClaimSampler, middle

spending.METHOD = os.environ.get("METHOD", "counter")


class Run(gated.Run):
    """Costs what it is told, window after window; faults likewise."""

    def __init__(self, *joules, faults=()):
        super().__init__("sst2/mine")
        self.left, self.faults, self.measured = list(joules), list(faults), []

    def window(self, passes=1):
        self._mean, self._cv, self._tokens = self.left.pop(0), 0.0, 1000 * passes
        self.measured.append(passes)
        spending.faults[:] = [self.faults.pop(0)] if self.faults else []
        return super().window()
'''

_TESTS = {
    "the_middle": """
        run = Run(0.005, 0.009, 0.004)
        (window,) = sampler.windows(run)
        assert window.joules_per_token == pytest.approx(0.005)
    """,
    "each_budget_has_its_own_and_rounds_turn": """
        run = Run(*[0.1] * 3, *[0.2] * 3, *[0.3] * 3)
        windows = sampler.windows(run, (1, 2, 10))
        assert run.measured == [1, 2, 10, 10, 2, 1, 1, 2, 10]
        assert [window.tokens for window in windows] == [1000, 2000, 10000]
        assert [window.joules for window in windows] == pytest.approx([200, 400, 2000])
    """,
    "warming_up_takes_as_many_passes_as_the_meter_needs": """
        run = Run(*[0.1] * 4, faults=["too short: a"] * 2)
        sampler.warm_up(run)
        assert run.measured == [1, 4, 16, 16]
    """,
    "runs_take_turns": """
        order = []
        class Noted(Run):
            def window(self, passes=1):
                order.append(self.id)
                return super().window(passes)
        runs = [Noted(*[0.1] * 2, 0.3, 0.1, 0.2), Noted(*[0.5] * 5)]
        runs[1].id = "other"
        windows = [middle(each) for each in sampler.in_turn(runs)]
        assert order[4:] == ["sst2/mine", "other", "other", "sst2/mine", "sst2/mine", "other"]
        assert [w.joules_per_token for w in windows] == pytest.approx([0.2, 0.5])
    """,
    "an_invalid_window_is_measured_again": """
        run = Run(0.7, 0.5, faults=["throttled: hot"])
        assert sampler.windows(run, rounds=1)[0].joules_per_token == pytest.approx(0.5)
    """,
    "what_a_gate_has_measured_is_there_for_claims": """
        from dataclasses import replace
        from pytest_energy.results import VerdictRecord
        window = Run(0.3).window()
        bad = replace(window, invalid_reason="throttled: hot")
        for work, metric in (("it", "joules_per_token"), ("it", "savings"), (None, "joules")):
            record = VerdictRecord("x", metric, workload=work, windows=(window, bad))
            energy_session.results.verdicts.append(record)
        assert sampler.measured("it") == [window]
        assert sampler.measured("other") == []
        assert sampler.measured(None) == []
    """,
    "warm_up_is_no_evidence": """
        run = Run(0.9, 0.6, 0.5, 0.5, 0.5, 0.4)
        assert sampler.joules_per_token(run, rounds=1) == pytest.approx(0.4)
    """,
}


def _module(body: str) -> str:
    begin = "def test_it(energy_session):\n    sampler = ClaimSampler(energy_session)\n"
    return f"{_RUN}\n\n{begin}{body}"


@pytest.mark.parametrize("name", _TESTS)
def test_windows(pytester: pytest.Pytester, spending: Path, name: str) -> None:
    pytester.makepyfile(_module(indent(dedent(_TESTS[name]), "    ")))

    pytester.runpytest().assert_outcomes(passed=1)


def test_modelled_joules_warm_up_once(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METHOD", "modelled")
    pytester.makepyfile(
        _module(
            "    assert sampler.joules_per_token(Run(0.9, 0.6), rounds=1) == pytest.approx(0.6)\n"
        )
    )

    pytester.runpytest().assert_outcomes(passed=1)


def test_what_is_warm_is_not_warmed_up_again(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METHOD", "modelled")
    body = (
        "    run = Run(0.9, 0.6)\n"
        "    run.latest = [run.window()]\n"
        "    assert sampler.joules_per_token(run, rounds=1) == pytest.approx(0.6)\n"
    )
    pytester.makepyfile(_module(body))

    pytester.runpytest().assert_outcomes(passed=1)


def test_without_evidence_the_test_is_skipped_with_the_reason(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "    sampler.windows(Run(*[0.1] * 9, faults=['throttled: hot'] * 9))\n"
    pytester.makepyfile(_module(body))

    here = pytester.runpytest("-rs")
    strict = pytester.runpytest("--energy-strict")
    monkeypatch.setenv("CI", "true")
    in_ci = pytester.runpytest()

    here.assert_outcomes(skipped=1)
    here.stdout.fnmatch_lines(["*invalid, so not a pass: 5 windows of `sst2/mine`*"])
    for result in (strict, in_ci):
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["invalid, so not a pass: 5 windows of `sst2/mine` in a row*throttled: hot"]
        )
        assert "Traceback" not in result.stdout.str()
        assert "another exception" not in result.stdout.str()
