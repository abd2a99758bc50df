"""Which sessions of a file are of one day, seen from the run that is judged."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from pytest_energy.baselines import Entry, StoredSession, day_count, session_stats


def entry(*dates: str) -> Entry:
    rows = [StoredSession(f"2026-11-{date}", 10, 0.005, 0.003) for date in dates]
    return Entry("joules_per_token", "a", tuple(rows))


def days(dates: list[str], now: str | None = None) -> list[int | None]:
    moment = datetime.fromisoformat(f"2026-11-{now}").astimezone(timezone.utc) if now else None
    return [session.day for session in session_stats(entry(*dates), moment)]


@pytest.mark.parametrize(
    ("dates", "now", "expected"),
    [
        (["02T09:00:00Z", "02T10:00:00Z"], None, [1, 1]),
        (["02T09:00:00Z", "03T09:00:00Z"], None, [2, 1]),
        (["03T09:00:00Z", "02T09:00:00Z"], None, [1, 2]),  # in any order
        (["02T23:50:00Z", "03T00:10:00Z"], None, [1, 1]),  # midnight is no new day
        (["02T09:00:00+00:00"], "02T20:59:00+00:00", [0]),
        (["02T09:00:00+00:00"], "02T21:00:00+00:00", [1]),
        (["01T09:00:00Z", "02T09:00:00Z"], "02T12:00:00+00:00", [1, 0]),
        (["02T09:00:00Z"], "02T08:59:00+00:00", [0]),  # clocks differ
    ],
)
def test_a_day_is_twelve_hours_from_its_first_session(
    dates: list[str], now: str | None, expected: list[int]
) -> None:
    dates = [date.replace("Z", "+00:00") for date in dates]
    assert days(dates, now) == expected


def test_days_are_counted_not_sessions() -> None:
    assert day_count(entry("02T09:00:00Z", "02T10:00:00Z", "04T10:00:00Z")) == 2
