"""`pytest-energy history`, `drift` and `report`: what a history holds, and what it says."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pytest_energy.cli import (
    SUBCOMMANDS,
    Parser,
    add_baselines_option,
    describe,
    require_outputs,
    say,
    write_json,
    write_text,
)
from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable
from pytest_energy.history.drift import drift_of
from pytest_energy.history.measurement import in_utc, out_of_place
from pytest_energy.history.sessions import compact, read_measurements, read_records, record_names
from pytest_energy.history.store import HistoryError, Store, is_local, local_path, open_store
from pytest_energy.reports.drift import as_badge, as_document, as_text
from pytest_energy.reports.html import headline, render, require_page_libraries
from pytest_energy.reports.tables import aligned
from pytest_energy.reports.wording import counted
from pytest_energy.results.json_codec import ReportedRun, from_document, read_document
from pytest_energy.text import url as address

_COMMIT = 10
_OUTPUT = Path("report.html")


def add_history(parser: argparse.ArgumentParser) -> None:
    """Register the arguments of `pytest-energy history`."""
    describe(
        parser,
        "List the sessions of a history, or compact its JSON files to Parquet. Without `list` or "
        "`compact` it lists.",
        "pytest-energy history --history s3://team/energy",
        "pytest-energy history list --history energy-history --hw h200 --last 5",
        "pytest-energy history compact --history energy-history --remove",
    )
    what = parser.add_subparsers(required=True, metavar="WHAT", parser_class=Parser)
    first, second = SUBCOMMANDS["history"]
    listing = what.add_parser(first, help="one line per session")
    describe(
        listing,
        "Print one line per session, the newest last.",
        "pytest-energy history list --history energy-history --hw h200 --last 5",
    )
    _add_url(listing)
    listing.add_argument("--hw", metavar="KEY", help="this hardware alone")
    listing.add_argument("--last", metavar="N", type=int, default=20, help="newest shown (20)")
    listing.set_defaults(run=run_list)
    packing = what.add_parser(second, help="write Parquet of what is still single JSON files")
    describe(
        packing,
        "Write one Parquet file of the sessions that are still JSON files of their own.",
        "pytest-energy history compact --history energy-history --remove",
    )
    _add_url(packing)
    packing.add_argument(
        "--remove", action="store_true", help="delete the JSON that a Parquet file holds in full"
    )
    packing.set_defaults(run=run_compact)


def add_drift(parser: argparse.ArgumentParser) -> None:
    """Register the arguments of `pytest-energy drift`."""
    describe(
        parser,
        "Say which figures moved over the sessions of a history, since when and why. Exit code: 0 "
        "no drift, 1 drift, 2 too few sessions to say, 3 unexpected error, 4 bad input.",
        "pytest-energy drift --history energy-history --hw h200 --branch main",
    )
    _add_url(parser)
    add_baselines_option(parser, _existing)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the report as JSON, too")
    parser.add_argument(
        "--badge", type=Path, metavar="PATH", help="write what a badge of shields.io reads, too"
    )
    parser.add_argument("--hw", metavar="KEY", help="this hardware alone")
    parser.add_argument("--since", metavar="DATE", help="sessions from a date on (2026-11-24)")
    parser.add_argument("--branch", metavar="NAME", help="sessions of a branch alone, as `main`")
    parser.set_defaults(run=run_drift)


def add_report(parser: argparse.ArgumentParser) -> None:
    """Register the arguments of `pytest-energy report`."""
    describe(
        parser,
        "Write a page of runs, of a history over time, or of both: one HTML file that fetches "
        "nothing.",
        "pytest-energy report run.json -o report.html",
        "pytest-energy report --history energy-history",
    )
    parser.add_argument(
        "records", nargs="*", type=Path, metavar="RECORD.json", help="files of `--energy-json`"
    )
    parser.add_argument(
        "--history",
        metavar="URL",
        type=address,
        help="folder or URL of a history; without a RECORD.json its newest runs are shown as well "
        "(`energy_history` of the pytest configuration here)",
    )
    add_baselines_option(parser, _existing)
    parser.add_argument("-o", "--output", type=Path, default=_OUTPUT, help=f"the page ({_OUTPUT})")
    parser.set_defaults(run=run_report)


def _add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--history",
        metavar="URL",
        type=address,
        dest="url",
        help="folder or URL of the history (`energy_history` of the pytest configuration here)",
    )
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        type=address,
        default=argparse.SUPPRESS,  # else it would undo `--history`
        help="the same",
    )


def _existing(folder: str) -> Path:
    if not Path(folder).is_dir():
        raise EnergyError(f"`--baselines={folder}` is no folder; give that of the baseline files")
    return Path(folder)


def run_list(options: argparse.Namespace) -> int:
    """Print the newest sessions, a line each, the newest at the end; always 0."""
    url = options.url or _configured_url("its URL")
    if options.last < 1:
        raise EnergyError(f"`--last={options.last}` shows nothing; give 1 or more")
    store = _open_existing(url)
    figures = Counter(
        (one.date, one.hardware, (one.commit or "")[:_COMMIT], one.branch or "", one.session)
        for one in read_measurements(store, _warn, options.hw)
    )
    if not figures and (instead := _what_there_is(store, options.hw)):
        _warn(instead)
    left_out = _out_of_place(figures)
    rows = []
    shown = sorted(one for one in figures if one[0] not in left_out[one[1]])
    for session in shown[-options.last :]:
        date, key, commit, branch, _ = session
        rows.append((f"{date[:19]}Z", key, commit, counted(figures[session], "figure"), branch))
    say(*aligned(rows), f"{counted(len(figures), 'session')} with figures in {url}")
    return 0


def _out_of_place(sessions: Iterable[tuple[str, str, str, str, str]]) -> dict[str, frozenset[str]]:
    """By hardware the dates far from all others, whose sessions do not count; they are named."""
    seen: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for date, key, _, _, session in sessions:
        seen[key][date] = session
    return {key: out_of_place(key, dates, _warn) for key, dates in seen.items()}


def run_compact(options: argparse.Namespace) -> int:
    """Write Parquet of the sessions that are JSON alone; always 0."""
    store = _open_existing(options.url or _configured_url("its URL"))
    done = compact(store, _warn, remove=options.remove)
    for name in done.written:
        say(f"wrote {name}")
    say(f"{counted(done.sessions, 'session')} compacted")
    if options.remove:
        say(f"{done.removed} JSON files removed; Parquet holds all that was in them")
    return 0


def run_drift(options: argparse.Namespace) -> int:
    """Print the report; 0 no drift, 1 drift, 2 too few sessions to say."""
    url = options.url or _configured_url("its URL")
    try:
        since = in_utc(options.since) if options.since else None
    except ValueError:
        raise EnergyError(f"`--since={options.since}` is no date; write it as 2026-11-24") from None
    require_outputs(options, "json", "badge")
    store = _open_existing(url)
    found = drift_of(
        url, options.baselines, hardware=options.hw, since=since, branch=options.branch
    )
    if not found.series and (instead := _what_there_is(store, options.hw, options.branch)):
        found = replace(found, warnings=(*found.warnings, instead))
    say(*as_text(found).split("\n"))
    if options.json is not None:
        write_json(options.json, as_document(found))
    if options.badge is not None:
        write_text(options.badge, json.dumps(as_badge(found)) + "\n")
    return found.exit_code


def run_report(options: argparse.Namespace) -> int:
    """Write the page and say what is in it; always 0."""
    require_page_libraries("pytest-energy report")
    require_writable(options.output, "--output")
    runs = [read_document(path) for path in options.records]
    url, drift = options.history, None
    if url is None and not runs:
        url = _configured_url("a RECORD.json of `--energy-json` or `--history=URL`")
    if url is not None:
        store = _open_existing(url)
        drift = drift_of(url, options.baselines)
        runs = runs or _newest(store)
    write_text(options.output, render(runs, drift))
    say(f"wrote {options.output}: {headline(runs, drift)}")
    return 0


def _newest(store: Store) -> list[ReportedRun]:
    """The newest run of each hardware whose record can be read."""
    found: dict[str, ReportedRun] = {}
    # Names of records begin with their time.
    for name in sorted(record_names(store), key=lambda name: name.rpartition("/")[2], reverse=True):
        hardware = name.partition("/")[0]
        if hardware in found:
            continue
        # What cannot be read was warned of when the series were.
        for record in read_records(store, [name], lambda _: None):
            with suppress(EnergyError):
                found[hardware] = from_document(record.document, Path(name))
    return [found[hardware] for hardware in sorted(found)]


def _configured_url(wanted: str) -> str:
    """The history that pytest is configured with here; without, an error asks for `wanted`."""
    from pytest_energy.plugin.settings import configured  # pytest is slow to import

    url = configured("history", Path.cwd())
    if url is None:
        raise HistoryError(
            f"no history is named: give {wanted}, or set `energy_history` in the pytest "
            "configuration"
        )
    return url


def _open_existing(url: str) -> Store:
    """The store of a history; a local one must be there, else its name is misspelt."""
    if is_local(url) and not local_path(url).is_dir():
        raise HistoryError(
            f"`{url}` is no folder; give the history that `--energy-history` writes to"
        )
    return open_store(url)


def _what_there_is(store: Store, hardware: str | None, branch: str | None = None) -> str | None:
    """What a history has instead, if no session at all is of a hardware or a branch.

    To be called if nothing was found: it reads the history once more.
    """
    seen = {(one.hardware, one.branch) for one in read_measurements(store, lambda _: None)}
    if not seen:
        return (
            f"`{store.url}` holds no session with figures; is it what `--energy-history` writes to?"
        )
    for option, value, known in (
        ("--hw", hardware, {key for key, _ in seen}),
        ("--branch", branch, {name for _, name in seen}),
    ):
        names = ", ".join(f"`{name}`" for name in sorted(filter(None, known)))
        if value is not None and value not in known and names:
            return f"`{option}={value}`: no session is of it; there are those of {names}"
    return None


def _warn(text: str) -> None:
    say(f"warning: {text}", to=sys.stderr)
