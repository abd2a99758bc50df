"""From a run to the record of its verdict; here what a run and a single test ask for.

PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pytest_energy.baselines import UpdateMode


@dataclass(frozen=True)
class Settings:
    """What the run was asked for, in fractions (0.02); `wall` and `history` are paths or URLs."""

    root: Path
    baselines: Path
    hw: str = "auto"
    update: UpdateMode | None = None
    tolerance: float | None = None
    detect: float | None = None
    tokens: int | None = None
    max_windows: int | None = None
    meter: str = "auto"
    data: str = "synthetic"
    models: Path | None = None
    improvement: Literal["fail", "pass"] = "fail"
    strict: bool = False
    require_all: bool = False
    region: str | None = None
    lock_timeout_seconds: float = 600.0
    idle_seconds: float = 2.0
    reference_load: Literal["auto", "off"] = "auto"
    json: Path | None = None
    markdown: Path | None = None
    html: Path | None = None
    wall: str | None = None
    history: str | None = None
    notify: str | None = None
    settle: str | None = None
    compare: str | None = None
    side_timeout_seconds: float = 600.0
    profile: Literal["auto", "never"] = "auto"
    allow_ci_update: bool = False
    ci: bool = False
    parallel: bool = False
    """Whether this process is one of several pytest-xdist workers."""
    here: Path | None = None
    """The folder that pytest was called in; its root if None."""

    @property
    def demands_baseline(self) -> bool:
        """Whether a figure without a baseline fails: a hardware was named, or this is CI."""
        return self.hw != "auto" or self.ci

    def typed(self, test: str) -> str:
        """A test, or its file, as it is typed in the folder that pytest was called in."""
        path, colons, name = test.partition("::")
        return os.path.relpath(self.root / path, self.here or self.root) + colons + name


@dataclass(frozen=True)
class TestSettings:
    """What a test's own marker asks for; levels are fractions, None leaves it to the run."""

    __test__ = False

    max_joules: float | None = None
    tolerance: float | None = None
    detect: float | None = None
    tokens: int | None = None
    max_windows: int | None = None
