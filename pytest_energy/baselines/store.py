"""The baselines of one run: those of the hardware's file, this machine's own, and recordings.

Where the time of a token went in the newest recorded session of each figure only informs. It is
kept in a file of its own beside a hardware's TOML, which people read: `h200.profiles.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_energy import baselines
from pytest_energy.baselines import Baseline, Header, Recording, Reference, UpdateMode
from pytest_energy.baselines.reading import parse, read, text_of
from pytest_energy.baselines.tables import Calibration, device_key
from pytest_energy.documents import FaultyDocumentError, other_schema, parse_json
from pytest_energy.documents.records import converted
from pytest_energy.errors import BaselineError, informing
from pytest_energy.files import read_bytes, unified_diff, write_atomically
from pytest_energy.gate.carriers import MOST_ROWS
from pytest_energy.metering.device_session import DeviceSession
from pytest_energy.metering.hardware import CPU_BUDGET, GPU_BUDGET, Budget
from pytest_energy.metering.profile import Part, Profile


@dataclass
class BaselineStore:
    """What a run is gated against, and what it records, which is written at its end.

    `folder` holds the committed files, `cache` what this machine keeps for itself. If a baseline
    is `demanded`, the latter does not stand in for it. `tokens` is the budget that was asked for.
    """

    device: DeviceSession
    folder: Path
    cache: Path
    mode: UpdateMode | None = None
    tokens: int | None = None
    demanded: bool = False
    _committed: list[Recording] = field(default_factory=list)
    _local: list[Recording] = field(default_factory=list)
    _anew: set[str] = field(default_factory=set)
    """Local figures (metric and id) whose earlier sessions are dropped."""
    _profiles: dict[tuple[str, str], Profile | None] = field(default_factory=dict)
    """By test and id, of what was recorded to be committed."""

    @property
    def path(self) -> Path:
        """The hardware's file, which need not exist."""
        return baselines.baseline_path(self.folder, self.device.hardware.key)

    def above(self) -> Path | None:
        """A folder `baselines` above that has the hardware's file, if the one asked for has none.

        pytest's root, where the folder is looked for, is not always the one that a person means.
        """
        if self.path.exists():
            return None
        places = (Path.cwd() / "x", self.folder.absolute().parent)
        folders = (parent / "baselines" for place in places for parent in place.parents)
        return next((folder for folder in folders if (folder / self.path.name).is_file()), None)

    @cached_property
    def baseline(self) -> Baseline | None:
        """The hardware's file, or None if there is none."""
        return read(self.path) if self.path.exists() else None

    @cached_property
    def own(self) -> Baseline | None:
        """What this machine recorded for itself; None if nothing or unreadable."""
        with suppress(BaselineError):
            return read(self._own_path) if self._own_path.is_file() else None
        return None

    @cached_property
    def budget(self) -> Budget:
        """Tokens of a window and at most so many a batch: option, else file, else default.

        The option's are those of all tasks.
        """
        default = default_budget(self.device.hardware.key)
        stored = self.baseline
        if stored is not None:
            default = Budget(
                stored.tokens_per_window or default.tokens,
                stored.max_tokens_per_batch or default.max_tokens_per_batch,
                stored.tokens_of_tasks,
            )
        return replace(default, tokens=self.tokens, of_tasks={}) if self.tokens else default

    @property
    def calibration(self) -> Calibration | None:
        """How these devices' joules become joules at the wall, if that was stored."""
        stored = self.baseline.calibrations if self.baseline else {}
        found = stored.get(device_key(self.device.hardware) or "")
        return found.fit if found else None

    def find(self, metric: str, identifier: str) -> Reference | None:
        """The stored entry of a figure: the hardware's file first, then this machine's own."""
        own = None if self.demanded else self.own
        for stored, local in ((self.baseline, False), (own, True)):
            entry = stored.entries.get((metric, identifier)) if stored else None
            if stored is not None and entry is not None and entry.sessions:
                return Reference(stored, entry, local)
        return None

    def record(self, item: Recording, *, local: bool, anew: bool) -> None:
        """Keep one session; a figure is committed once a run, or it would count as two sessions."""
        if not local and any(_name(item) == _name(other) for other in self._committed):
            raise BaselineError(
                f"`{item.id}` was recorded in this run already; give the two runs different names, "
                f"or record them one at a time"
            )
        (self._local if local else self._committed).append(item)
        if local and anew:
            self._anew.add(_name(item))

    def keep_profile(self, test: str, identifier: str, profile: Profile | None) -> None:
        """Keep where the time of a recorded figure's token goes; None if that is not known."""
        self._profiles[test, identifier] = profile

    def profile_of(self, identifier: str) -> Profile | None:
        """Where the time of a token went in the newest recorded session of a figure (J/token)."""
        return read_profiles(self._profiles_path).get(identifier)

    def add_reference(self, version: int, joules: float) -> None:
        """Keep the joules of the session's reference load beside all that it records."""
        loaded = {"reference_version": version, "reference_joules": joules}
        for kept in (self._committed, self._local):
            kept[:] = [
                replace(item, session=replace(item.session, **loaded))  # type: ignore[arg-type]
                for item in kept
            ]

    def discard(self, test: str) -> None:
        """Drop what a test recorded that did not pass."""
        self._committed = [item for item in self._committed if item.nodeid != test]
        self._local = [item for item in self._local if item.nodeid != test]

    def write(self, note: Callable[[str], None]) -> list[tuple[Path, str]]:
        """Store what was recorded; each file to be committed, the first with its diff.

        Raises `BaselineError` if that fails; what this machine keeps for itself is noted instead.
        """
        written = []
        if self._committed:
            diff = _write(self.path, self._header(), self._committed, self.mode or "new")
            written.append((self.path, diff))
            with informing("profiles were not stored", note):
                self._write_profiles()
            if self._profiles_path.is_file():
                written.append((self._profiles_path, ""))
        if self._local:
            try:
                self._write_own()
            except BaselineError as error:
                note(str(error))
        return written

    def as_payload(self) -> dict[str, Any]:
        """The local recordings, of builtin types alone; xdist's workers commit none."""
        return {"local": [asdict(item) for item in self._local], "anew": sorted(self._anew)}

    def merge(self, payload: Mapping[str, Any]) -> None:
        """Take in what `as_payload` gave."""
        self._anew |= set(payload["anew"])
        for row in payload["local"]:
            session = baselines.StoredSession(**row.pop("session"))
            self._local.append(Recording(session=session, **row))

    @property
    def _profiles_path(self) -> Path:
        return profiles_path(self.folder, self.device.hardware.key)

    def _write_profiles(self) -> None:
        recorded = [item for item in self._committed if item.metric == "joules_per_token"]
        changed = {item.id: self._profiles.get((item.nodeid, item.id)) for item in recorded}
        write_profiles(self._profiles_path, changed)

    @property
    def _own_path(self) -> Path:
        folder = self.cache / str(self.budget.tokens)
        return baselines.baseline_path(folder, self.device.hardware.key)

    def _header(self) -> Header:
        return Header.of(self.device.hardware, self.budget)

    def _write_own(self) -> None:
        """An unreadable file of earlier runs is begun anew."""
        path = self._own_path
        try:
            read(path)
        except BaselineError:
            with suppress(OSError):  # writing says why it cannot
                path.unlink(missing_ok=True)
        again = [item for item in self._local if _name(item) in self._anew]
        more = [item for item in self._local if _name(item) not in self._anew]
        if again:
            _write(path, self._header(), again, "replace")
        if more:
            _write(path, self._header(), more, "append")


