"""The page as text: names harmless, charts that Plotly accepts, sections that have something."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from pytest_energy.history import DriftReport, Restless, TakenBack
from pytest_energy.reports.charts import (
    Chart,
    gate_chart,
    pairs_chart,
    power_chart,
    window_changes,
)
from pytest_energy.reports.drift import drift_chart
from pytest_energy.reports.html import gauge
from pytest_energy.results import VerdictRecord
from report_support import NASTY, compared, drift, full_run, gated, run

pytest.importorskip("plotly")
pytest.importorskip("jinja2")
from pytest_energy.reports.html import render


class Page(HTMLParser):
    """Tags, addresses, text and the script elements of a page, as a browser takes them apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and self.cdata_elem == "script":
            self.scripts.append(data)
        else:
            self.text += data

    @property
    def spaced(self) -> str:
        """Its text with plain spaces, in whatever way lines may break."""
        return self.text.replace("\u00a0", " ")

    @property
    def charts(self) -> dict[str, Any]:
        """The charts' data, as the page's script reads them."""
        charts: dict[str, Any] = json.loads(self.scripts[0])
        return charts


@pytest.fixture(scope="module")
def page() -> Page:
    """A page with everything in it."""
    return Page(render([full_run()], drift()))


def test_a_restless_series_and_what_was_taken_back_are_told() -> None:
    found = next(one for one in drift().series if one.change_points)
    moved = replace(
        found.change_points[0], reported="2026-05-02T03:00", reported_as="2026-04-01T03:00"
    )
    told = replace(
        found,
        state="restless",
        restless=Restless("2026-03-12T03:00", 0.004, 0.0084, 2.1),
        taken_back=(TakenBack("2026-02-03T03:00", "2026-01-30T03:00"),),
        change_points=(moved,),
    )

    text = Page(render([], DriftReport((told,)))).spaced

    assert "is restless" in text
    assert "2.1 times as restless since 2026-03-12: sessions vary by 0.84 % (SD)" in text
    assert "Taken back: a change as of 2026-01-30" in text
    assert "with the session of 2026-05-02 it was first reported, as of 2026-04-01." in text


@pytest.mark.attack(
    "text",
    "names hold HTML and scripts",
    "shown as text",
)
def test_names_break_out_of_nothing(page: Page) -> None:
    assert len([tag for tag in page.tags if tag == "script"]) == 3
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>|`x`</script>" in page.text
    assert "</" not in page.scripts[0]
    names = {trace.get("name", "") for one in page.charts.values() for trace in one["data"]}
    assert any("&lt;script&gt;" in name for name in names)
    assert not any("<" in name for name in names)


def test_the_page_fetches_nothing(page: Page) -> None:
    addresses = [v for name, v in page.attributes if name in ("src", "href", "srcset", "action")]
    assert all(v is not None and v.startswith(("#", "data:,")) for v in addresses)
    assert not {"iframe", "object", "embed", "base"} & set(page.tags)


def test_every_chart_has_its_place_and_plotly_accepts_it(page: Page) -> None:
    from plotly.graph_objects import Figure

    identifiers = [v for name, v in page.attributes if name == "id"]
    assert len(page.charts) >= 9
    assert set(page.charts) <= set(identifiers)
    assert len(identifiers) == len(set(identifiers))
    for chart in page.charts.values():
        named = json.loads(re.sub(r'"@[a-z0-9-]+(/[0-9.]+)?"', '"#123456"', json.dumps(chart)))
        Figure(named)


def test_each_section_is_there(page: Page) -> None:
    for heading in ("Verdicts", "What changed around it", "Over time", "How each was found",
                    "Claims", "Environment"):  # fmt: skip
        assert heading in page.text
    assert "since commit 25abcdef0123 (last good <script>aler)." in page.text
    assert "The baseline is stale: the last sessions are at 5.200 mJ/token" in page.spaced
    assert "17 more sessions are needed" in page.text
    assert "x.json: no record; skipped" in page.text
    assert "+7.0 % J/token: same power; torch 2.13.0 -> 2.15.0." in page.spaced


