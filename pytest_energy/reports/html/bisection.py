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
from pytest_energy.reports.charts import profile_charts
from pytest_energy.reports.html import rendered
from pytest_energy.reports.tables import profile_tables
from pytest_energy.reports.wording import sentence_case


def render_bisection(found: Bisection) -> str:
    """The page; raises `EnergyError` without its libraries.

    Everything that comes from commits, tests and files is escaped, in the text and in the chart.
    """
    chart = level_chart(found)
    culprits = [
        (culprit, profile_charts(culprit.profile, f"c{number}") if culprit.profile else [])
        for number, culprit in enumerate(found.conclusion.culprits)
    ]
    return rendered(
        "bisection.html",
        [chart, *(one for _, charts in culprits for one in charts)],
        culprits=culprits,
        found=found,
        headline=sentence_case(headline(found)),
        named=named,
        measured=measured,
        probes=probe_table(found),
        profile_tables=profile_tables,
        chart=chart,
    )
