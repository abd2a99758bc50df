"""Where the time of a token goes on both sides, as every report shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_energy.reports import markdown, tables, terminal
from pytest_energy.reports.charts import profile_charts
from pytest_energy.results import VerdictRecord
from report_support import compared, profiled, run

pytest.importorskip("plotly")
pytest.importorskip("jinja2")
from pytest_energy.reports.html import render


@pytest.fixture
def verdict() -> VerdictRecord:
    return compared("sst2/mine")


def test_the_bars_of_both_sides_are_as_high_as_a_token_takes_long() -> None:
    profile = profiled()

    for chart in profile_charts(profile, "p"):
        assert chart.layout["barmode"] == "stack"
        assert {tuple(trace["x"]) for trace in chart.data} == {("base", "head")}
        heights = [sum(trace["y"][side] for trace in chart.data) for side in (0, 1)]
        assert heights == pytest.approx([10.0, 11.0])


def test_the_page_shows_them_with_tables_and_what_came_and_went(verdict: VerdictRecord) -> None:
    page = render([run(verdict)])

    body = page.partition('id="charts">')[0]
    assert 'id="r0-v0-profile-phases"' in body
    assert 'id="r0-v0-profile-operators"' in body
    assert "Time of a token by module, under the profiler" in body
    assert "kernels that came" in body
    assert "gemm&lt;float&gt;" in body


def test_a_change_against_a_baseline_is_named_so(verdict: VerdictRecord) -> None:
    alone = replace(verdict, comparison=None)

    page = render([run(alone)])

    assert "baseline, µs" in page
    assert "base, µs" not in page


def test_the_terminal_shows_phases_and_what_moved_the_most(verdict: VerdictRecord) -> None:
    text = terminal.render(run(verdict).record, region=None, colour=False, verbose=False)

    lines = text.split("\n")
    start = lines.index("sst2/mine: time of a token under the profiler")
    assert lines[start + 1].split() == ["base,", "µs", "head,", "µs", "change", "points"]
    assert lines[start + 2].split() == ["forward", "4.000", "4.000", "+0.0", "%", "+0.0"]
    # The one that moved comes before the one that takes longer.
    assert lines[start + 5].rstrip().endswith("+100.0 %   +10.0")
    assert "  kernels that came: other<float>" in lines
    assert "  kernels that went: gemm<float>" in lines


def test_markdown_folds_the_tables(verdict: VerdictRecord) -> None:
    text = markdown.render(run(verdict).record, run(verdict).footprint)

    folded = text.partition("time of a token under the profiler</summary>")[2]
    assert "| operator | base, µs | head, µs | change | points | calls a step |" in folded
    assert "| aten::mm | 8.000 | 8.000 | +0.0 % | +0.0 | 12 |" in folded
    assert "kernels that came: other&lt;float&gt;" in folded


def test_calls_are_left_out_where_none_are_known() -> None:
    phases = tables.profile_tables(profiled())[0]

    assert phases.headings == ["phase", "base, µs", "head, µs", "change", "points"]
