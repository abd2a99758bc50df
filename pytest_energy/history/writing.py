"""Records into a history: a session's at the end of a run, and many compacted to Parquet."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable, write_atomically
from pytest_energy.history.reading import (
    StoredRecord,
    Warn,
    read_records,
    record_names,
    sessions_of,
    write_parquet,
)
from pytest_energy.history.record import (
    ForeignRecordError,
    Origin,
    Record,
    make_record,
    session_of_name,
)
from pytest_energy.history.store import HistoryError, Store, is_local, local_path, open_store


def check_destination(url: str) -> None:
    """Raise `EnergyError` if records could not be written later; opens, but writes nothing."""
    if is_local(url):
        folder = local_path(url)
        if folder.exists() and not folder.is_dir():
            raise HistoryError(f"`--energy-history={url}` is a file; give a folder or a URL")
        require_writable(folder / "record.json", "--energy-history")
        return
    try:
        open_store(url)
    except EnergyError as error:
        raise HistoryError(f"`--energy-history`: {error}") from error


def append(url: str, document: Mapping[str, Any], origin: Origin, *, spare: Path) -> Record:
    """Add a session; where that fails, `HistoryError` says where in `spare` the record is kept."""
    record = make_record(document, origin)
    try:
        open_store(url).create(record.name, record.text.encode())
    except EnergyError as error:
        raise HistoryError(
            f"the session was not added to the history: {error}; {_kept(record, spare, url)}"
        ) from error
    return record


def _kept(record: Record, spare: Path, url: str) -> str:
    path = spare / record.name
    try:
        write_atomically(path, record.text)
    except OSError as error:
        return (
            f"nor could it be kept in `{path}` ({error}); what was measured is in "
            f"`--energy-json=PATH` alone, where that was given"
        )
    return f"its record is kept in `{path}`: copy it to `{record.name}` below `{url}`"


FOLDER = "compact"

MOST_SESSIONS = 10_000
"""Sessions of one file, which is made in memory."""


@dataclass(frozen=True)
class Compaction:
    """What was done: files written (none: nothing was new), sessions in them, JSON removed."""

    written: tuple[str, ...]
    sessions: int
    removed: int


def compact(store: Store, warn: Warn, *, remove: bool = False) -> Compaction:
    """Write Parquet files of all records that none holds yet.

    `remove` deletes the JSON of sessions that a Parquet file holds, which was read back by then.
    Raises `HistoryError` without pyarrow, or if the history cannot be written.
    """
    try:
        held = held_sessions(store, warn)
        written, before = [], len(held)
        records = _new_records(store, held, warn)
        for first in records:
            content = write_parquet(islice(chain([first], records), MOST_SESSIONS))
            now = datetime.now(timezone.utc)
            written.append(f"{FOLDER}/{now:%Y%m%dT%H%M%S}Z-{uuid.uuid4()}.parquet")
            store.create(written[-1], content)
        sessions = len(held) - before
        spare = _held_names(store, held_sessions(store, warn)) if remove else []
    except ModuleNotFoundError:
        raise HistoryError(
            "compaction needs pyarrow, which is not installed: `pip install 'pytest-energy[drift]'`"
        ) from None
    store.remove(spare)
    return Compaction(tuple(written), sessions, len(spare))


def held_sessions(store: Store, warn: Warn) -> set[str]:
    """The sessions that Parquet files of a history hold."""
    held: set[str] = set()
    for name, content in store.read(n for n in store.names() if n.endswith(".parquet")):
        held |= _held_by(name, content, warn)
    return held


def _held_by(name: str, content: bytes | Exception, warn: Warn) -> set[str]:
    try:
        if isinstance(content, Exception):
            raise ForeignRecordError(f"cannot be read ({content})")
        return sessions_of(content)
    except ForeignRecordError as error:
        warn(f"`{name}`: {error}; skipped")
        return set()


def _new_records(store: Store, held: set[str], warn: Warn) -> Iterator[StoredRecord]:
    """Records that no Parquet file holds; `held` takes them in as they go."""
    names = (name for name in record_names(store) if session_of_name(name) not in held)
    for record in read_records(store, names, warn):
        if record.session not in held:
            held.add(record.session)
            yield record


def _held_names(store: Store, held: set[str]) -> list[str]:
    return [name for name in record_names(store) if session_of_name(name) in held]
