"""`pytest-energy history`: what sessions there are, and many of them in one file."""

from __future__ import annotations

import sys
from heapq import nlargest

from pytest_energy.commands.histories import require_history, what_there_is
from pytest_energy.errors import EnergyError
from pytest_energy.history.compact import compact as compacted
from pytest_energy.history.reading import read_figures
from pytest_energy.history.store import open_store

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
