"""What is stored of a figure, and its sessions as the gate takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_energy.baseline import Baseline, Entry
from pytest_energy.sessions import PairStats, Session, SessionStats
from pytest_energy.spread import Pooled, pool


@dataclass(frozen=True)
class Reference:
    """What a figure is gated against; `local` is this machine's own, kept in pytest's cache."""

    baseline: Baseline
    entry: Entry
    local: bool


def session_stats(entry: Entry) -> list[SessionStats]:
    """The sessions of a J/token entry."""
    return [
        SessionStats(row.mean, row.cv, row.windows, row.autocorrelation, row.device)
        for row in entry.sessions
    ]


def pair_stats(entry: Entry) -> list[PairStats]:
    """The sessions of a savings entry."""
    return [
        PairStats(row.mean, row.cv, row.windows, row.autocorrelation, row.device)
        for row in entry.sessions
    ]


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
