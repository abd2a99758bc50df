"""Arguments of `pytest-energy report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

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
    from pytest_energy.commands import report

    request = report.Request(
        tuple(options.records), options.history, options.output, options.baselines
    )
    return report.run(request)