def test_it_says_what_ran_and_how_it_ended(page: Page) -> None:
    facts = ("we/classify", "4f2a9c1d7e08 and changes since", "pytest benchmarks/")
    kinds = ("1 regression", "1 regression shown only", "1 window metered", "1 claim fails")

    assert [text for text in (*facts, *kinds) if text not in page.text] == []


def headline_class(*verdicts: VerdictRecord) -> str:
    tones = re.findall(r'<h1 class="(.*?)"', render([run(*verdicts)]))
    assert len(tones) == 1
    return str(tones[0])


def test_the_headline_has_the_colour_of_the_worst() -> None:
    fails = replace(gated("imdb/bert", 0.07), fails=True)
    is_open = replace(gated("rte/bert"), outcome="inconclusive")
    unknown = replace(gated("qqp/bert"), outcome="of a later version")

    assert headline_class(gated("sst2/bert"), unknown) == "good"
    assert headline_class(gated("sst2/bert"), is_open) == "doubt"
    assert headline_class(gated("sst2/bert"), is_open, fails) == "bad"


def test_without_a_history_nothing_is_said_of_time() -> None:
    page = Page(render([run(gated("sst2"))]))

    assert "Over time" not in page.text
    assert "Claims" not in page.text
    assert "What changed around it" not in page.text


def test_a_history_alone_makes_a_page() -> None:
    page = Page(render([], drift()))

    assert "1 of 2 figures drifts" in page.text
    assert "Verdicts" not in page.text
    assert "1 of 2 figures drifts" in Page(render([], drift())).text
    assert "0 of 0 figures drift" in Page(render([], DriftReport())).text


def test_a_page_without_charts_leaves_the_library_out() -> None:
    verdict = VerdictRecord("x", "joules_per_token", outcome="missing", reason="no baseline")

    assert len(render([run(verdict)])) < 50_000


def test_the_gate_is_drawn_with_its_zones() -> None:
    chart = drawn(gate_chart(gated("x", 0.07), "k"))

    mean = next(trace for trace in chart.data if trace["name"] == "mean so far")
    changed = next(trace for trace in chart.data if trace["name"] == "changed")
    assert mean["y"][-1] == pytest.approx(7.0, abs=0.5)
    count = len(mean["x"])
    high = [b for x, b in zip(changed["x"], changed["base"], strict=True) if x == count and b > 0]
    assert mean["y"][-1] >= high[0]
    assert f"After {count} windows" in chart.note
    assert "crossed into the zone of a change" in chart.note


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("within", "nothing has changed"),
        ("inconclusive", "lay between the zones"),
        ("invalid", "cannot be believed"),
    ],
)
def test_the_note_says_where_it_ended(outcome: str, words: str) -> None:
    assert words in drawn(gate_chart(replace(gated("x"), outcome=outcome), "k")).note


def test_a_verdict_without_a_trace_has_no_gate_chart() -> None:
    assert gate_chart(replace(gated("x"), trace=()), "k") is None


def test_single_windows_are_shown_as_changes() -> None:
    verdict = gated("x", 0.07)

    assert window_changes(verdict) == pytest.approx(
        [w.joules_per_token / (verdict.baseline or 0) - 1 for w in verdict.windows]
    )
    real = replace(verdict, metric="joules_per_real_token", baseline=0.015)
    assert window_changes(real)[0] == pytest.approx(
        verdict.windows[0].joules_per_real_token / 0.015 - 1
    )
    savings = replace(verdict, metric="savings", unit="fraction", baseline=0.0)
    assert window_changes(savings) == []
    pair = replace(savings, baseline=0.01, windows=(verdict.windows[0], verdict.windows[1]))
    ratio = verdict.windows[1].joules_per_token / verdict.windows[0].joules_per_token
    assert window_changes(pair) == pytest.approx([1 - ratio - 0.01])


