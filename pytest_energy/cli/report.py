"""`pytest-energy report`: a page of runs, and of what a history says of them over time."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_energy.cli.history import baselines_folder, configured_url, open_existing
from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable, write_atomically
from pytest_energy.history.drift import drift_of
from pytest_energy.history.reading import read_records, record_names
from pytest_energy.history.store import Store
from pytest_energy.reports.html import headline, render, require_page_libraries
from pytest_energy.results.json_codec import ReportedRun, from_document, read_document

_OUTPUT = Path("report.html")


def add(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    parser.description = "Writes one HTML file that fetches nothing."
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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page and say what is in it; always 0."""
    require_page_libraries("pytest-energy report")
    require_writable(options.output, "--output")
    runs = [read_document(path) for path in options.records]
    url, drift = options.history, None
    if url is None and not runs:
        url = configured_url("a RECORD.json of `--energy-json` or `--history=URL`")
    if url is not None:
        store = open_existing(url)
        drift = drift_of(url, baselines_folder(options.baselines))
        runs = runs or _newest(store)
    try:
        write_atomically(options.output, render(runs, drift))
    except OSError as error:
        raise EnergyError(f"`{options.output}` cannot be written: {error.strerror}") from None
    print(f"wrote {options.output}: {headline(runs, drift)}")
    return 0


def _newest(store: Store) -> list[ReportedRun]:
    """The newest run of each hardware whose record can be read."""
    found: dict[str, ReportedRun] = {}
    # Names of records begin with their time.
    for name in sorted(record_names(store), key=lambda name: name.rpartition("/")[2], reverse=True):
        hardware = name.partition("/")[0]
        if hardware not in found and (run := _run_in(store, name)):
            found[hardware] = run
    return [found[hardware] for hardware in sorted(found)]


def _run_in(store: Store, name: str) -> ReportedRun | None:
    try:
        # What cannot be read was warned of when the series were.
        for record in read_records(store, [name], lambda _: None):
            return from_document(record.document, Path(name))
    except EnergyError:
        return None
    return None
