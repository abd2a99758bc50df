"""Records and what was measured in them, read from JSON files and from Parquet files of many.

A Parquet file has the measurements as columns, and each record's text beside them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from operator import attrgetter
from typing import Any

from pytest_energy.history.record import (
    ForeignRecordError,
    Measurement,
    measurements_of,
    parse,
    session_of_name,
)
from pytest_energy.history.store import HistoryError, Store

COMPACT_SCHEMA = 1

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
class StoredRecord:
    """A record that was read: its session, its text, and the measurements in it."""

    session: str
    text: str
    document: Mapping[str, Any]
    measurements: Sequence[Measurement]


def write_parquet(records: Iterable[StoredRecord]) -> bytes:
    """The file of some records.

    A record without measurements has a row of its session and text alone. Nothing is lost: the
    column `record` holds the whole text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, buffer = _schema(pa), io.BytesIO()
    dictionary = [name for name in _NAMES if name not in (*_ONCE, *_NUMBERS)]
    rows = (row for record in records for row in _rows_of(record))
    with pq.ParquetWriter(buffer, schema, compression="zstd", use_dictionary=dictionary) as writer:
        while batch := list(islice(rows, _AT_ONCE)):
            columns = map(list, zip(*batch, strict=True))
            named = dict(zip(schema.names, columns, strict=True))
            writer.write_table(pa.Table.from_pydict(named, schema=schema))
    return buffer.getvalue()


def _rows_of(record: StoredRecord) -> Iterator[tuple[Any, ...]]:
    if not record.measurements:
        yield (record.session, *[None] * (len(_NAMES) - 1), record.text)
    for number, measurement in enumerate(record.measurements):
        yield (*_VALUES(measurement), None if number else record.text)


def read_parquet(content: bytes) -> Iterator[tuple[str, Measurement | None]]:
    """Sessions and measurements, some thousand rows in memory at once; the records stay unread."""
    for values in _rows(content, _NAMES):
        one = Measurement(*values)
        yield one.session, None if one.value is None else one


def sessions_of(content: bytes) -> set[str]:
    """The sessions that a file holds."""
    return {session for (session,) in _rows(content, ["session"])}


def _rows(content: bytes, names: list[str]) -> Iterator[tuple[Any, ...]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        if (file.schema_arrow.metadata or {}).get(_SCHEMA_NAME) != _SCHEMA_VALUE:
            raise ForeignRecordError(f"no history of schema {COMPACT_SCHEMA}")
        for batch in file.iter_batches(batch_size=_ROWS, columns=names):
            yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
    except (pa.ArrowException, OSError) as error:
        raise ForeignRecordError(f"no Parquet that can be read ({error})") from None


def _schema(pa: Any) -> Any:
    types = {"tokens": pa.int64(), **dict.fromkeys(_NUMBERS, pa.float64())}
    columns = [(name, types.get(name, pa.string())) for name in (*_NAMES, "record")]
    return pa.schema(columns, metadata={_SCHEMA_NAME: _SCHEMA_VALUE})


Warn = Callable[[str], None]


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
        try:
            if isinstance(content, Exception):
                raise ForeignRecordError(f"cannot be read ({content})")
            document = parse(content)
            measurements = measurements_of(document)
        except ForeignRecordError as error:
            warn(f"`{name}`: {error}; skipped")
            continue
        text = content.decode("utf-8", "replace")
        yield StoredRecord(document["session"], text, document, measurements)


def record_names(store: Store) -> Iterator[str]:
    """The names of the files that are records by their ending."""
    return (name for name in store.names() if name.endswith(".json"))


def _compacted(
    store: Store, name: str, warn: Warn, hardware: str | None, seen: set[str]
) -> Iterator[Measurement]:
    ((_, content),) = store.read([name])
    if isinstance(content, Exception):
        warn(f"`{name}` cannot be read: {content}; skipped")
        return
    here: set[str] = set()
    try:
        for session, one in read_parquet(content):
            if session in seen:
                continue
            here.add(session)
            if one is not None and hardware in (None, one.hardware):
                yield one
    except ForeignRecordError as error:
        warn(f"`{name}`: {error}; skipped")
    except ModuleNotFoundError:
        raise HistoryError(
            f"`{name}` needs pyarrow, which is not installed: `pip install 'pytest-energy[drift]'`"
        ) from None
    seen |= here
