"""The record of a session, and how a run adds it to a history."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.files import require_writable, write_atomically
from pytest_energy.history.measurement import RECORD_SCHEMA
from pytest_energy.history.store import HistoryError, is_local, local_path, open_store
from pytest_energy.results import Origin
from pytest_energy.text import one_line
from pytest_energy.units import listed

_SESSION_LENGTH = 36


@dataclass(frozen=True)
class Record:
    """A record as it is stored: its name below the history's root, and its text."""

    name: str
    text: str


def make_record(
    document: Mapping[str, Any],
    origin: Origin,
    *,
    session: uuid.UUID | None = None,
    now: datetime | None = None,
) -> Record:
    """The record of a session that has just ended; its name is unique and sorts by time."""
    session = session or uuid.uuid4()
    now = (now or real_time.utc()).astimezone(timezone.utc)
    key = str(document.get("hardware", {}).get("key") or "unknown")
    own = {
        "history": RECORD_SCHEMA,
        "session": str(session),
        "date": now.isoformat(timespec="milliseconds"),
        **asdict(origin),
    }
    content = {**own, **document, **own}  # what is its own comes first, and counts
    stamp = now.strftime("%Y%m%dT%H%M%S") + f"{now.microsecond // 1000:03d}Z"
    name = f"{_safe(key)}/{now:%Y}/{now:%m}/{stamp}-{session}.json"
    return Record(name, json.dumps(content, separators=(",", ":")) + "\n")


def session_of_name(name: str) -> str | None:
    """The session that a file name carries, None if it has none."""
    candidate = name.rpartition("/")[2].removesuffix(".json").partition("-")[2]
    return candidate if len(candidate) == _SESSION_LENGTH else None


def _safe(key: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in key).lstrip(".") or "unknown"


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


class RunningSession:
    """A session on its way into a history: its record is in the folder `spare` until it ends.

    So a run that is killed, or whose history cannot be written to, keeps what it has measured.
    """

    def __init__(self, url: str, origin: Origin, spare: Path) -> None:
        self._url, self._origin, self._spare = url, origin, spare
        self._session, self._began = uuid.uuid4(), real_time.utc()
        self._kept: Path | None = None

    def keep(self, document: Mapping[str, Any]) -> None:
        """Write the record so far; `OSError` if it cannot be."""
        self._keep(self._record(document, self._began))

    def append(self, document: Mapping[str, Any]) -> None:
        """Add the session; if that fails, `HistoryError` says where its record is kept.

        It is kept until it has been added: an upload may be interrupted.
        """
        record = self._record(document, real_time.utc())
        try:
            self._keep(record)
            kept = f"its record is kept in `{self._kept}`: copy it to `{record.name}` below "
            kept += f"`{self._url}`"
        except OSError as error:
            kept = (
                f"nor could it be kept in `{self._spare / record.name}` ({error}); what was "
                "measured is in `--energy-json=PATH` alone, if that was given"
            )
        try:
            open_store(self._url).create(record.name, record.text.encode())
        except EnergyError as error:
            raise HistoryError(
                f"the session was not added to the history: {error}; {kept}"
            ) from error
        self.drop()

    def drop(self) -> None:
        """Remove what is kept, and its folders: that they are there says that it was not added."""
        if self._kept is None:
            return
        with suppress(OSError):
            self._kept.unlink(missing_ok=True)
            for folder in self._kept.parents[: len(self._kept.relative_to(self._spare).parts)]:
                folder.rmdir()
        self._kept = None

    def _keep(self, record: Record) -> None:
        """Keep a record in place of an earlier one."""
        path = self._spare / record.name
        write_atomically(path, record.text)
        if self._kept not in (None, path):
            self.drop()
        self._kept = path

    def _record(self, document: Mapping[str, Any], now: datetime) -> Record:
        return make_record(document, self._origin, session=self._session, now=now)


def left_unsent(spare: Path) -> str | None:
    """What earlier runs have left in the folder of a `RunningSession`; None if nothing."""
    names = sorted(path.relative_to(spare).as_posix() for path in spare.rglob("*.json"))
    if not names:
        return None
    found = listed([f"`{name}`" for name in names], 1)
    return one_line(
        f"`{spare}` holds {found}, of runs that were killed or could not write to "
        "their history; copy it by the same path below the history, or delete it (unless another "
        "run is at work here)",
        1000,
    )
