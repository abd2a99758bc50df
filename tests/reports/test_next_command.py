"""The command that a run proposes to type next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_energy.metering.device_session import RunCost
from pytest_energy.reports.next_steps import next_steps
from pytest_energy.results import (
    INTERRUPTED,
    NOT_RECORDED,
    ComparisonRecord,
    RunRecord,
    Side,
    VerdictRecord,
)

HARDWARE = {"key": "h200"}


def run(outcome: str, reason: str = "", *, local: bool = False) -> RunRecord:
    verdict = VerdictRecord("a/b", "joules_per_token", outcome=outcome, reason=reason, local=local)
    return RunRecord(HARDWARE, {}, (verdict,), RunCost())


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ((), ""),
        (("--energy-compare=", "benchmarks/"), "benchmarks/ "),
        (("benchmarks/", "-k", "sst2 or qa"), "benchmarks/ -k 'sst2 or qa' "),
        (
            ("--energy-hw", "cpu", "-x", "--energy-compare=main", "--energy-tokens=9"),
            "-x --energy-tokens=9 ",
        ),
        (("-n1", "-x", "--dist=loadfile", "-n", "2", "b/"), "-x b/ "),
        (("--numprocesses=auto", "-nauto", "-d", "--tx", "2*popen", "-new.py"), "-new.py "),
    ],
)
def test_it_selects_the_same_tests(arguments: tuple[str, ...], kept: str) -> None:
    (command,) = next_steps(run("missing"), arguments=arguments)

    assert command.startswith(f"pytest {kept}--energy-hw=h200 --energy-update=new ")


def test_windows_that_are_too_short_need_more_work_not_a_doctor() -> None:
    assert next_steps(run("invalid", "5 windows: too short: 1 J")) == ["give each window more work"]
    assert next_steps(run("invalid", "5 windows: throttled")) == ["pytest-energy doctor"]


@pytest.mark.parametrize("reason", [f"{NOT_RECORDED}failed", f"{INTERRUPTED}, after 3"])
def test_what_a_test_took_back_is_no_fault_of_the_windows(reason: str) -> None:
    assert next_steps(run("invalid", reason)) == []


def test_after_a_regression_the_first_step_looks_and_the_others_accept() -> None:
    verdict = replace(
        run("regression").verdicts[0], id="a/b c", change=0.0612, interval=(0.05, 0.082)
    )
    record = replace(run("regression"), verdicts=(verdict,))

    look, known, stays = next_steps(record, arguments=["benchmarks/", "--energy-hw=h200"])

    assert look.startswith("pytest benchmarks/ --energy-compare=auto ")
    assert known.startswith("pytest-energy acknowledge 'a/b c' --up-to 10% --until 20")
    assert stays.startswith("pytest benchmarks/ --energy-hw=h200 --energy-update=replace ")


def test_an_improvement_is_locked_in() -> None:
    (step,) = next_steps(run("improvement"))

    assert step.startswith("pytest --energy-hw=h200 --energy-update=replace ")


@pytest.mark.parametrize(
    ("reference", "steps"),
    [
        ("main (3f2a1b9)", ["pytest-energy bisect --good 3f2a1b9 -- b/   # which commit?"]),
        ("3f2a1b9", ["pytest-energy bisect --good 3f2a1b9 -- b/   # which commit?"]),
        (
            "the merge base with main (3f2a1b9)",
            ["pytest-energy bisect --good 3f2a1b9 -- b/   # which commit?"],
        ),
        ("HEAD (3f2a1b9)", []),  # what is not committed is no commit's
        ("main, which is HEAD (3f2a1b9)", []),
    ],
)
def test_a_comparison_that_found_a_regression_is_followed_to_its_commit(
    reference: str, steps: list[str]
) -> None:
    side = Side("base", reference, 0.005, 300.0, 60_000.0, None, {})
    compared = ComparisonRecord(reference, "revision", side, side, ((0.005, 0.0054),))
    verdict = replace(run("regression").verdicts[0], comparison=compared)

    found = next_steps(replace(run("regression"), verdicts=(verdict,)), arguments=["b/"])

    assert found == steps
