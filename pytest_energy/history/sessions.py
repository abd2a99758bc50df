"""Sessions of a history: read back, and compacted to Parquet.

A Parquet file has the measurements as columns, and each record's text beside them.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.documents import other_schema
from pytest_energy.history.measurement import (
    ForeignRecordError,
    Measurement,
    measurements_of,
    parse,
    stored_measurement,
)
from pytest_energy.history.record import session_of_name
from pytest_energy.history.store import Content, HistoryError, Store
from pytest_energy.text import decoded, one_line

Warn = Callable[[str], None]


@dataclass(frozen=True)
class StoredRecord:
    """A record that was read: its file, its session, its text, and the measurements in it."""

    name: str
    session: str
    text: str
    document: Mapping[str, Any]
    measurements: Sequence[Measurement]


def read_measurements(
    store: Store, warn: Warn, hardware: str | None = None
) -> Iterator[Measurement]:
    """Every measurement, each session once, if it is in Parquet, in JSON or in both.

    Of records that contradict each other the one counts that has its session in its name.
    """
    seen: set[str] = set()
    records: list[str] = []
    for name in store.names():
        if name.endswith(".parquet"):
            yield from _compacted(store, name, warn, hardware, seen)
        elif not name.endswith(".json"):
            warn(f"`{one_line(name)}`: neither a record nor a Parquet file; skipped")
        else:
            records.append(name)
    records.sort(key=lambda name: session_of_name(name) is None)
    unseen = (name for name in records if session_of_name(name) not in seen)
    texts: dict[str, int] = {}
    for record in read_records(store, unseen, warn):
        if texts.setdefault(record.session, hash(record.text)) != hash(record.text):
            warn(f"`{one_line(record.name)}`: differs from the record of the same session; skipped")
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
            yield StoredRecord(name, document["session"], decoded(read), document, measurements)


def record_names(store: Store) -> Iterator[str]:
    """The names of the files that are records by their ending."""
    return (name for name in store.names() if name.endswith(".json"))


@contextmanager
def _skipped(name: str, warn: Warn) -> Iterator[None]:
    """Go on after a file that this version does not read, with a warning."""
    try:
        yield
    except ForeignRecordError as error:
        warn(f"`{one_line(name)}`: {error}; skipped")


def _bytes_of(content: Content) -> bytes:
    if isinstance(content, Exception):
        raise ForeignRecordError(f"cannot be read ({one_line(content)})")
    return content


def _compacted(
    store: Store, name: str, warn: Warn, hardware: str | None, seen: set[str]
) -> Iterator[Measurement]:
    """The measurements of a Parquet file; the texts of its records stay unread."""
    ((_, content),) = store.read([name])
    here, damaged = set[str](), list[str]()
    with _skipped(name, warn):
        for values in _rows(content, _NAMES, f"`{one_line(name)}`"):
            row = dict(zip(_NAMES, values, strict=True))
            session = row["session"]
            if session in seen:
                continue
            # A session without measurements has a row of its own, with nothing else.
            if isinstance(session, str) and not any(part is not None for part in values[1:]):
                here.add(session)
                continue
            try:
                one = stored_measurement(row)
            except ForeignRecordError as error:
                damaged.append(str(error) if not damaged else "")
                continue
            here.add(one.session)
            if hardware in (None, one.hardware):
                yield one
    seen |= here
    if damaged:
        rows = "1 row" if len(damaged) == 1 else f"{len(damaged)} rows"
        warn(f"`{one_line(name)}`: {rows} left out, such as one {damaged[0]}")


FOLDER = "compact"
COMPACT_SCHEMA = 1

MOST_SESSIONS = 10_000
"""Sessions of one file, which is made in memory."""

MOST_ROWS = 5_000_000
"""Rows of a file that are looked at."""

LARGEST_GROUP = 1 << 30
"""Bytes of what is read of one row group, unfolded."""

LONGEST_CELL = 20_000
LONGEST_RECORD = 1 << 28
"""Bytes of a text, and of a record's whole text."""

