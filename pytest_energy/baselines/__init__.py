"""Baseline files, read: what sessions of one hardware measured, checked name by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Literal

from pytest_energy.baselines.tables import Acknowledgement, StoredCalibration, StoredSensor
from pytest_energy.documents import NotNegative, Positive, PositiveCount, Range
from pytest_energy.stats.noise import PairStats, Pooled, Session, SessionStats, pool
from pytest_energy.stats.steadiness import median_distance

if TYPE_CHECKING:
    from pytest_energy.metering.hardware import Budget, Hardware

SCHEMA = 1
METRICS = ("joules_per_token", "savings")
Spread = Annotated[float, Range(0.0, 10.0)]
"""A CV, or an SD of log ratios; ten is beyond any use."""
Correlation = Annotated[float, Range(-1.0, 1.0)]
Celsius = Annotated[float, Range(-100.0, 500.0, words="what a device can have")]
Source = Literal["measured", "paper"]
UpdateMode = Literal["new", "append", "replace"]
"""What becomes of an entry that has sessions: it stays, gets one more, or starts anew."""


@dataclass(frozen=True)
class StoredSession:
    """What one session measured: `mean` in J/token (or saved fraction), `cv` relative to it.

    For savings `windows` counts pairs and `cv` is the SD of the pairs' log ratios.
    """

    date: str
    windows: PositiveCount
    mean: float
    cv: Spread
    autocorrelation: Correlation = 0.0
    device: str | None = None
    padding_overhead: Positive | None = None
    mean_watts: Positive | None = None
    tokens_per_second: Positive | None = None
    environment: str | None = None
    tokens: PositiveCount | None = None
    """Processed tokens of each window; other batches cannot be compared."""
    median: Positive | None = None
    """Of the windows, J/token; beside it the median of their distances from it over it."""
    mad: Spread | None = None
    begin_celsius: Celsius | None = None
    end_celsius: Celsius | None = None
    """The device's temperature (°C) in the first and in the last window."""
    load_seconds: NotNegative | None = None
    """Seconds of windows that the run had metered before the first of these, warm-up included."""
    reference_joules: Positive | None = None
    reference_version: PositiveCount | None = None
    """The reference load of the session, and which load that was."""

    @property
    def recorded(self) -> datetime:
        """When it was recorded, in UTC."""
        return moment(self.date)


@dataclass(frozen=True)
class Entry:
    """One gated figure: its levels (fractions; None: the default) and its sessions."""

    metric: str
    id: str
    sessions: tuple[StoredSession, ...]
    workload: str | None = None
    tolerance: float | None = None
    detect: float | None = None


@dataclass(frozen=True)
class Band:
    """A band that a figure must lie in; one of J/token has a `mean`, and may have `mean_watts`."""

    low: float
    high: float
    source: Source
    mean: float | None = None
    mean_watts: float | None = None


@dataclass(frozen=True)
class Baseline:
    """A baseline file; `entries` by (metric, id), `claims` by (name, meter method).

    Claims on J/token go by ("joules_per_token", glob of ids): no measurement, so never an entry.
    `calibrations` go by the devices' UUIDs, joined with `+` if there are several; `sensors` by that
    of each card.
    """

    path: Path
    key: str
    match: tuple[str, ...] = ()
    tokens_per_window: int | None = None
    max_tokens_per_batch: int | None = None
    tokens_of_tasks: Mapping[str, int] = field(default_factory=dict)
    entries: Mapping[tuple[str, str], Entry] = field(default_factory=dict)
    claims: Mapping[tuple[str, str], Band] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    calibrations: Mapping[str, StoredCalibration] = field(default_factory=dict)
    sensors: Mapping[str, StoredSensor] = field(default_factory=dict)
    acknowledged: tuple[Acknowledgement, ...] = ()

    def acknowledgement(self, metric: str, identifier: str) -> Acknowledgement | None:
        """What is acknowledged of a figure, whether it still counts or not."""
        found = (one for one in self.acknowledged if (one.metric, one.id) == (metric, identifier))
        return next(found, None)

    def band(self, identifier: str) -> Band | None:
        """The first J/token band that is stated for a figure, or None."""
        for (name, glob), claim in self.claims.items():
            if name == "joules_per_token" and fnmatchcase(identifier, glob):
                return claim
        return None


def baseline_path(folder: Path, key: str) -> Path:
    """Where the baseline file of a hardware key is."""
    return folder / f"{key}.toml"


@dataclass(frozen=True)
class Reference:
    """What a figure is gated against; `local` is this machine's own, kept in pytest's cache."""

    baseline: Baseline
    entry: Entry
    local: bool

    def environment_of(self, row: StoredSession) -> Mapping[str, str]:
        """What one of its sessions ran in, by name; empty if the file does not say."""
        return self.baseline.environments.get(row.environment or "", {})


