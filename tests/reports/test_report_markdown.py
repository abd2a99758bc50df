"""The run as Markdown: what failed first, names harmless, a summary that fits."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pytest_energy.reports.markdown import escaped, render, sentence
from pytest_energy.results import VerdictRecord
from pytest_energy.results.json_codec import ReportedRun
from report_support import NASTY, claim, compared, full_run, gated, run


def rendered(reported: ReportedRun, most_bytes: int | None = None) -> str:
    return render(reported.record, reported.footprint, most_bytes)


def test_what_failed_comes_first_with_its_sentence() -> None:
    failing = replace(gated("squad", 0.07), fails=True)

    text = rendered(run(gated("sst2"), failing))

    lines = text.splitlines()
    assert lines[0] == "## Energy: 1 of 2 verdicts fails"
    assert lines[2] == "| verdict | benchmark | value | baseline | change |"
    assert lines[4].startswith("| ❌ regression | squad | 5.3")
    assert lines[5].startswith("| ✅ within | sst2 | 5.0")
    assert lines[7].startswith("- **squad**: 5.3")
    assert "is a regression beyond the tolerance of 2 %" in lines[7]
    assert "Next: <code>pytest --energy-compare=auto" in text
    assert ", or <code>pytest --energy-hw=h200 --energy-update=replace" in text
    assert text.rstrip().endswith("in 25 s of metering.")


def test_a_claim_shows_its_figures_and_folds_its_tables() -> None:
    text = rendered(run(claims=(claim("Energy is linear."),)))

    assert "### ❌ fails: Energy is linear." in text
    assert "<code>r\\_squared</code> is 0.98; claimed is at least 0.99" in text
    assert "| r\\_squared | 0.9800 | &gt;= 0.9900 | 0.997 (derived) | fails |" in text
    assert "<details><summary>by budget Energy is linear.</summary>" in text
    assert "| 2,000 | - | y |" in text


def test_environment_says_what_changed() -> None:
    text = rendered(full_run())

    assert "### What changed around it" in text
    assert "| torch | 2.13.0 | 2.15.0 |" in text


@pytest.mark.attack(
    "text",
    "names hold Markdown and HTML",
    "shown as text",
)
def test_names_break_out_of_nothing() -> None:
    text = rendered(full_run())

    assert "<script" not in text
    assert "<img" not in text
    assert set(re.findall(r"</?(\w+)", text)) <= {"details", "summary", "code"}
    tables = re.split(r"\n(?!\|)", text)
    for rows in (block.splitlines() for block in tables if block.startswith("|")):
        cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
        assert len(cells) == 1, rows


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("a`b", "a\\`b"),
        ("two\nlines", "two\\\\nlines"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("a_b*c", "a\\_b\\*c"),
        ("\\|", "\\\\\\|"),
        ("[x](y)", "\\[x\\](y)"),
    ],
)
def test_escaping(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_names_in_backticks_become_code_where_they_are_pairs() -> None:
    assert sentence("`a` is 3, `<b>` is 4") == "<code>a</code> is 3, <code>&lt;b&gt;</code> is 4"
    assert sentence("`a`b` is 3") == "\\`a\\`b\\` is 3"


def test_a_comparison_names_both_sides() -> None:
    text = rendered(run(compared("imdb")))

    assert "<details><summary>imdb: base and head</summary>" in text
    assert "| from | 4f2a9c1 | &lt;script&gt;" in text
    assert "| power | 500.0 W | 500.0 W | +0.0 % |" in text


def test_what_does_not_fit_is_named_and_left_out() -> None:
    whole = rendered(full_run())
    size = len(whole.encode()) - 100

    text = rendered(full_run(), size)

    assert len(text.encode()) <= size
    assert "Too long for this summary: environment; see `--energy-html`." in text
    assert "What changed around it" not in text
    assert text.startswith(
        "## Energy: 1 of 3 verdicts fails, 1 regression shown only, 1 of 1 claims fails"
    )


def test_nothing_metered_says_so() -> None:
    assert rendered(run()).startswith("## Energy: nothing was metered")


def test_a_verdict_without_figures_has_empty_cells() -> None:
    missing = VerdictRecord("x", "joules_per_token", outcome="missing", reason="no baseline")

    assert "| ⚠️ missing | x |  |  |  |" in rendered(run(missing))
    assert NASTY not in rendered(run(missing))


def test_a_regression_that_fails_nothing_is_in_the_headline_all_the_same() -> None:
    shown = replace(gated("squad", 0.07), fails=False, local=True)

    headline = rendered(run(gated("sst2"), shown)).splitlines()[0]

    assert headline == "## Energy: no failure in 2 verdicts, 1 regression shown only"


def test_who_else_used_the_processor_is_told() -> None:
    reported = full_run()
    record = replace(reported.record, disturbance="other processes used 40 % of it")
    disturbed = replace(reported, record=record)

    assert "arning: other processes used 40 % of it" in rendered(disturbed)
