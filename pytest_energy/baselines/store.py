"""Recordings of a run, kept until it ends and then stored in one write a file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy import baselines
from pytest_energy.baselines import writing as recording
from pytest_energy.baselines.reading import parse, read
from pytest_energy.baselines.writing import Header, Recording
from pytest_energy.errors import BaselineError
from pytest_energy.files import unified_diff, write_atomically

if TYPE_CHECKING:
    from pytest_energy.baselines import UpdateMode


@dataclass
class Pending:
    """What is to be stored: `committed` in the hardware's file, `local` in pytest's cache.

    `anew` names the local figures (metric and id) whose earlier sessions are dropped.
    """

    committed: list[Recording] = field(default_factory=list)
    local: list[Recording] = field(default_factory=list)
    anew: set[str] = field(default_factory=set)

    def add(self, item: Recording, *, local: bool, anew: bool) -> None:
        """Keep one session; a figure is committed once a run, or it would count as two sessions."""
        if not local and any(_name(item) == _name(other) for other in self.committed):
            raise BaselineError(
                f"`{item.id}` was recorded in this run already; give the two runs different names, "
                f"or record them one at a time"
            )
        (self.local if local else self.committed).append(item)
        if local and anew:
            self.anew.add(_name(item))

    def discard(self, nodeid: str) -> None:
        """Drop what a test recorded that failed afterwards."""
        self.committed = [item for item in self.committed if item.nodeid != nodeid]
        self.local = [item for item in self.local if item.nodeid != nodeid]

    def write_committed(self, path: Path, header: Header, mode: UpdateMode) -> str | None:
        """Store the committed recordings; the diff, or None where there are none."""
        return _write(path, header, self.committed, mode) if self.committed else None

    def write_local(self, path: Path, header: Header) -> None:
        """Store the local recordings; an unreadable file of earlier runs is begun anew."""
        try:
            read(path)
        except BaselineError:
            with suppress(OSError):  # writing says why it cannot
                path.unlink(missing_ok=True)
        again = [item for item in self.local if _name(item) in self.anew]
        more = [item for item in self.local if _name(item) not in self.anew]
        if again:
            _write(path, header, again, "replace")
        if more:
            _write(path, header, more, "append")

    def as_payload(self) -> dict[str, Any]:
        """The local recordings, of builtin types alone; xdist workers commit none."""
        return {"local": [asdict(item) for item in self.local], "anew": sorted(self.anew)}

    def merge(self, payload: Mapping[str, Any]) -> None:
        """Take in what `as_payload` gave."""
        self.anew |= set(payload["anew"])
        for row in payload["local"]:
            session = baselines.StoredSession(**row.pop("session"))
            self.local.append(Recording(session=session, **row))


def _write(path: Path, header: Header, items: list[Recording], mode: UpdateMode) -> str:
    try:
        old = path.read_text(encoding="utf-8") if path.is_file() else None
        new = recording.updated(old, header, items, mode)
        parse(new, path)  # what cannot be read back is not written
        write_atomically(path, new)
    except OSError as error:
        raise BaselineError(f"`{path}` cannot be written: {error.strerror or error}") from None
    return unified_diff(old, new, path.name)


def _name(item: Recording) -> str:
    return f"{item.metric}:{item.id}"