def default_budget(key: str) -> Budget:
    """What a window costs on a hardware unless its file or an option says otherwise."""
    return CPU_BUDGET if key == "cpu" else GPU_BUDGET


def _write(path: Path, header: Header, items: list[Recording], mode: UpdateMode) -> str:
    from pytest_energy.baselines.writing import updated

    try:
        old = text_of(path) if path.is_file() else None
        new = updated(old, header, items, mode)
        parse(new, path)  # what cannot be read back is not written
        write_atomically(path, new)
    except OSError as error:
        raise BaselineError(f"`{path}` cannot be written: {error.strerror or error}") from None
    return unified_diff(old, new, path.name)


def _name(item: Recording) -> str:
    return f"{item.metric}:{item.id}"


_SCHEMA = 1  # of profiles
_ANEW = "remove it, and record again"
_MOST_PROFILE_BYTES = 1 << 24


@dataclass(frozen=True)
class _Profiles:
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
        document = parse_json(read_bytes(path, _MOST_PROFILE_BYTES))
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema not in (None, _SCHEMA):
            raise BaselineError(f"`{path}` has schema {other_schema(schema, _SCHEMA, _ANEW)}")
        return dict(converted(_Profiles, document).profiles)
    except FaultyDocumentError as error:
        raise BaselineError(f"`{path}` is damaged: {error}; {_ANEW}") from None


def write_profiles(path: Path, changed: Mapping[str, Profile | None]) -> None:
    """Put figures' new profiles into the file; None takes away what is no longer the newest."""
    try:
        kept = read_profiles(path)
    except BaselineError:
        kept = {}  # begun anew
    found = sorted({**kept, **changed}.items())
    rows = {name: asdict(_shortened(one)) for name, one in found if one is not None}
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_atomically(path, json.dumps({"schema": _SCHEMA, "profiles": rows}, indent=1) + "\n")


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
