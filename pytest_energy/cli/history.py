"""`pytest-energy history`: list and compact sessions; which history a command is given."""

from __future__ import annotations

import argparse
import sys
from heapq import nlargest
from pathlib import Path

from pytest_energy.cli import Parser
from pytest_energy.errors import EnergyError
from pytest_energy.history.reading import read_measurements
from pytest_energy.history.store import HistoryError, Store, is_local, local_path, open_store
from pytest_energy.history.writing import compact
from pytest_energy.reports.tables import aligned
from pytest_energy.reports.wording import counted

_COMMIT = 10


def add(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    what = parser.add_subparsers(required=True, metavar="WHAT", parser_class=Parser)
    listing = what.add_parser("list", help="one line a session")
    add_url(listing)
    listing.add_argument("--hw", metavar="KEY", help="this hardware alone")
    listing.add_argument("--last", metavar="N", type=int, default=20, help="newest shown (20)")
    listing.set_defaults(run=run_list)
    packing = what.add_parser("compact", help="write Parquet of what is still single JSON files")
    add_url(packing)
    packing.add_argument(
        "--remove", action="store_true", help="delete the JSON that a Parquet file holds in full"
    )
    packing.set_defaults(run=run_compact)


def add_url(parser: argparse.ArgumentParser) -> None:
    """Register the arguments that name a history."""
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="folder or URL of the history (`energy_history` of the pytest configuration here)",
    )
    parser.add_argument("--history", metavar="URL", dest="option_url", help="the same")


def url_of(options: argparse.Namespace) -> str:
    """The history that was given, else the configured one; raises `HistoryError` without."""
    given: str | None = options.url or options.option_url
    return given or configured_url("its URL")


def configured_url(wanted: str) -> str:
    """The history that pytest is configured with here; without, an error asks for `wanted`."""
    from pytest_energy.plugin.configured import configured  # pytest is slow to import

    url = configured("history", Path.cwd())
    if url is None:
        raise HistoryError(
            f"no history is named: give {wanted}, or set `energy_history` in the pytest "
            "configuration"
        )
    return url


def open_existing(url: str) -> Store:
    """The store of a history; a local one must be there, else its name is misspelt."""
    if is_local(url) and not local_path(url).is_dir():
        raise HistoryError(
            f"`{url}` is no folder; give the history that `--energy-history` writes to"
        )
    return open_store(url)


def baselines_folder(given: Path | None) -> Path:
    """The folder of the baseline files: `baselines` if none was given, which need not be there."""
    if given is not None and not given.is_dir():
        raise EnergyError(f"`--baselines={given}` is no folder; give that of the baseline files")
    return given or Path("baselines")


def what_there_is(store: Store, hardware: str | None, branch: str | None = None) -> str | None:
    """What a history has instead, if no session at all is of a hardware or a branch.

    To be called if nothing was found: it reads the history once more.
    """
    seen = [(one.hardware, one.branch) for one in read_measurements(store, lambda _: None)]
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


def run_list(options: argparse.Namespace) -> int:
    """Print the newest sessions, a line each, the newest at the end; always 0."""
    url = url_of(options)
    if options.last < 1:
        raise EnergyError(f"`--last={options.last}` shows nothing; give 1 or more")
    store = open_existing(url)
    sessions: dict[str, tuple[str, str, str, str]] = {}
    counts: dict[str, int] = {}
    for one in read_measurements(store, _warn, options.hw):
        commit, branch = (one.commit or "")[:_COMMIT], one.branch or ""
        sessions[one.session] = (one.date, one.hardware, commit, branch)
        counts[one.session] = counts.get(one.session, 0) + 1
    if not sessions and (instead := what_there_is(store, options.hw)):
        _warn(instead)
    newest = nlargest(options.last, sessions, key=sessions.__getitem__)
    rows = []
    for session in reversed(newest):
        date, key, commit, branch = sessions[session]
        rows.append((f"{date[:19]}Z", key, commit, counted(counts[session], "figure"), branch))
    lines = [*aligned(rows), f"{counted(len(sessions), 'session')} with figures in {url}"]
    print("\n".join(lines))
    return 0


def run_compact(options: argparse.Namespace) -> int:
    """Write Parquet of the sessions that are JSON alone; always 0."""
    done = compact(open_existing(url_of(options)), _warn, remove=options.remove)
    for name in done.written:
        print(f"wrote {name}")
    print(f"{counted(done.sessions, 'session')} compacted")
    if options.remove:
        print(f"{done.removed} JSON files removed; Parquet holds all that was in them")
    return 0


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
