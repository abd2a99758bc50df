"""`pytest-energy drift`: which figures of a history moved, since when and why."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from pytest_energy.cli.history import (
    add_url,
    baselines_folder,
    open_existing,
    url_of,
    what_there_is,
)
from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable, write_atomically
from pytest_energy.history.drift import drift_of
from pytest_energy.history.record import in_utc
from pytest_energy.reports.drift import as_document, as_text


def add(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    parser.description = "Exit code: 0 no drift, 1 drift, 2 too few sessions to say, 4 bad input."
    add_url(parser)
    parser.add_argument(
        "--baselines", type=Path, metavar="DIR", help="folder of the baseline files (baselines/)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the report as JSON, too")
    parser.add_argument("--hw", metavar="KEY", help="this hardware alone")
    parser.add_argument("--since", metavar="DATE", help="sessions from a date on (2026-11-24)")
    parser.add_argument("--branch", metavar="NAME", help="sessions of a branch alone, as `main`")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the report; 0 no drift, 1 drift, 2 too few sessions to say."""
    url = url_of(options)
    since = _date(options.since) if options.since else None
    if options.json is not None:
        require_writable(options.json, "--json")
    store = open_existing(url)
    baselines = baselines_folder(options.baselines)
    found = drift_of(url, baselines, hardware=options.hw, since=since, branch=options.branch)
    instead = None if found.series else what_there_is(store, options.hw, options.branch)
    if instead:
        found = replace(found, warnings=(*found.warnings, instead))
    print(as_text(found))
    if options.json is not None:
        write_atomically(options.json, json.dumps(as_document(found), indent=1) + "\n")
    return found.exit_code


def _date(text: str) -> str:
    try:
        return in_utc(text)
    except ValueError:
        raise EnergyError(f"`--since={text}` is no date; write it as 2026-11-24") from None
