"""Series against the baselines that people accepted: since when, at which level, how exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from pytest_energy.baseline import Baseline, Entry, baseline_path, read
from pytest_energy.history.dates import in_utc
from pytest_energy.history.series import Series
from pytest_energy.policy import DEFAULT_LEVELS


def with_baselines(series: Iterable[Series], folder: Path) -> Iterator[Series]:
    """The series with their accepted baselines, and without the sessions before those."""
    files: dict[str, Baseline | None] = {}
    for one in series:
        if one.hardware not in files:
            path = baseline_path(folder, one.hardware)
            files[one.hardware] = read(path) if path.is_file() else None
        stored = files[one.hardware]
        real = one.metric == "joules_per_real_token"
        name = "joules_per_token" if real else one.metric
        entry = stored.entries.get((name, one.id)) if stored else None
        yield _accepted(one, entry, real=real) if entry and _same_work(one, entry) else one


def begun(series: Series, since: str) -> Series:
    """The series without its sessions before a date (ISO, UTC)."""
    points = tuple(point for point in series.points if point.date >= since)
    return replace(series, points=points, since=since)


def _same_work(series: Series, entry: Entry) -> bool:
    return bool(entry.sessions) and series.workload in (None, entry.workload)


def _accepted(series: Series, entry: Entry, *, real: bool) -> Series:
    own = [row for row in entry.sessions if row.device and row.device == series.device]
    rows = own or list(entry.sessions)
    means = [row.mean * (row.padding_overhead or 1.0) if real else row.mean for row in rows]
    known = not real or all(row.padding_overhead for row in rows)
    since = min(in_utc(row.date) for row in entry.sessions)
    return replace(
        begun(series, since),
        baseline=fmean(means) if known else None,
        baseline_sessions=len(rows),
        tolerance=entry.tolerance or DEFAULT_LEVELS[entry.metric].tolerance,
    )
