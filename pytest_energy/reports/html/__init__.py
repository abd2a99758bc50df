"""What the page needs besides the core: said before anything is measured for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_energy.errors import EnergyError
from pytest_energy.reports import wording
from pytest_energy.reports.html.charts import Chart
from pytest_energy.reports.html.drift_view import DriftView, drift_views
from pytest_energy.reports.html.views import (
    ClaimView,
    TableView,
    VerdictView,
    claim_view,
    environment_changes,
    verdict_view,
)
from pytest_energy.reports.markdown import sentence
from pytest_energy.results import RunRecord
from pytest_energy.results.json_codec import ReportedRun

if TYPE_CHECKING:
    from markupsafe import Markup

    from pytest_energy.history.drift import DriftReport


LIBRARIES = ("jinja2", "plotly")


def require_page_libraries(what: str) -> None:
    """Raise `EnergyError` with the command that installs what a page needs, where it is missing."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise EnergyError(
            f"`{what}` needs {' and '.join(missing)}, which {_are(missing)} not installed: "
            f"`pip install 'pytest-energy[report]'`"
        )


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


@dataclass(frozen=True)
class RunView:
    """One run as the page shows it."""

    source: str
    headline: str
    failing: bool
    began: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    cost: str
    verdicts: tuple[VerdictView, ...]
    claims: tuple[ClaimView, ...]
    changes: TableView | None
    environment: tuple[tuple[str, str], ...]


def render(runs: Sequence[ReportedRun], drift: DriftReport | None = None) -> str:
    """The page of some runs and of a history's drift; raises `EnergyError` without its libraries.

    Everything that comes from tests and files is escaped, in the text and in the charts' data.
    """
    require_page_libraries("the page")
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    shown = [_run_view(run, f"r{number}") for number, run in enumerate(runs)]
    series = drift_views(drift) if drift is not None else ()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["sentence"] = _as_markup
    charts = list(_charts(shown, series))
    return environment.from_string(_resource("page.html")).render(
        headline=headline(runs, drift),
        version=_version(),
        runs=shown,
        drift=series,
        warnings=drift.warnings if drift is not None else (),
        style=_resource("page.css"),
        script=_resource("page.js"),
        charts={chart.key: chart.as_json() for chart in charts},
        plotly=get_plotlyjs() if charts else "",
    )


def _run_view(run: ReportedRun, key: str) -> RunView:
    record = run.record
    ordered = wording.worst_first(record.verdicts)
    return RunView(
        source=run.source,
        headline=_sentence_case(wording.headline(record)),
        failing=any(v.fails for v in ordered) or any(c.outcome == "fails" for c in record.claims),
        began=wording.began(record),
        facts=tuple(_facts(run)),
        warnings=tuple(wording.warnings(record)),
        cost=_sentence_case(wording.cost(record, run.footprint)),
        verdicts=tuple(verdict_view(v, record, f"{key}-v{i}") for i, v in enumerate(ordered)),
        claims=tuple(claim_view(c, f"{key}-c{i}") for i, c in enumerate(record.claims)),
        changes=environment_changes(record),
        environment=tuple((name, str(value)) for name, value in record.environment.items()),
    )


def headline(runs: Sequence[ReportedRun], drift: DriftReport | None) -> str:
    """The page in one line: its runs', or else what drifts."""
    if runs:
        return "; ".join(wording.headline(run.record) for run in runs)
    moved, of = (len(drift.drifting), len(drift.series)) if drift is not None else (0, 0)
    return f"{moved} of {of} figures {'drifts' if moved == 1 else 'drift'}"


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def _facts(run: ReportedRun) -> Iterator[tuple[str, str]]:
    record = run.record
    if "key" in record.hardware:
        names = dict.fromkeys(str(each["name"]) for each in record.hardware.get("devices", ()))
        yield "hardware", f"{record.hardware['key']} ({', '.join(names)})"
    methods = dict.fromkeys(v.method for v in record.verdicts if v.method)
    if methods:
        yield "joules", ", ".join(methods)
    if run.commit:
        yield "commit", run.commit[:12]
    yield "cost", _energy(record, run)
    if run.footprint.grams is not None:
        yield "carbon", f"{run.footprint.grams:.2g} gCO2e"
    yield "metered for", f"{record.cost.seconds:,.0f} s"


def _energy(record: RunRecord, run: ReportedRun) -> str:
    least = "" if record.cost.complete else "at least "
    return f"{least}{run.footprint.joules:,.0f} J"


def _charts(runs: Iterable[RunView], series: Iterable[DriftView]) -> Iterator[Chart]:
    for run in runs:
        for verdict in run.verdicts:
            yield from verdict.charts
        for claim in run.claims:
            yield from claim.charts
    for view in series:
        if view.chart is not None:
            yield view.chart


def _as_markup(text: str) -> Markup:
    from markupsafe import Markup, escape

    return Markup(sentence(text, lambda part: str(escape(part))))


def _version() -> str:
    try:
        return version("pytest-energy")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return ""


def _resource(name: str) -> str:
    return (files("pytest_energy.reports.html") / name).read_text(encoding="utf-8")
