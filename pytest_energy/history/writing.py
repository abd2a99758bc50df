"""A session's record into the history, at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.history.origin import Origin
from pytest_energy.history.protocols import is_local, local_path
from pytest_energy.history.record import Record, make_record
from pytest_energy.history.store import HistoryError, open_store
from pytest_energy.recording import require_writable, write


def check_destination(url: str) -> None:
    """Raise `EnergyError` where records could not be written later; opens, but writes nothing."""
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
        write(path, record.text)
    except OSError as error:
        return (
            f"nor could it be kept in `{path}` ({error}); what was measured is in "
            f"`--energy-json=PATH` alone, where that was given"
        )
    return f"its record is kept in `{path}`: copy it to `{record.name}` below `{url}`"
