"""Sessions of a history: added at the end of a run, read back, and compacted to Parquet.

A Parquet file has the measurements as columns, and each record's text beside them.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable, write_atomically
from pytest_energy.history.record import (
    ForeignRecordError,
    Measurement,
    Origin,
    Record,
    make_record,
    measurements_of,
    parse,
    session_of_name,
)
from pytest_energy.history.store import (
    Content,
    HistoryError,
    Store,
    is_local,
    local_path,
    open_store,
)

Warn = Callable[[str], None]


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


@dataclass(frozen=True)
class StoredRecord:
    """A record that was read: its session, its text, and the measurements in it."""

    session: str
    text: str
    document: Mapping[str, Any]
    measurements: Sequence[Measurement]


def read_measurements(
    store: Store, warn: Warn, hardware: str | None = None
) -> Iterator[Measurement]:
    """Every measurement, each session once, if it is in Parquet, in JSON or in both."""
    seen: set[str] = set()
    records: list[str] = []
    for name in store.names():
        if name.endswith(".parquet"):
            yield from _compacted(store, name, warn, hardware, seen)
        elif not name.endswith(".json"):
            warn(f"`{name}`: neither a record nor a Parquet file; skipped")
        else:
            records.append(name)
    unseen = (name for name in records if session_of_name(name) not in seen)
    for record in read_records(store, unseen, warn):
        if record.session not in seen:
            seen.add(record.session)
            yield from (one for one in record.measurements if hardware in (None, one.hardware))


def read_records(store: Store, names: Iterable[str], warn: Warn) -> Iterator[StoredRecord]:
    """Records one by one; files that are none are warned of and left out."""
    for name, content in store.read(names):
        with _skipped(name, warn):
            read = _bytes_of(content)
            document = parse(read)
            measurements = measurements_of(document)
            text = read.decode("utf-8", "replace")
            yield StoredRecord(document["session"], text, document, measurements)


def record_names(store: Store) -> Iterator[str]:
    """The names of the files that are records by their ending."""
    return (name for name in store.names() if name.endswith(".json"))


@contextmanager
def _skipped(name: str, warn: Warn) -> Iterator[None]:
    """Go on after a file that this version does not read, with a warning."""
    try:
        yield
    except ForeignRecordError as error:
        warn(f"`{name}`: {error}; skipped")


def _bytes_of(content: Content) -> bytes:
    if isinstance(content, Exception):
        raise ForeignRecordError(f"cannot be read ({content})")
    return content


def _compacted(
    store: Store, name: str, warn: Warn, hardware: str | None, seen: set[str]
) -> Iterator[Measurement]:
    """The measurements of a Parquet file; the texts of its records stay unread."""
    ((_, content),) = store.read([name])
    here: set[str] = set()
    with _skipped(name, warn):
        for values in _rows(content, _NAMES, f"`{name}`"):
            one = Measurement(*values)
            if one.session in seen:
                continue
            here.add(one.session)
            # A session without measurements has a row without a value.
            if one.value is not None and hardware in (None, one.hardware):
                yield one
    seen |= here


FOLDER = "compact"
COMPACT_SCHEMA = 1

MOST_SESSIONS = 10_000
"""Sessions of one file, which is made in memory."""

_SCHEMA_NAME = b"pytest-energy-history"
_SCHEMA_VALUE = str(COMPACT_SCHEMA).encode()
_ROWS = 4096
_AT_ONCE = 1024
_NAMES = [field.name for field in fields(Measurement)]
_VALUES = attrgetter(*_NAMES)
_NUMBERS = ("value", "mean_watts", "tokens_per_second", "padding_overhead", "baseline", "tolerance")
_ONCE = ("session", "date", "commit", "record")
"""Columns that differ in every session, so that a dictionary of them saves nothing."""


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
    held = _held_sessions(store, warn)
    written, before = [], len(held)
    records = _new_records(store, held, warn)
    for first in records:
        content = _parquet_of(islice(chain([first], records), MOST_SESSIONS))
        now = datetime.now(timezone.utc)
        written.append(f"{FOLDER}/{now:%Y%m%dT%H%M%S}Z-{uuid.uuid4()}.parquet")
        store.create(written[-1], content)
    sessions, spare = len(held) - before, []
    if remove:
        held = _held_sessions(store, warn)
        spare = [name for name in record_names(store) if session_of_name(name) in held]
    store.remove(spare)
    return Compaction(tuple(written), sessions, len(spare))


def _held_sessions(store: Store, warn: Warn) -> set[str]:
    """The sessions that Parquet files of a history hold."""
    held: set[str] = set()
    for name, content in store.read(n for n in store.names() if n.endswith(".parquet")):
        with _skipped(name, warn):
            held |= {session for (session,) in _rows(content, ["session"], "compaction")}
    return held


def _new_records(store: Store, held: set[str], warn: Warn) -> Iterator[StoredRecord]:
    """Records that no Parquet file holds; `held` takes them in as they go."""
    names = (name for name in record_names(store) if session_of_name(name) not in held)
    for record in read_records(store, names, warn):
        if record.session not in held:
            held.add(record.session)
            yield record


def _parquet_of(records: Iterable[StoredRecord]) -> bytes:
    """The file of some records; the column `record` holds the whole text, so nothing is lost."""
    pa, parquet = _pyarrow("compaction")
    types = {"tokens": pa.int64(), **dict.fromkeys(_NUMBERS, pa.float64())}
    columns = [(name, types.get(name, pa.string())) for name in (*_NAMES, "record")]
    schema = pa.schema(columns, metadata={_SCHEMA_NAME: _SCHEMA_VALUE})
    repeated = [name for name in _NAMES if name not in (*_ONCE, *_NUMBERS)]
    rows = (row for record in records for row in _rows_of(record))
    buffer = io.BytesIO()
    with parquet.ParquetWriter(
        buffer, schema, compression="zstd", use_dictionary=repeated
    ) as writer:
        while batch := list(islice(rows, _AT_ONCE)):
            named = dict(zip(schema.names, map(list, zip(*batch, strict=True)), strict=True))
            writer.write_table(pa.Table.from_pydict(named, schema=schema))
    return buffer.getvalue()


def _rows_of(record: StoredRecord) -> Iterator[tuple[Any, ...]]:
    """A row for each measurement; without any, one of the session and its text alone."""
    if not record.measurements:
        yield (record.session, *[None] * (len(_NAMES) - 1), record.text)
    for number, measurement in enumerate(record.measurements):
        yield (*_VALUES(measurement), None if number else record.text)


def _rows(content: Content, names: list[str], reader: str) -> Iterator[tuple[Any, ...]]:
    """Columns of a Parquet file, row by row, some thousand rows in memory at once."""
    read = _bytes_of(content)
    pa, parquet = _pyarrow(reader)
    try:
        file = parquet.ParquetFile(pa.BufferReader(read))
        if (file.schema_arrow.metadata or {}).get(_SCHEMA_NAME) != _SCHEMA_VALUE:
            raise ForeignRecordError(f"no history of schema {COMPACT_SCHEMA}")
        for batch in file.iter_batches(batch_size=_ROWS, columns=names):
            yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
    except (pa.ArrowException, OSError) as error:
        raise ForeignRecordError(f"no Parquet that can be read ({error})") from None


def _pyarrow(reader: str) -> tuple[Any, Any]:
    """Pyarrow and its Parquet; raises `HistoryError` that says who needs it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise HistoryError(
            f"{reader} needs pyarrow, which is not installed: `pip install pyarrow`"
        ) from None
    return pyarrow, pyarrow.parquet
