"""Arguments of `pytest-energy drift` and `pytest-energy history`."""

from __future__ import annotations

import argparse
import sys
from heapq import nlargest
from pathlib import Path
from typing import Any

from pytest_energy.cli.drift import require_history, what_there_is
from pytest_energy.errors import EnergyError
from pytest_energy.history.reading import read_figures
from pytest_energy.history.store import open_store
from pytest_energy.history.writing import compact as compacted

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
    from pytest_energy.cli import drift

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

    return show(_url(options), options.hw, options.last)


def _compact(options: argparse.Namespace) -> int:

    return compact(_url(options), remove=options.remove)


def _url(options: argparse.Namespace) -> str:
    given: str | None = options.url or options.option_url
    if given is not None:
        return given
    from pytest_energy.history.configured import configured_url

    return configured_url(Path.cwd(), "its URL")


_COMMIT = 10


def show(url: str, hardware: str | None, last: int) -> int:
    """Print the newest sessions, a line each, the newest at the end; always 0."""
    if last < 1:
        raise EnergyError(f"`--last={last}` shows nothing; give 1 or more")
    require_history(url)
    sessions: dict[str, tuple[str, str, str, str]] = {}
    counts: dict[str, int] = {}
    for one in read_figures(open_store(url), _warn, hardware):
        commit, branch = (one.commit or "")[:_COMMIT], one.branch or ""
        sessions[one.session] = (one.date, one.hardware, commit, branch)
        counts[one.session] = counts.get(one.session, 0) + 1
    if not sessions and (instead := what_there_is(url, hardware)):
        _warn(instead)
    newest = nlargest(last, sessions, key=sessions.__getitem__)
    for session in reversed(newest):
        date, key, commit, branch = sessions[session]
        figures = f"{counts[session]} figure{'' if counts[session] == 1 else 's'}"
        print(f"{date[:19]}Z  {key:<10} {commit:<{_COMMIT}}  {figures:<12} {branch}".rstrip())
    print(f"{len(sessions)} session{'' if len(sessions) == 1 else 's'} with figures in {url}")
    return 0


def compact(url: str, *, remove: bool) -> int:
    """Write Parquet of the sessions that are JSON alone; always 0."""
    require_history(url)
    done = compacted(open_store(url), _warn, remove=remove)
    for name in done.written:
        print(f"wrote {name}")
    print(f"{done.sessions} session{'' if done.sessions == 1 else 's'} compacted")
    if remove:
        print(f"{done.removed} JSON files removed; Parquet holds all that was in them")
    return 0


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