def test_pairs_are_drawn_beside_each_other() -> None:
    verdict = compared("x")
    assert verdict.comparison is not None

    chart = pairs_chart(verdict.comparison, "J/token", "k")

    base, head = (next(t for t in chart.data if t["name"] == n) for n in ("base", "head"))
    assert base["y"] == pytest.approx([1000 * b for b, _ in verdict.comparison.pairs])
    assert head["y"] == pytest.approx([1000 * h for _, h in verdict.comparison.pairs])
    assert chart.layout["yaxis"]["title"]["text"] == "mJ/token"
    assert window_changes(verdict)[0] == pytest.approx(0.06, abs=0.01)


def test_power_is_drawn_for_each_window_with_the_limit() -> None:
    verdict = gated("x")

    chart = drawn(power_chart(verdict.windows, [{"power_limit_watts": 700.0}], "k"))

    assert chart.data[0]["x"].count(None) == len(verdict.windows)
    assert chart.layout["shapes"][0]["y0"] == 700.0
    assert not power_chart(verdict.windows, [{"power_limit_watts": 5000.0}], "k").layout["shapes"]  # type: ignore[union-attr]
    assert power_chart([replace(verdict.windows[0], power_by_domain={})], [], "k") is None


def test_a_series_shows_its_levels_and_its_band() -> None:
    stepped = next(one for one in drift().series if one.change_points)

    chart = drift_chart(stepped, "k")

    level = next(trace for trace in chart.data if trace["name"] == "level")
    assert level["y"] == pytest.approx([5.0, 5.0, None, 5.2, 5.2])
    band = chart.layout["shapes"][0]
    assert (band["y0"], band["y1"]) == pytest.approx((4.9, 5.1))
    assert chart.layout["shapes"][-1]["x0"] == stepped.change_points[0].date


def test_a_ramp_rises_without_a_break() -> None:
    stepped = next(one for one in drift().series if one.change_points)
    until = stepped.series.points[30].date
    ramp = replace(stepped, change_points=(replace(stepped.change_points[0], until=until),))

    level = next(t for t in drift_chart(ramp, "k").data if t["name"] == "level")

    assert None not in level["y"]
    assert level["x"][2] == until


def test_figures_that_json_has_no_word_for_are_gaps(page: Page) -> None:
    chart = page.charts["r0-c0-0"]

    assert chart["data"][0]["y"] == [5.0, None, 20.0]
    assert chart["layout"]["xaxis"]["type"] == "log"


@pytest.mark.parametrize(
    ("change", "at"), [(0.0, 50.0), (0.04, 75.0), (-0.04, 25.0), (9.0, 100.0), (-9.0, 0.0)]
)
def test_the_gauge_holds_a_change_against_the_tolerance(change: float, at: float) -> None:
    found = gauge(replace(gated("x"), change=change))

    assert found is not None
    assert found.at == pytest.approx(at)
    assert (found.allowed_left, found.allowed_width) == (37.5, 25.0)


def test_without_a_change_there_is_no_gauge() -> None:
    assert gauge(replace(gated("x"), change=None)) is None


def test_the_name_that_tries_to_break_out_does_try() -> None:
    assert "<script" in NASTY


def drawn(chart: Chart | None) -> Chart:
    """The chart, which there is."""
    assert chart is not None
    return chart


def test_who_else_used_the_processor_is_told() -> None:
    reported = full_run()
    record = replace(reported.record, disturbance="other processes used 40 % of it")
    disturbed = replace(reported, record=record)

    assert "arning: other processes used 40\u00a0% of it" in render([disturbed], None)


def test_no_line_of_a_page_ends_between_a_figure_and_its_unit() -> None:
    page = render([full_run()], drift())
    wraps = re.findall(r'<(?:p class="(?:reason|note|cost)"|dd|td colspan="6")>(.*?)</', page)
    told = [text for text in wraps if re.search(r"\d.(%|mJ/token)", text)]

    assert len(told) > 5
    assert all(re.search(r"\d\u00a0(%|mJ/token)", text) for text in told)
    assert not [text for text in told if re.search(r"\d (%|mJ/token)", text)]
