"""Baseline files, read: what sessions of one hardware measured, checked name by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pytest_energy.errors import BaselineError
from pytest_energy.stored_calibration import StoredCalibration

SCHEMA = 1
METRICS = ("joules_per_token", "savings")
LARGEST_LEVEL = 10.0
"""Tolerances and detects are fractions; ten times is beyond any use."""
Source = Literal["measured", "paper"]


@dataclass(frozen=True)
class StoredSession:
    """What one session measured: `mean` in J/token (or saved fraction), `cv` relative to it.

    For savings `windows` counts pairs and `cv` is the SD of the pairs' log ratios.
    """

    date: str
    windows: int
    mean: float
    cv: float
    autocorrelation: float = 0.0
    device: str | None = None
    padding_overhead: float | None = None
    mean_watts: float | None = None
    tokens_per_second: float | None = None
    environment: str | None = None
    tokens: int | None = None
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
class Claim:
    """A band that a figure must lie in, low and high, and whose figure it is.

    A band of J/token has a `mean` too, and may have the watts drawn meanwhile.
    """

    low: float
    high: float
    source: Source
    mean: float | None = None
    mean_watts: float | None = None


@dataclass(frozen=True)
class Baseline:
    """A baseline file; `entries` by (metric, id), `claims` by (name, meter method).

    Claims on J/token go by ("joules_per_token", glob of ids): no measurement, so never an entry.
    `calibrations` go by the devices' UUIDs, joined with `+` where there are several.
    """

    path: Path
    key: str
    match: tuple[str, ...] = ()
    tokens_per_window: int | None = None
    max_tokens_per_batch: int | None = None
    entries: Mapping[tuple[str, str], Entry] = field(default_factory=dict)
    claims: Mapping[tuple[str, str], Claim] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    calibrations: Mapping[str, StoredCalibration] = field(default_factory=dict)

    def band(self, identifier: str) -> Claim | None:
        """The first J/token band that is stated for a figure, or None."""
        for (name, glob), claim in self.claims.items():
            if name == "joules_per_token" and fnmatchcase(identifier, glob):
                return claim
        return None


def baseline_path(folder: Path, key: str) -> Path:
    """Where the baseline file of a hardware key is."""
    return folder / f"{key}.toml"


def known_hardware(folder: Path) -> dict[str, tuple[str, ...]]:
    """Hardware keys and their device-name globs, from every file in a folder of baselines."""
    return {path.stem: read(path).match for path in sorted(folder.glob("*.toml"))}


def read(path: Path) -> Baseline:
    """Read a baseline file; raises `BaselineError` naming the file and the place."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"`{path}` cannot be read: {error}; mend or remove the file") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Baseline:
    """Parse the text of a baseline file; `path` is what errors name."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BaselineError(
            f"`{path}` is not valid TOML: {error}; mend that line, or restore the file from git"
        ) from error
    from pytest_energy.baseline_reader import Reader

    return Reader(path).baseline(document)
