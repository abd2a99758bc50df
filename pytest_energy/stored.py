"""Stored sessions as the gate takes them."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_energy.baseline import Baseline, Entry
from pytest_energy.sessions import PairStats, Session, SessionStats
from pytest_energy.spread import Pooled, pool


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


def pooled_of(stored: Baseline, metric: str) -> Pooled | None:
    """What all entries of one metric say together of how sessions differ."""
    entries = [entry for entry in stored.entries.values() if entry.metric == metric]
    return pool([sessions_of(entry) for entry in entries if entry.sessions])