_SCHEMA_NAME = b"pytest-energy-history"
_SCHEMA_VALUE = str(COMPACT_SCHEMA).encode()
_MOST_DIGITS = 9
_ROWS = 4096
_FEW = 64
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
        now = real_time.utc()
        written.append(f"{FOLDER}/{now:%Y%m%dT%H%M%S}Z-{uuid.uuid4()}.parquet")
        store.create(written[-1], content)
    sessions, spare = len(held) - before, []
    if remove:
        held = _held_sessions(store, warn, in_full=True)
        spare = [name for name in record_names(store) if session_of_name(name) in held]
    store.remove(spare)
    return Compaction(tuple(written), sessions, len(spare))


def _held_sessions(store: Store, warn: Warn, *, in_full: bool = False) -> set[str]:
    """The sessions that Parquet files of a history hold; `in_full`: with their record's text."""
    held: set[str] = set()
    names = ["session", "record"] if in_full else ["session"]
    for name, content in store.read(n for n in store.names() if n.endswith(".parquet")):
        with _skipped(name, warn):
            held |= {row[0] for row in _rows(content, names, "compaction") if row[-1]}
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
    """Columns of a Parquet file, row by row, some thousand rows in memory at once.

    Raises `ForeignRecordError` for a file that is damaged, or that unfolds to more than a history.
    """
    read = _bytes_of(content)
    pa, parquet = _pyarrow(reader)
    try:
        _require_history(parquet.ParquetFile(pa.BufferReader(read)), names, pa)
        # Texts that repeat stay a dictionary and numbers, however many rows repeat them.
        texts = [name for name in names if name not in (*_NUMBERS, "tokens")]
        file = parquet.ParquetFile(pa.BufferReader(read), read_dictionary=texts)
        for batch in file.iter_batches(
            batch_size=_FEW if "record" in names else _ROWS, columns=names
        ):
            columns = [batch.column(name) for name in names]
            for name, column in zip(names, columns, strict=True):
                _require_short_texts(name, column, pa)
            yield from zip(*(column.to_pylist() for column in columns), strict=True)
    except ForeignRecordError:
        raise
    except Exception as error:  # pyarrow has errors of many kinds for bytes that it cannot read
        raise ForeignRecordError(f"no Parquet that can be read ({one_line(error)})") from None


def _require_history(file: Any, names: Iterable[str], pa: Any) -> None:
    """Raise `ForeignRecordError` unless a file has a history's columns, and not too much in them.

    What is in memory at once is a row group, so that its size counts, unfolded.
    """
    schema, facts = file.schema_arrow, file.metadata
    said = (schema.metadata or {}).get(_SCHEMA_NAME)
    if said != _SCHEMA_VALUE:
        if said is None or not said.isdigit():
            raise ForeignRecordError(f"no history of schema {COMPACT_SCHEMA}")
        told = other_schema(int(said[:_MOST_DIGITS]), COMPACT_SCHEMA, "compact it anew")
        raise ForeignRecordError(f"schema {told}")
    for name in names:
        if schema.names.count(name) != 1:
            raise ForeignRecordError(f"damaged: has no column `{name}`, or several")
        kind = schema.field(name).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_nested(plain):
            raise ForeignRecordError(f"damaged: column `{name}` is a {one_line(plain)}")
    if facts.num_rows > MOST_ROWS:
        raise ForeignRecordError(f"has more than {MOST_ROWS:,} rows")
    for number in range(facts.num_row_groups):
        group = facts.row_group(number)
        columns = (group.column(column) for column in range(group.num_columns))
        read = (each for each in columns if each.path_in_schema in names)
        if sum(each.total_uncompressed_size for each in read) > LARGEST_GROUP:
            raise ForeignRecordError(f"unfolds to more than {LARGEST_GROUP:,} bytes at once")


def _require_short_texts(name: str, column: Any, pa: Any) -> None:
    from pyarrow import compute

    words = column.dictionary if pa.types.is_dictionary(column.type) else column
    if pa.types.is_string(words.type) or pa.types.is_large_string(words.type):
        longest = compute.max(compute.binary_length(words)).as_py() or 0
        if longest > (LONGEST_RECORD if name == "record" else LONGEST_CELL):
            raise ForeignRecordError(f"damaged: `{name}` has a text of {longest:,} bytes")


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
