"""A history read back, one record in memory at a time; what is no record is named and skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_energy.history.figures import Figure, ForeignRecordError, figures_of, parse
from pytest_energy.history.record import session_of_name
from pytest_energy.history.store import HistoryError, Store

Warn = Callable[[str], None]


def read_figures(store: Store, warn: Warn, hardware: str | None = None) -> Iterator[Figure]:
    """Every figure, each session once, whether it is in a Parquet file, in JSON, or in both."""
    seen: set[str] = set()
    records: list[str] = []
    for name in store.names():
        if name.endswith(".parquet"):
            yield from _compacted(store, name, warn, hardware, seen)
        elif not name.endswith(".json"):
            warn(f"`{name}`: neither a record nor a Parquet file; skipped")
        else:
            records.append(name)
    for record in read_records(store, _unseen(records, seen), warn):
        if record.session not in seen:
            seen.add(record.session)
            yield from (f for f in record.figures if hardware in (None, f.hardware))


@dataclass(frozen=True)
class StoredRecord:
    """A record that was read: its file's name and text, and the figures in it."""

    name: str
    text: str
    session: str
    document: Mapping[str, Any]
    figures: Sequence[Figure]


def read_records(store: Store, names: Iterable[str], warn: Warn) -> Iterator[StoredRecord]:
    """Records one by one; files that are none are warned of and left out."""
    for name, content in store.read(names):
        try:
            if isinstance(content, Exception):
                raise ForeignRecordError(f"cannot be read ({content})")
            document = parse(content)
            figures = figures_of(document)
        except ForeignRecordError as error:
            warn(f"`{name}`: {error}; skipped")
            continue
        text = content.decode("utf-8", "replace")
        yield StoredRecord(name, text, document["session"], document, figures)


def record_names(store: Store) -> Iterator[str]:
    """The names of the files that are records by their ending."""
    return (name for name in store.names() if name.endswith(".json"))


def _unseen(names: list[str], seen: set[str]) -> Iterator[str]:
    return (name for name in names if session_of_name(name) not in seen)


def _compacted(
    store: Store, name: str, warn: Warn, hardware: str | None, seen: set[str]
) -> Iterator[Figure]:
    from pytest_energy.history.parquet import read_parquet

    content = next(iter(store.read([name])))[1]
    if isinstance(content, Exception):
        warn(f"`{name}` cannot be read: {content}; skipped")
        return
    here: set[str] = set()
    try:
        for session, figure in read_parquet(content):
            if session in seen:
                continue
            here.add(session)
            if figure is not None and hardware in (None, figure.hardware):
                yield figure
    except ForeignRecordError as error:
        warn(f"`{name}`: {error}; skipped")
    except ModuleNotFoundError:
        raise HistoryError(
            f"`{name}` needs pyarrow, which is not installed: `pip install 'pytest-energy[drift]'`"
        ) from None
    seen |= here
