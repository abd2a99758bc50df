"""Many records in one Parquet file: the figures as columns, and each record's text beside them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from operator import attrgetter
from typing import Any

from pytest_energy.history.figures import Figure, ForeignRecordError

COMPACT_SCHEMA = 1

_SCHEMA_NAME = b"pytest-energy-history"
_SCHEMA_VALUE = str(COMPACT_SCHEMA).encode()
_ROWS = 4096
_AT_ONCE = 1024
_NAMES = [field.name for field in fields(Figure)]
_VALUES = attrgetter(*_NAMES)
_NUMBERS = ("value", "mean_watts", "tokens_per_second", "padding_overhead", "baseline", "tolerance")
_ONCE = ("session", "date", "commit", "record")
"""Columns that differ in every session, so that a dictionary of them saves nothing."""


def write_parquet(records: Iterable[tuple[str, str, Sequence[Figure]]]) -> bytes:
    """The file of records given as session, text and figures.

    A record without figures has a row of its session and text alone. Nothing is lost: `record`
    holds the whole text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, buffer = _schema(pa), io.BytesIO()
    dictionary = [name for name in _NAMES if name not in (*_ONCE, *_NUMBERS)]
    rest = iter(records)
    with pq.ParquetWriter(buffer, schema, compression="zstd", use_dictionary=dictionary) as writer:
        while batch := list(islice(rest, _AT_ONCE)):
            rows = [row for record in batch for row in _rows_of(*record)]
            columns = [list(column) for column in zip(*rows, strict=True)]
            writer.write_table(pa.Table.from_arrays(_arrays(pa, schema, columns), schema=schema))
    return buffer.getvalue()


def _rows_of(session: str, text: str, figures: Sequence[Figure]) -> Iterator[tuple[Any, ...]]:
    if not figures:
        yield (session, *[None] * (len(_NAMES) - 1), text)
    for number, figure in enumerate(figures):
        yield (*_VALUES(figure), None if number else text)


def _arrays(pa: Any, schema: Any, columns: Sequence[list[Any]]) -> list[Any]:
    return [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]


def read_parquet(content: bytes) -> Iterator[tuple[str, Figure | None]]:
    """Sessions and figures, a few thousand rows in memory at a time; the records stay unread."""
    for values in _rows(content, _NAMES):
        figure = Figure(*values)
        yield figure.session, None if figure.value is None else figure


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
    columns = [(name, _type(pa, name)) for name in _NAMES]
    return pa.schema([*columns, ("record", pa.string())], metadata={_SCHEMA_NAME: _SCHEMA_VALUE})


def _type(pa: Any, name: str) -> Any:
    if name == "tokens":
        return pa.int64()
    return pa.float64() if name in _NUMBERS else pa.string()
