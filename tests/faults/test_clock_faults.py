"""Clocks that are set between sessions, and sessions of one moment."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from planted import days, document
from pytest_energy.history import Series
from pytest_energy.history.record import make_record
from pytest_energy.history.series import read_series
from pytest_energy.history.store import LocalStore
from pytest_energy.results.origin import origin

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def kept(folder: Path, *moments: datetime) -> tuple[Series, list[str]]:
    """The series of sessions that ended at these moments, and what is warned of."""
    store, where = LocalStore(folder), origin(folder)
    for day, moment in zip(days(len(moments)), moments, strict=True):
        record = make_record(document(day), where, now=moment)
        store.create(record.name, record.text.encode())
    warnings: list[str] = []
    (one,) = read_series(str(folder), warn=warnings.append)
    return one, warnings


@pytest.mark.fault(
    "clocks",
    "two sessions end within the same millisecond",
    "both are kept, and both count",
)
def test_sessions_of_one_moment(tmp_path: Path) -> None:
    one, warnings = kept(tmp_path, NOON, NOON, NOON)

    assert (len(one.points), warnings) == (3, [])


@pytest.mark.fault(
    "clocks",
    "the clock is set back by a day between two sessions",
    "both count, in the order of their dates",
)
def test_a_clock_that_is_set_back_between_sessions(tmp_path: Path) -> None:
    one, warnings = kept(tmp_path, NOON, NOON - timedelta(days=1), NOON + timedelta(hours=1))

    dates = [point.date for point in one.points]
    assert dates == sorted(dates)
    assert (len(dates), warnings) == (3, [])


@pytest.mark.fault(
    "clocks",
    "a machine keeps its dates in a zone of +14 hours",
    "stored in UTC, named and sorted by it",
)
def test_a_zone_far_ahead(tmp_path: Path) -> None:
    ahead = timezone(timedelta(hours=14))
    one, warnings = kept(tmp_path, NOON, NOON.astimezone(ahead) + timedelta(seconds=1))

    assert [point.date[:19] for point in one.points] == [
        "2026-03-01T12:00:00",
        "2026-03-01T12:00:01",
    ]
    assert warnings == []
    dates = [json.loads(path.read_text())["date"] for path in tmp_path.rglob("*.json")]
    assert [date for date in dates if not date.endswith("+00:00")] == []


@pytest.mark.fault(
    "clocks",
    "a machine without a battery dates its session 1970, beside thirty of today",
    "that session alone is named and left out",
)
def test_a_machine_without_a_battery(tmp_path: Path) -> None:
    moments = [NOON + timedelta(days=number) for number in range(30)]
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    one, warnings = kept(tmp_path, *moments, epoch)

    assert len(one.points) == 30
    assert len(warnings) == 1
    assert "dated 1970-01-01" in warnings[0]
