"""The page: runs with their verdicts and claims, and a history over time, in one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pytest_energy import units
from pytest_energy.documents import installed_version
from pytest_energy.errors import EnergyError
from pytest_energy.outcomes import EXPLAINED
from pytest_energy.reports import charts, tables, wording
from pytest_energy.reports import drift as drifting
from pytest_energy.reports.charts import Chart
from pytest_energy.reports.markdown import sentence
from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.json_codec import ReportedRun
from pytest_energy.text import safe_line
from pytest_energy.units import unbroken

if TYPE_CHECKING:
    from markupsafe import Markup

    from pytest_energy.history import DriftReport, SeriesDrift

LIBRARIES = ("jinja2", "plotly")


def require_page_libraries(what: str) -> None:
    """Raise `EnergyError` with the command that installs what a page needs, if it is missing."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise EnergyError(
            f"`{what}` needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            f"not installed: `pip install {' '.join(missing)}`"
        )


def render(runs: Sequence[ReportedRun], drift: DriftReport | None = None) -> str:
    """The page of some runs and of a history's drift; raises `EnergyError` without its libraries.

    Everything that comes from tests and files is escaped, in the text and in the charts' data.
    """
    parts = [
        (run, list(_verdicts(run.record, f"r{number}")), list(_claims(run.record, f"r{number}")))
        for number, run in enumerate(runs)
    ]
    series = list(_over_time(drift)) if drift is not None else []
    drawn = [one for _, verdicts, claims in parts for one in (*verdicts, *claims)] + series
    return rendered(
        "page.html",
        [chart for one in drawn for chart in one.charts],
        headline=headline(runs, drift),
        runs=parts,
        drift=series,
        warnings=drift.warnings if drift is not None else (),
        explained=EXPLAINED,
        drifting=drifting,
        gauge=gauge,
        tables=tables,
        units=units,
        wording=wording,
    )


@dataclass(frozen=True)
class Section:
    """A part of a sheet: what it says, then its tables and charts."""

    title: str
    text: str = ""
    tables: Sequence[tables.TextTable] = ()
    charts: Sequence[Chart] = ()


@dataclass(frozen=True)
class Sheet:
    """A page of sections below a headline; `facts` are names with what is told of them."""

    title: str
    headline: str
    overline: Sequence[str]
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    footer: str


def render_sheet(sheet: Sheet) -> str:
    """The page of a sheet; raises `EnergyError` without its libraries. All text is escaped."""
    drawn = [chart for section in sheet.sections for chart in section.charts]
    return rendered("sheet.html", drawn, sheet=sheet)


def rendered(template: str, drawn: Sequence[Chart], **values: Any) -> str:
    """The page of a template beside this module; raises `EnergyError` without the libraries.

    All text of `values` is escaped and made safe to show.
    """
    require_page_libraries("the page")
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from plotly.io.json import to_json_plotly
    from plotly.offline import get_plotlyjs

    plots = {chart.key: {"data": chart.data, "layout": chart.layout} for chart in drawn}
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Only a plain text: what is markup already (the page's own, escaped sentences) stays.
        finalize=lambda value: safe_line(value) if type(value) is str else value,
    )
    environment.filters["sentence"] = _as_markup
    environment.filters["unbroken"] = _unbroken
    environment.globals.update(values)
    return environment.get_template(template).render(
        version=installed_version(),
        style=_resource("page.css"),
        script=_resource("page.js"),
        # For a script: without `<`, and with gaps for figures that JSON has no word for.
        charts=to_json_plotly(plots, engine="json"),
        plotly=get_plotlyjs() if plots else "",
    )


def headline(runs: Sequence[ReportedRun], drift: DriftReport | None) -> str:
    """The page in one line: its runs', or else what drifts."""
    if runs:
        return "; ".join(wording.headline(run.record) for run in runs)
    moved, of = (len(drift.drifting), len(drift.series)) if drift is not None else (0, 0)
    return f"{moved} of {of} figures {'drifts' if moved == 1 else 'drift'}"


def _as_markup(text: str) -> Markup:
    from markupsafe import Markup, escape

    return Markup(sentence(unbroken(safe_line(text)), lambda part: str(escape(part))))


def _unbroken(text: str) -> Markup:
    from markupsafe import escape

    return escape(unbroken(safe_line(text)))


def _resource(name: str) -> str:
    return (files("pytest_energy.reports.html") / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Drawn:
    """A verdict, claim or series with its charts; `key` is unique in a page."""

    key: str
    record: VerdictRecord | ClaimRecord | SeriesDrift
    charts: Sequence[Chart]


def _verdicts(record: RunRecord, key: str) -> Iterator[Drawn]:
    devices = record.hardware.get("devices", ())
    for number, verdict in enumerate(wording.worst_first(record.verdicts)):
        own = f"{key}-v{number}"
        drawn = [charts.gate_chart(verdict, f"{own}-gate")]
        if verdict.comparison is not None and verdict.comparison.pairs:
            drawn.append(charts.pairs_chart(verdict.comparison, verdict.unit, f"{own}-pairs"))
        if verdict.profile is not None:
            sides = wording.against(verdict)
            drawn += charts.profile_charts(verdict.profile, f"{own}-profile", sides)
        drawn.append(charts.power_chart(verdict.windows, devices, f"{own}-power"))
        yield Drawn(own, verdict, [chart for chart in drawn if chart is not None])


def _claims(record: RunRecord, key: str) -> Iterator[Drawn]:
    for number, claim in enumerate(record.claims):
        own = f"{key}-c{number}"
        drawn = [charts.claim_chart(plot, f"{own}-{i}") for i, plot in enumerate(claim.plots)]
        yield Drawn(own, claim, drawn)


def _over_time(drift: DriftReport) -> Iterator[Drawn]:
    for number, series in enumerate(drifting.worst_first(drift)):
        yield Drawn(f"d{number}", series, [drifting.drift_chart(series, f"d{number}")])


@dataclass(frozen=True)
class Gauge:
    """Places on the gauge in per cent of its width: the allowed band, and the change."""

    allowed_left: float
    allowed_width: float
    at: float


_EDGE = 1.6
"""Times `detect` that the gauge reaches to; what lies farther out is shown at its end."""


def gauge(verdict: VerdictRecord) -> Gauge | None:
    """The gauge of a change; None if there is none, or no levels to hold it against."""
    change, tolerance, detect = verdict.change, verdict.tolerance, verdict.detect
    if change is None or tolerance is None or not detect:
        return None
    reach = _EDGE * detect
    half = min(50.0, 50 * tolerance / reach)
    at = 50 + 50 * max(-1.0, min(1.0, change / reach))
    return Gauge(round(50 - half, 2), round(2 * half, 2), round(at, 2))
