"""Arguments of `pytest-energy drift` and `pytest-energy history`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_URL = "folder or URL of the history (`energy_history` of the pytest configuration here)"


def add_drift(commands: argparse._SubParsersAction[Any]) -> None:
    """Register `drift`."""
    parser = commands.add_parser(
        "drift",
        help="which figures moved over the sessions of a history, since when and why",
        description="Exit code: 0 no drift, 1 drift, 2 too few sessions to say, 4 bad input.",
    )
    _add_url(parser)
    parser.add_argument(
        "--baselines", type=Path, metavar="DIR", help="folder of the baseline files (baselines/)"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the report as JSON, too")
    parser.add_argument("--hw", metavar="KEY", help="this hardware alone")
    parser.add_argument("--since", metavar="DATE", help="sessions from a date on (2026-11-24)")
    parser.add_argument("--branch", metavar="NAME", help="sessions of a branch alone, as `main`")
    parser.set_defaults(run=_drift)


def add_history(commands: argparse._SubParsersAction[Any]) -> None:
    """Register `history list` and `history compact`."""
    parser = commands.add_parser("history", help="list sessions, or compact them to Parquet")
    what = parser.add_subparsers(required=True, metavar="WHAT", parser_class=type(parser))
    listing = what.add_parser("list", help="one line a session")
    _add_url(listing)
    listing.add_argument("--hw", metavar="KEY", help="this hardware alone")
    listing.add_argument("--last", metavar="N", type=int, default=20, help="newest shown (20)")
    listing.set_defaults(run=_list)
    packing = what.add_parser("compact", help="write Parquet of what is still single JSON files")
    _add_url(packing)
    packing.add_argument(
        "--remove", action="store_true", help="delete the JSON that a Parquet file holds in full"
    )
    packing.set_defaults(run=_compact)


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help=_URL)
    parser.add_argument("--history", metavar="URL", dest="option_url", help="the same")


def _drift(options: argparse.Namespace) -> int:
    from pytest_energy.commands import drift

    question = drift.Question(
        url=_url(options),
        baselines=options.baselines,
        json=options.json,
        hardware=options.hw,
        since=options.since,
        branch=options.branch,
    )
    return drift.run(question)


def _list(options: argparse.Namespace) -> int:
    from pytest_energy.commands import history

    return history.show(_url(options), options.hw, options.last)


def _compact(options: argparse.Namespace) -> int:
    from pytest_energy.commands import history

    return history.compact(_url(options), remove=options.remove)


def _url(options: argparse.Namespace) -> str:
    given: str | None = options.url or options.option_url
    if given is not None:
        return given
    from pytest_energy.history.configured import configured_url

    return configured_url(Path.cwd(), "its URL")
