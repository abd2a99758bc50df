"""Baseline files, read: what sessions of one hardware measured, checked name by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pytest_energy.baselines.acknowledged import Acknowledgement
from pytest_energy.baselines.calibration import StoredCalibration
from pytest_energy.baselines.sensor import StoredSensor
from pytest_energy.documents import Positive, PositiveCount, Range
from pytest_energy.stats.noise import PairStats, Pooled, Session, SessionStats, pool

SCHEMA = 1
METRICS = ("joules_per_token", "savings")
Spread = Annotated[float, Range(0.0, 10.0)]
"""A CV, or an SD of log ratios; ten is beyond any use."""
Correlation = Annotated[float, Range(-1.0, 1.0)]
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


def session_stats(entry: Entry) -> list[SessionStats]:
    """The sessions of a J/token entry."""
    return [SessionStats(*_stats(row)) for row in entry.sessions]


def pair_stats(entry: Entry) -> list[PairStats]:
    """The sessions of a savings entry."""
    return [PairStats(*_stats(row)) for row in entry.sessions]


def _stats(row: StoredSession) -> tuple[float, float, int, float, str | None]:
    return row.mean, row.cv, row.windows, row.autocorrelation, row.device


def sessions_of(entry: Entry) -> Sequence[Session]:
    """An entry's sessions, whichever metric it is of."""
    return pair_stats(entry) if entry.metric == "savings" else session_stats(entry)


def pooled_of(stored: Baseline, entry: Entry) -> Pooled | None:
    """What the file's other entries of a metric say together of how sessions differ."""
    others = [
        sessions_of(other)
        for other in stored.entries.values()
        if other.metric == entry.metric and other.id != entry.id and other.sessions
    ]
    return pool(others)
