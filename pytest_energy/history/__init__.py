"""History: one immutable record a session, read back as series."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pytest_energy.history.series import Point, Series

__all__ = ["Point", "Series", "read_series"]


def read_series(
    url: str, *, baselines: Path | None = None, hardware: str | None = None
) -> Iterable[Series]:
    """The series of a history; accepted baselines come from the folder where it is given."""
    raise NotImplementedError(url, baselines, hardware)
