"""History: one immutable record a session, read back as series."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_energy.history.series import Series


def read_series(
    url: str,
    *,
    baselines: Path | None = None,
    hardware: str | None = None,
    since: str | None = None,
    branch: str | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Series]:
    """The series of a history at a URL or in a folder, whose baselines are in a folder.

    `hardware` and `branch` leave all others out, `since` (ISO) what is older; `warn` is told of
    files that are no records. Raises `EnergyError` for what cannot be opened.
    """
    from pytest_energy.history.accepted import begun, with_baselines
    from pytest_energy.history.grouping import collect
    from pytest_energy.history.reading import read_figures
    from pytest_energy.history.store import open_store

    figures = read_figures(open_store(url), warn or _quiet, hardware)
    found = collect(f for f in figures if branch is None or f.branch == branch)
    for one in with_baselines(found, baselines) if baselines else found:
        kept = begun(one, max(since, one.since or "")) if since else one
        if kept.points:
            yield kept


def _quiet(_text: str) -> None:
    """Say nothing."""
