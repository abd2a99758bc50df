"""Arguments of `pytest-energy report`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable, write_atomically
from pytest_energy.reports import drift_of
from pytest_energy.reports.html import require_page_libraries
from pytest_energy.results.json_codec import ReportedRun, from_document, read_document

if TYPE_CHECKING:
    from pytest_energy.history.drift import DriftReport
    from pytest_energy.history.store import Store


_OUTPUT = Path("report.html")


def add_report(commands: argparse._SubParsersAction[Any]) -> None:
    """Register `report`."""
    parser = commands.add_parser(
        "report",
        help="a page of runs, and of what a history says of them over time",
        description="Writes one HTML file that fetches nothing.",
    )
    parser.add_argument(
        "records", nargs="*", type=Path, metavar="RECORD.json", help="files of `--energy-json`"
    )
    parser.add_argument(
        "--history",
        metavar="URL",
        help="folder or URL of a history; without a RECORD.json its newest runs are shown as well "
        "(`energy_history` of the pytest configuration here)",
    )
    parser.add_argument(
        "--baselines", type=Path, metavar="DIR", help="folder of the baseline files (baselines/)"
    )
    parser.add_argument("-o", "--output", type=Path, default=_OUTPUT, help=f"the page ({_OUTPUT})")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:

    request = Request(tuple(options.records), options.history, options.output, options.baselines)
    return run(request)


_BASELINES = Path("baselines")


@dataclass(frozen=True)
class Request:
    """What is to be shown: documents of runs, a history; and where the page goes."""

    records: tuple[Path, ...]
    history: str | None
    output: Path
    baselines: Path | None = None


def run(request: Request) -> int:
    """Write the page and say what is in it; always 0."""
    require_page_libraries("pytest-energy report")
    from pytest_energy.reports.html import headline, render

    require_writable(request.output, "--output")
    runs = [read_document(path) for path in request.records]
    url, drift = _history_of(request), None
    if url is not None:
        drift = _drift(url, request.baselines)
        runs = runs or _newest(url)
    page = render(runs, drift)
    try:
        write_atomically(request.output, page)
    except OSError as error:
        raise EnergyError(f"`{request.output}` cannot be written: {error.strerror}") from None
    print(f"wrote {request.output}: {headline(runs, drift)}")
    return 0


def _history_of(request: Request) -> str | None:
    """The history that is asked for; without any documents, the configured one."""
    if request.history is not None or request.records:
        return request.history
    from pytest_energy.history.configured import configured_url

    return configured_url(Path.cwd(), "a RECORD.json of `--energy-json` or `--history=URL`")


def _drift(url: str, baselines: Path | None) -> DriftReport:
    from pytest_energy.cli.drift import require_history

    require_history(url)
    if baselines is not None and not baselines.is_dir():
        raise EnergyError(f"`--baselines={baselines}` is no folder; give that of the baselines")
    return drift_of(url, baselines or _BASELINES)


def _newest(url: str) -> list[ReportedRun]:
    """The newest run of each hardware whose record can be read."""
    from pytest_energy.history.store import open_store

    store = open_store(url)
    names: dict[str, list[str]] = {}
    for name in store.names():
        if name.endswith(".json"):
            names.setdefault(name.partition("/")[0], []).append(name)
    found = (_first_readable(store, group) for group in names.values())
    return [run for run in found if run is not None]


def _first_readable(store: Store, names: Iterable[str]) -> ReportedRun | None:
    # Names of records begin with their time, so the newest comes last.
    newest_first = sorted(names, key=lambda name: name.rpartition("/")[2], reverse=True)
    runs = (_run_in(store, name) for name in newest_first)
    return next((run for run in runs if run is not None), None)


def _run_in(store: Store, name: str) -> ReportedRun | None:
    from pytest_energy.history.reading import read_records

    try:
        # What cannot be read was warned of when the series were.
        for record in read_records(store, [name], lambda _: None):
            return from_document(record.document, Path(name))
    except EnergyError:
        return None
    return None
