"""The record of a session, and how it is written."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.results import Origin

RECORD_SCHEMA = 1

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
