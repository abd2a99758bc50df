"""Where the time of a token went in the newest recorded session of each figure; it only informs.

Kept in a file of its own beside a hardware's TOML, which people read: `h200.profiles.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pytest_energy.documents import FaultyDocumentError, parse_json
from pytest_energy.documents.records import converted
from pytest_energy.errors import BaselineError
from pytest_energy.files import read_bytes, write_atomically
from pytest_energy.gate.carriers import MOST_ROWS
from pytest_energy.metering.profile import Part, Profile

SCHEMA = 1
_MOST_BYTES = 1 << 24


@dataclass(frozen=True)
class _Document:
    schema: int
    profiles: Mapping[str, Profile]


def profiles_path(folder: Path, key: str) -> Path:
    """Where the profiles of a hardware key are."""
    return folder / f"{key}.profiles.json"


def read_profiles(path: Path) -> dict[str, Profile]:
    """Profiles by the ids of their figures, empty if there is no file; raises `BaselineError`."""
    if not path.exists():
        return {}
    try:
        document = converted(_Document, parse_json(read_bytes(path, _MOST_BYTES)))
    except FaultyDocumentError as error:
        raise BaselineError(f"`{path}` is damaged: {error}; remove it, and record again") from None
    if document.schema != SCHEMA:
        raise BaselineError(
            f"`{path}` has schema {document.schema}, but this version reads {SCHEMA}; remove it, "
            f"and record again"
        )
    return dict(document.profiles)


def write_profiles(path: Path, changed: Mapping[str, Profile | None]) -> None:
    """Put figures' new profiles into the file; None takes away what is no longer the newest."""
    try:
        kept = read_profiles(path)
    except BaselineError:
        kept = {}  # begun anew
    found = {**kept, **{name: one for name, one in changed.items() if one is not None}}
    found = {n: one for n, one in found.items() if changed.get(n, one) is not None}
    if not found:
        path.unlink(missing_ok=True)
        return
    rows = {name: asdict(_shortened(found[name])) for name in sorted(found)}
    write_atomically(path, json.dumps({"schema": SCHEMA, "profiles": rows}, indent=1) + "\n")


def _shortened(profile: Profile) -> Profile:
    """The longest parts, in four digits."""
    return replace(
        profile,
        seconds=_rounded(profile.seconds),
        phases=_parts(profile.phases),
        operators=_parts(profile.operators),
        modules=_parts(profile.modules),
        kernels=_parts(profile.kernels),
    )


def _parts(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(replace(part, seconds=_rounded(part.seconds)) for part in parts[:MOST_ROWS])


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")
