"""The end of a run fits a screen: what figures say alike is one line, and so is each claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_energy.reports import terminal
from pytest_energy.results import NOT_KEPT, RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord, Figure

EARLY = VerdictRecord(
    "sst2/bert",
    "joules_per_token",
    outcome="inconclusive",
    reason="may be within the tolerance of 2 %.",
    value=0.053,
    baseline=0.052,
    change=0.02,
    local=True,
    sessions=1,
    method="modelled",
)


def _figure(name: str, value: float = 0.5, **fields: Any) -> Figure:
    return Figure(name, value, at_least=0.25, **fields)


def _claim(text: str, *figures: Figure) -> ClaimRecord:
    return ClaimRecord(text, f"test_{text}", "modelled", figures)


def _lines(record: RunRecord, *, verbose: bool = False) -> list[str]:
    return terminal.render(record, region=None, colour=False, verbose=verbose).splitlines()


def test_a_whole_suite_that_cannot_tell_yet_fits_fifty_lines() -> None:
    figures = [replace(EARLY, id=f"task{n}/model") for n in range(24)]
    figures[7] = replace(figures[7], change=-0.1)
    claims = [_claim("half the energy, on every task.", _figure(f"task{n}")) for n in range(8)]
    claims += [_claim(f"claim {n}.", *map(_figure, "abc")) for n in range(8)]
    record = RunRecord(verdicts=tuple(figures), claims=tuple(claims))

    lines = _lines(record)
    in_full = _lines(record, verbose=True)

    assert len(lines) <= 50
    assert (
        "24 figures beside 1 session of this machine: too early to tell; largest change -10.0 %, "
        "`task7/model`"
    ) in lines
    assert not any("may be within" in line for line in lines)
    assert sum("half the energy" in line for line in lines) == 1
    assert sum("may be within" in line for line in in_full) == 24
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize(("second", "words"), [(1, "1 session of"), (3, "1 to 3 sessions of")])
def test_sessions_are_counted(second: int, words: str) -> None:
    record = RunRecord(verdicts=(EARLY, replace(EARLY, id="other", sessions=second)))

    assert any(f"2 figures beside {words} this machine" in line for line in _lines(record))


def test_what_a_restless_machine_leaves_open_says_which_level_it_holds() -> None:
    def figure(name: str, detect: int, change: float) -> VerdictRecord:
        reason = f"{EARLY.reason} raise `--energy-detect` to {detect} (percent), or settle it."
        return replace(EARLY, id=name, sessions=8, reason=reason, change=change)

    record = RunRecord(verdicts=(figure("one", 12, 0.03), figure("two", 18, 0.01)))

    assert (
        "2 figures beside 8 sessions of this machine stay open, since its sessions differ too much "
        "for such levels; largest change +3.0 %, `one`; raise `--energy-detect` to 18 (percent), "
        "or settle it by A/B in one session with `--energy-settle=auto`"
    ) in _lines(record)


def test_a_single_figure_keeps_its_sentence() -> None:
    (line,) = (line for line in _lines(RunRecord(verdicts=(EARLY,))) if "may be" in line)

    assert line == "sst2/bert: inconclusive. may be within the tolerance of 2 %."


def test_what_a_committed_baseline_leaves_open_keeps_its_sentences() -> None:
    verdicts = tuple(replace(EARLY, id=name, local=False, sessions=8) for name in "ab")

    assert sum("may be within" in line for line in _lines(RunRecord(verdicts=verdicts))) == 2


def test_figures_that_vary_too_much_to_be_kept_are_one_line() -> None:
    verdicts = tuple(
        replace(EARLY, id=name, local=False, reason=f"{NOT_KEPT}: 4 windows vary by 12 %.")
        for name in "abcde"
    )

    (line,) = (line for line in _lines(RunRecord(verdicts=verdicts)) if NOT_KEPT in line)

    assert line.startswith(f"5 figures are {NOT_KEPT}, since their windows vary too much: `a`, `b`")
    assert "and 2 more; stop other work" in line


def test_figures_that_are_invalid_alike_are_one_line_for_each_fault() -> None:
    def invalid(name: str, fault: str) -> VerdictRecord:
        reason = f"5 windows of `{name}` were invalid in warm-up: {fault}"
        return replace(EARLY, id=name, outcome="invalid", reason=reason)

    faults = ("too short: 1 J", "too short: 2 J", "throttled: hot")
    verdicts = tuple(invalid(name, fault) for name, fault in zip("abc", faults, strict=True))

    lines = [line for line in _lines(RunRecord(verdicts=verdicts)) if "in warm-up" in line]

    assert lines == [
        "2 figures are invalid, `a`, `b`; the first: 5 windows of `a` were invalid in warm-up: too "
        "short: 1 J",
        "c: invalid. 5 windows of `c` were invalid in warm-up: throttled: hot",
    ]


def test_a_claim_shows_its_worst_figure_with_its_bounds() -> None:
    failing = _figure("rte", 0.1)
    claims = (_claim("it is so.", _figure("sst2")), _claim("it is so.", failing, _figure("mnli")))

    lines = _lines(RunRecord(claims=claims))

    (line,) = (line for line in lines if "it is so." in line)
    assert line.split("  ")[0] == "fails (modelled)"
    assert "rte 0.1000 (>= 0.2500) and 2 more" in line


def test_a_claim_without_bounds_is_measured() -> None:
    lines = _lines(RunRecord(claims=(_claim("so much.", Figure("slope", 0.031, "J/token")),)))

    assert any("measured (modelled)" in line and "slope 31.00 mJ/token" in line for line in lines)


def test_why_claims_are_not_testable_is_said_once() -> None:
    busy = "other processes used {} % of this machine's CPU meanwhile"
    claims = (
        _claim("it is so.", _figure("a", doubt=busy.format(12)), _figure("b", doubt="too few")),
        _claim("and so.", _figure("c", doubt=busy.format(14)), _figure("d", doubt="too few")),
    )

    alone = _lines(RunRecord(claims=claims))
    told = _lines(RunRecord(claims=claims, disturbance=busy.format(13)))

    assert f"not testable: `a`, `c`: {busy.format(12)}" in alone
    assert "not testable: `b`, `d`: too few" in alone
    assert sum("other processes" in line for line in told) == 1


def test_what_figures_are_warned_of_alike_is_one_warning() -> None:
    verdicts = tuple(
        replace(
            EARLY, id=name, warning=f"`detect` 5 % is 3 % above, but {name} sessions", local=False
        )
        for name in "ab"
    )

    warned = [line for line in _lines(RunRecord(verdicts=verdicts)) if "warning: " in line]

    assert warned == [
        "warning: `detect` 5 % is 3 % above, but a sessions (2 figures are alike, `-v` has them "
        "all)"
    ]
