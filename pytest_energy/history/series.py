"""What a history says of one figure over time: the few numbers that drift needs of each session."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean
from sys import intern

from pytest_energy.baselines import Baseline, Entry, baseline_path
from pytest_energy.baselines.reading import read
from pytest_energy.checks.policy import stored_levels
from pytest_energy.clocks import real_time
from pytest_energy.history import Point, Series
from pytest_energy.history.measurement import (
    Measurement,
    environment_of,
    in_utc,
    is_to_come,
    out_of_place,
)
from pytest_energy.history.sessions import Warn, read_measurements
from pytest_energy.history.store import open_store
from pytest_energy.text import one_line

PADDING_VARIES = 1e-3
"""Relative spread of padding overheads from which J/real token is a series of its own."""


@dataclass
class _Gathered:
    """What came in of one figure: the newest measurement, the session that came in last, points."""

    latest: Measurement
    session: str = ""
    points: list[Point] = field(default_factory=list)


def collect(measurements: Iterable[Measurement], warn: Warn) -> list[Series]:
    """The series of all measurements, oldest session first; of each figure the newest work alone.

    A card that begins after another has ended continues its series, so that a change of cards is
    seen. Cards that are in use at the same time have a series each. Sessions that are dated far
    from the others are left out, and `warn` is told.
    """
    dates: defaultdict[str, dict[str, str]] = defaultdict(dict)
    gathered: dict[tuple[object, ...], _Gathered] = {}
    for one in measurements:
        key = (one.hardware, one.metric, one.id, one.workload, one.tokens)
        entry = gathered.setdefault(key, _Gathered(one))
        if entry.session == one.session:
            continue  # a session counts once, however many of its tests measured the same
        entry.session = dates[one.hardware][one.date] = one.session
        entry.points.append(_point(one))
        if one.date >= entry.latest.date:
            entry.latest = one
    left_out = {key: out_of_place(key, seen, warn) for key, seen in dates.items()}
    found: list[Series] = []
    for entry in _newest_work(gathered.values()):
        others = left_out[entry.latest.hardware]
        points = [point for point in entry.points if point.date not in others]
        for chain in _chains(points):
            found += _series(entry.latest, chain)
    return sorted(found, key=lambda one: (one.hardware, one.id, one.metric, one.device or ""))


def _point(measurement: Measurement) -> Point:
    # Texts and environments repeat in every session: one object does for all that are equal.
    return Point(
        date=measurement.date,
        value=measurement.value,
        commit=measurement.commit and intern(measurement.commit),
        device=measurement.device and intern(measurement.device),
        mean_watts=measurement.mean_watts,
        tokens_per_second=measurement.tokens_per_second,
        padding_overhead=measurement.padding_overhead,
        environment=environment_of(measurement.environment),
    )


def _newest_work(entries: Iterable[_Gathered]) -> list[_Gathered]:
    """Figures of other batches, models or data cannot be compared: the newest work counts."""
    newest: dict[tuple[str, str, str], _Gathered] = {}
    for entry in sorted(entries, key=lambda entry: entry.latest.date, reverse=True):
        latest = entry.latest
        newest.setdefault((latest.hardware, latest.metric, latest.id), entry)
    return list(newest.values())


def _chains(points: list[Point]) -> list[list[Point]]:
    """The points of each card, joined where one card took another's place."""
    by_device = sorted(points, key=lambda point: (point.device or "", point.date))
    cards = [list(card) for _, card in groupby(by_device, key=lambda point: point.device or "")]
    chains: list[list[Point]] = []
    for card in sorted(cards, key=lambda card: card[0].date):
        ended = [chain for chain in chains if chain[-1].date < card[0].date]
        if ended:
            max(ended, key=lambda chain: chain[-1].date).extend(card)
        else:
            chains.append(card)
    return chains


def _series(latest: Measurement, points: list[Point]) -> list[Series]:
    """The series, and J/real token beside J/token if padding is not always the same."""
    shared = ("hardware", "metric", "id", "unit", "workload", "baseline", "tolerance", "method")
    one = Series(**{name: getattr(latest, name) for name in shared}, points=tuple(points))
    paddings = [point.padding_overhead for point in points if point.padding_overhead]
    known = latest.metric == "joules_per_token" and len(paddings) == len(points)
    if not known or max(paddings) / min(paddings) - 1 <= PADDING_VARIES:
        return [one]
    real = tuple(replace(p, value=p.value * (p.padding_overhead or 1.0)) for p in points)
    other = replace(
        one, metric="joules_per_real_token", unit="J/real token", points=real, baseline=None
    )
    return [one, other]


def with_baselines(series: Iterable[Series], folder: Path, warn: Warn) -> Iterator[Series]:
    """The series with their accepted baselines, and without the sessions before those."""
    files: dict[str, Baseline | None] = {}
    for one in series:
        if one.hardware not in files:
            path = baseline_path(folder, one.hardware)
            files[one.hardware] = read(path) if path.exists() else None
        stored = files[one.hardware]
        real = one.metric == "joules_per_real_token"
        name = "joules_per_token" if real else one.metric
        entry = stored.entries.get((name, one.id)) if stored else None
        same_work = entry and entry.sessions and one.workload in (None, entry.workload)
        if stored is None or entry is None or not same_work:
            yield one
            continue
        stated = stored.acknowledgement(name, one.id)
        holds = stated is not None and stated.holds_on(real_time.utc().date())
        accepted = _accepted(one, entry, real=real, warn=warn)
        yield replace(accepted, acknowledged=stated if holds else None)


def begun(series: Series, since: str) -> Series:
    """The series without its sessions before a date (ISO, UTC)."""
    points = tuple(point for point in series.points if point.date >= since)
    return replace(series, points=points, since=since)


def _accepted(series: Series, entry: Entry, *, real: bool, warn: Warn) -> Series:
    own = [row for row in entry.sessions if row.device and row.device == series.device]
    rows = own or list(entry.sessions)
    means = [row.mean * (row.padding_overhead or 1.0) if real else row.mean for row in rows]
    known = not real or all(row.padding_overhead for row in rows)
    since = min(in_utc(row.date) for row in entry.sessions)
    if is_to_come(since):
        warn(
            f"the baseline of `{one_line(series.id)}` for `{one_line(series.hardware)}` is dated "
            f"{since[:10]}, which is still to come: all sessions count; mend the dates in its file"
        )
    return replace(
        series if is_to_come(since) else begun(series, since),
        baseline=fmean(means) if known else None,
        baseline_sessions=len(rows),
        tolerance=stored_levels(entry).tolerance,
    )


def read_series(
    url: str,
    *,
    baselines: Path | None = None,
    hardware: str | None = None,
    since: str | None = None,
    branch: str | None = None,
    warn: Warn = lambda _: None,
) -> Iterator[Series]:
    """The series of a history at a URL or in a folder, whose baselines are in a folder.

    `hardware` and `branch` leave all others out, `since` (ISO) what is older; `warn` is told of
    files that are no records. Raises `EnergyError` for what cannot be opened.
    """
    measurements = read_measurements(open_store(url), warn, hardware)
    found = collect((one for one in measurements if branch in (None, one.branch)), warn)
    for one in with_baselines(found, baselines, warn) if baselines else found:
        kept = begun(one, max(since, one.since or "")) if since else one
        if kept.points:
            yield kept
