"""Annotations: at the benchmark's line, escaped as GitHub reads them, no more than it shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_energy.files import append
from pytest_energy.reports import (
    MOST_OF_A_KIND,
    STEP_SUMMARY_BYTES,
    Annotation,
    annotated,
    room_in,
    workflow_commands,
)
from pytest_energy.reports.wording import headline
from pytest_energy.results import NotMeasured, VerdictRecord
from pytest_energy.results.claims import Figure
from report_support import claim, full_run, gated, run

ROOT = Path("/repo")


def missing(number: int, *, fails: bool = False) -> VerdictRecord:
    return VerdictRecord(
        f"x{number}", "joules_per_token", outcome="missing", reason="no baseline", fails=fails
    )


def test_properties_and_messages_are_escaped() -> None:
    annotation = Annotation("error", "a: b, 5 %\nc", "50 %, a: b\r\nc", "tests/a,b:c.py", 12)

    assert workflow_commands([annotation], ROOT, {}) == [
        "::error file=tests/a%2Cb%3Ac.py,line=12,title=a%3A b%2C 5 %25\\nc::50 %25, a: b\\r\\nc"
    ]


def test_a_place_is_given_from_the_checkout() -> None:
    annotation = Annotation("warning", "t", "m", "tests/test_x.py", 3)

    lines = workflow_commands([annotation], ROOT / "python", {"GITHUB_WORKSPACE": str(ROOT)})

    assert lines == ["::warning file=python/tests/test_x.py,line=3,title=t::m"]


def test_a_verdict_without_a_place_has_none() -> None:
    assert workflow_commands([Annotation("warning", "t", "m")], ROOT, {}) == [
        "::warning title=t::m"
    ]


def test_what_fails_is_an_error_and_what_only_informs_a_warning() -> None:
    failing = replace(gated("squad", 0.07), fails=True, location=("tests/test_x.py", 5))
    shown = replace(gated("mnli", 0.07), fails=False)

    found = annotated(run(gated("sst2"), shown, failing, claims=(claim(),)).record)

    assert [(a.kind, a.title, a.file, a.line) for a in found] == [
        ("error", "energy claim fails", "benchmarks/test_scaling.py", 7),
        ("error", "energy regression: squad", "tests/test_x.py", 5),
        ("warning", "energy regression: mnli", None, None),
    ]
    assert "`r_squared` is 0.98" in found[0].message
    assert found[2].message.endswith("(shown only, fails nothing)")


def test_what_ci_fails_for_want_of_evidence_is_an_error_and_counted() -> None:
    doubtful = Figure("r_squared", 0.98, at_least=0.99, doubt="others used the CPU")
    untestable = replace(claim(), figures=(doubtful,))
    shown, failing = run(claims=(untestable,)).record, replace(untestable, strict=True)
    stored = (NotMeasured("joules_per_token", "a/gone"),)
    demanded = tuple(replace(one, fails=True) for one in stored)

    found = annotated(replace(run(claims=(failing,)).record, not_measured=demanded))

    assert [(a.kind, a.title) for a in found] == [
        ("error", "energy claim not testable"),
        ("error", "energy figures not measured"),
    ]
    assert "Not testable here: `r_squared` is 0.98" in found[0].message
    assert "`a/gone`" in found[1].message
    assert annotated(replace(shown, not_measured=stored)) == []
    assert headline(replace(shown, not_measured=stored)) == "no failure in 1 claim"
    assert headline(replace(run(claims=(failing,)).record, not_measured=demanded)) == (
        "1 of 1 claims fails, 1 stored figure not measured"
    )


@pytest.mark.attack(
    "text",
    "a test's name ends a line of an annotation and begins a command",
    "escaped",
)
def test_no_line_breaks_out_whatever_names_hold() -> None:
    lines = workflow_commands(annotated(full_run().record), ROOT, {})

    assert all(line.startswith(("::error ", "::warning ")) for line in lines)
    assert all("\n" not in line and "\r" not in line for line in lines)


@pytest.mark.parametrize("count", [MOST_OF_A_KIND, MOST_OF_A_KIND + 1])
def test_what_github_would_hide_is_counted(count: int) -> None:
    found = annotated(run(*(missing(k) for k in range(count))).record)

    lines = workflow_commands(found, ROOT, {})

    assert len(lines) == MOST_OF_A_KIND
    hidden = "::warning title=energy%3A 2 more::GitHub shows no more of them; see the summary"
    assert (lines[-1] == hidden) == (count > MOST_OF_A_KIND)


def test_errors_and_warnings_count_apart() -> None:
    records = [missing(k, fails=k < 10) for k in range(20)]

    assert len(workflow_commands(annotated(run(*records).record), ROOT, {})) == 2 * MOST_OF_A_KIND


def test_a_summary_is_appended_to_what_others_wrote(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    assert room_in(summary) == STEP_SUMMARY_BYTES

    summary.write_text("## Lint\n", encoding="utf-8")
    append(summary, "## Energy ✅\n")

    assert summary.read_text(encoding="utf-8") == "## Lint\n## Energy ✅\n"
    assert room_in(summary) == STEP_SUMMARY_BYTES - len("## Lint\n## Energy ✅\n".encode())