@dataclass(frozen=True)
class Recording:
    """One session of one figure, to be stored; `environment` is named by the session's id of it."""

    metric: str
    id: str
    workload: str | None
    session: StoredSession
    environment: Mapping[str, str]
    tolerance: float
    detect: float
    nodeid: str = ""
    """The test that recorded it."""


@dataclass(frozen=True)
class Header:
    """The `[hardware]` table of a file that does not exist yet."""

    key: str
    match: tuple[str, ...]
    tokens_per_window: int
    max_tokens_per_batch: int | None = None

    @classmethod
    def of(cls, hardware: Hardware, budget: Budget) -> Header:
        """The table of a hardware whose windows have a budget."""
        match = tuple(f"{escape(name)}*" for name in hardware.names)
        return cls(hardware.key, match, budget.tokens, budget.max_tokens_per_batch)


DAY = timedelta(hours=12)
"""How long after the first session of a day one is of the same day; midnight changes no device."""


def session_stats(entry: Entry, now: datetime | None = None) -> list[SessionStats]:
    """The sessions of a J/token entry; of a run that is `now` some may be of the same day."""
    return [SessionStats(*_stats(row), day) for row, day in _dated(entry, now)]


def pair_stats(entry: Entry, now: datetime | None = None) -> list[PairStats]:
    """The sessions of a savings entry."""
    return [PairStats(*_stats(row), day) for row, day in _dated(entry, now)]


def _stats(row: StoredSession) -> tuple[float, float, int, float, str | None]:
    return row.mean, row.cv, row.windows, row.autocorrelation, row.device


def _dated(entry: Entry, now: datetime | None) -> Iterator[tuple[StoredSession, int]]:
    """Each session with how many days of sessions before `now` it was recorded: 0 on that day."""
    begun: list[datetime] = []
    for date in sorted(row.recorded for row in entry.sessions):
        if not begun or date - begun[-1] >= DAY:
            begun.append(date)
    today = 1 if now is not None and begun and abs(now - begun[-1]) < DAY else 0
    for row in entry.sessions:
        day = sum(first > row.recorded for first in begun)
        yield row, day + 1 - today


def day_count(entry: Entry) -> int:
    """On how many days its sessions were recorded."""
    return len(days_of(entry))


def days_of(entry: Entry) -> list[list[StoredSession]]:
    """Its sessions, a list for each day that they were recorded on."""
    days: dict[int, list[StoredSession]] = {}
    for row, day in _dated(entry, None):
        days.setdefault(day, []).append(row)
    return list(days.values())


LEAST_TO_DIFFER = 4
"""Sessions of a device from which on one of them may be called far off."""
_FAR, _FAR_AT_LEAST = 4.0, 0.02


def far_off(entry: Entry) -> list[StoredSession]:
    """Sessions far from the others of their device: 4 robust SD from their median, 2 % at least."""
    found = []
    for device in {row.device for row in entry.sessions}:
        rows = [row for row in entry.sessions if row.device == device]
        if len(rows) < LEAST_TO_DIFFER:
            continue
        levels = [session.log_mean for session in sessions_of(replace(entry, sessions=tuple(rows)))]
        middle, distance = median(levels), median_distance(levels)
        reach = max(_FAR * 1.4826 * distance, _FAR_AT_LEAST)
        found += [
            row for row, level in zip(rows, levels, strict=True) if abs(level - middle) > reach
        ]
    return found


def far_off_in_words(stored: Baseline, entry: Entry) -> str | None:
    """A sentence on sessions far off the others, with the command that drops them; else None."""
    rows = far_off(entry)
    if not rows:
        return None
    dates = [row.date[:19] for row in rows]
    command = f"`pytest-energy baselines {stored.path} --drop={dates[0]}`"
    sessions = "the session of" if len(dates) == 1 else "the sessions of"
    return f"{sessions} {', '.join(dates)} is far off the others; if it was disturbed, {command}"


def moment(date: str) -> datetime:
    """A date of a file, in UTC; `ValueError` or `OverflowError` if it is none."""
    return datetime.fromisoformat(date.replace("Z", "+00:00")).astimezone(timezone.utc)


def sessions_of(entry: Entry, now: datetime | None = None) -> Sequence[Session]:
    """An entry's sessions, whichever metric it is of."""
    return pair_stats(entry, now) if entry.metric == "savings" else session_stats(entry, now)


def pooled_of(stored: Baseline, entry: Entry, now: datetime | None = None) -> Pooled | None:
    """What the file's other entries of a metric say together of how sessions differ."""
    others = [
        sessions_of(other, now)
        for other in stored.entries.values()
        if other.metric == entry.metric and other.id != entry.id and other.sessions
    ]
    return pool(others)
