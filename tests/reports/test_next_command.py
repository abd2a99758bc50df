"""The command that a run proposes to type next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_energy.metering.device_session import RunCost
from pytest_energy.meters.protocol import more_work
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


def test_what_modelled_joules_show_can_be_made_to_fail() -> None:
    side = Side("base", "HEAD (123abc)", 0.005, 300.0, 60_000.0, None, {})
    against_head = ComparisonRecord("HEAD (123abc)", "revision", side, side, ((0.005, 0.0054),))
    shown = run("regression", local=True).verdicts[0]
    shown = replace(shown, method="modelled", comparison=against_head)
    record = replace(run("regression"), verdicts=(shown,))

    (step,) = next_steps(record, arguments=("-x", "--energy-compare=HEAD"))
    assert step.startswith("pytest -x --energy-compare=HEAD --energy-strict   # ")

    failing = replace(record, verdicts=(replace(shown, fails=True),))
    steps = next_steps(failing, arguments=("-x", "--energy-compare=HEAD"))
    assert not any("--energy-strict" in step for step in steps)


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("5 windows: too short: 1 J", "give each window more work"),
        ("5 windows: no update: the source", "give each window more work"),
        (f"too short: 0 J; {more_work(1e-5)}", "see that the code in the window does its work: "),
        ("unseen work: a process of ours ended", "let your code wait for each process "),
        ("waited for a core: threads", "OMP_NUM_THREADS=1 pytest -x --energy-compare=HEAD   # or "),
        ("foreign process: 12 on `gpu:0`; run what is metered with `-n 0`",
         "pytest -x --energy-compare=HEAD -n 0"),
        ("foreign process: 12 on `gpu:0`", "stop the other programs on the device, "),
        ("throttled: thermal slowdown", "let the device cool, "),
        ("power limit changed: that of `gpu:0`", "leave the power limit alone, "),
        ("the power limit (W) is 500, the baseline's was 700; set it back, or record anew with "
         "`--energy-update=replace`", "pytest -x --energy-hw=h200 --energy-update=replace   # if "),
        ("not as warm as its baseline: 30 °C; load the device for some minutes before, or record "
         "anew with `--energy-update=replace`", "load the device for some minutes, then "),
        ("not recorded: the halves differ; let the device settle and record again",
         "run it again once the device is warm and nothing else works on it"),
        ("noisier than the baseline; stop other work on the device, let it warm up, and run again.",
         "stop other work on the device, let it warm up, and run again"),
        ("`seed` of `a` is 1 in the base and 2 in the head: give both sides the same",
         "give both sides the same work"),
        ("not compared: the head (`working tree`) fails: ValueError: too short: 1",
         "pytest 'test_a.py::test_b[c d]'   # your code fails in it: mend that"),
        ("not compared: the head (`working tree`) hangs: no window",
         "pytest 'test_a.py::test_b[c d]'   # your code fails in it: mend that"),
        ("not compared: the base (`main (3f2a1b9)`) cannot be imported: NameError",
         "compare with a revision in which the test runs"),
        ("not compared: the head (`working tree`) ran out of memory: killed",
         "mend what the reason names, then run it again"),
        ("counter stands still: a tick", "pytest-energy doctor"),
    ],
)  # fmt: skip
def test_what_to_do_next_about_what_is_invalid(reason: str, step: str) -> None:
    verdict = replace(run("invalid", reason).verdicts[0], nodeid="test_a.py::test_b[c d]")

    record = replace(run("invalid"), verdicts=(verdict,))
    (told,) = next_steps(record, arguments=["-x", "--energy-compare=HEAD"])

    assert told.startswith(step)


def test_of_two_invalid_figures_the_one_that_fails_its_test_comes_first() -> None:
    short, hot = (run("invalid", reason).verdicts[0] for reason in ("too short: 1", "throttled: 1"))
    record = replace(run("invalid"), verdicts=(short, replace(hot, fails=True)))

    assert next_steps(record) == ["let the device cool, then run it again"]


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
