"""The page of a bisection: what was found, each commit's level, and every probe."""

from __future__ import annotations

from pytest_energy.reports.bisection import (
    Bisection,
    headline,
    level_chart,
    measured,
    named,
    probe_table,
)
from pytest_energy.reports.html import page_environment, resource, tool_version
from pytest_energy.reports.wording import sentence_case


def render_bisection(found: Bisection) -> str:
    """The page; raises `EnergyError` without its libraries.

    Everything that comes from commits, tests and files is escaped, in the text and in the chart.
    """
    environment = page_environment("the page")
    from plotly.io.json import to_json_plotly
    from plotly.offline import get_plotlyjs

    chart = level_chart(found)
    drawn = {chart.key: {"data": chart.data, "layout": chart.layout}}
    return environment.from_string(resource("bisection.html")).render(
        found=found,
        headline=sentence_case(headline(found)),
        named=named,
        measured=measured,
        probes=probe_table(found),
        chart=chart,
        version=tool_version(),
        style=resource("page.css"),
        script=resource("page.js"),
        charts=to_json_plotly(drawn, engine="json"),
        plotly=get_plotlyjs(),
    )
