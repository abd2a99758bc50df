"""Edits of a baseline file: what is asked for changes, and a person's own text stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_energy.baselines import Header, Recording, StoredSession
from pytest_energy.baselines.reading import parse
from pytest_energy.baselines.tables import Acknowledgement, Calibration, StoredCalibration
from pytest_energy.baselines.writing import (
    calibrated,
    dropped,
    updated,
    with_acknowledgement,
    with_sensor,
    without_acknowledgement,
)

HEADER = Header("h200", ("NVIDIA H200*",), 250_000)
STATED = Acknowledgement(
    "joules_per_token", "sst2/bert", 0.04, "2027-01-31", "a larger head", "Ada", "2026-11-26"
)
HEAD = """\
schema = 1

[hardware]
key = "h200"
match = ["NVIDIA H200*"]
tokens_per_window = 250000
"""
# The second figure has one session of another day, and no other figure names its environment.
FILE = f"""\
{HEAD}
[joules_per_token."sst2/bert"]  # measured twice
sessions = [
    {{date = 2026-11-24T10:12:03Z, windows = 10, mean = 0.005, cv = 0.003, environment = "a"}},
    {{date = 2026-11-25T10:12:03Z, windows = 10, mean = 0.005, cv = 0.003, environment = "a"}},
]

[savings.sst2]
sessions = [
    {{date = "2026-11-25T10:12:03Z", pairs = 10, mean = 0.5, sd = 0.003, environment = "b"}},
]

[environment.a]
torch = "2.11.0"

[environment.b]
torch = "2.13.0"
"""


def test_every_figure_of_a_session_is_kept_with_the_digits_that_count() -> None:
    session = StoredSession(
        "2026-11-24T10:12:03+00:00", 10, 0.0051234567, 0.00312345678,
        median=0.0051111111, mad=0.00122222222, begin_celsius=61.26, end_celsius=63.54,
        load_seconds=28.74, reference_joules=812.3456789, reference_version=2,
    )  # fmt: skip
    recording = Recording("joules_per_token", "sst2/bert", None, session, {}, 0.02, 0.05)

    assert updated(None, HEADER, [recording], "new") == (
        HEAD
        + """
[joules_per_token."sst2/bert"]
tolerance = 0.02
detect = 0.05
sessions = [
    {date = 2026-11-24T10:12:03Z, windows = 10, mean = 0.00512346, cv = 0.00312346, \
autocorrelation = 0.0, median = 0.00511111, mad = 0.00122222, begin_celsius = 61.3, \
end_celsius = 63.5, load_seconds = 28.7, reference_joules = 812.346, reference_version = 2},
]
"""
    )


ACKNOWLEDGED = """
[[acknowledged]]
metric = "joules_per_token"
id = "sst2/bert"
up_to = 0.04
until = 2027-01-31
reason = "a larger head"
by = "Ada"
date = 2026-11-26
"""


def test_what_is_acknowledged_is_one_table_a_figure() -> None:
    once = with_acknowledgement(FILE, STATED)
    savings = replace(STATED, metric="savings", id="sst2", by="", date="")
    both = with_acknowledgement(once, savings)
    again = with_acknowledgement(both, replace(STATED, up_to=0.06))

    assert once == FILE + ACKNOWLEDGED
    assert parse(both, Path("h200.toml")).acknowledged == (STATED, savings)
    assert parse(again, Path("h200.toml")).acknowledged == (savings, replace(STATED, up_to=0.06))


def test_what_is_not_acknowledged_any_more_leaves_nothing() -> None:
    other = replace(STATED, id="sst2/distilbert")
    both = with_acknowledgement(with_acknowledgement(FILE, STATED), other)

    one = without_acknowledgement(both, "joules_per_token", "sst2/bert")

    assert parse(one, Path("h200.toml")).acknowledged == (other,)
    assert without_acknowledgement(both, "savings", "sst2/bert") == both
    none = without_acknowledgement(one, "joules_per_token", "sst2/distilbert")
    assert none.strip() == FILE.strip()


def test_a_new_level_has_nothing_acknowledged() -> None:
    session = StoredSession("2026-11-26T10:12:03+00:00", 10, 0.006, 0.003)
    recording = Recording("joules_per_token", "sst2/bert", None, session, {}, 0.02, 0.05)
    stated = with_acknowledgement(FILE, STATED)

    assert "acknowledged" not in updated(stated, HEADER, [recording], "replace")
    assert ACKNOWLEDGED in updated(stated, HEADER, [recording], "append")


@pytest.mark.parametrize("date", ["2026-11-25", "2026-11-25T10:12:03", "2026-11-25T10:12:03Z"])
def test_sessions_of_a_date_are_dropped_with_what_only_they_named(date: str) -> None:
    left = dropped(FILE, date)

    stored = parse(left, Path("h200.toml"))
    assert list(stored.entries) == [("joules_per_token", "sst2/bert")]
    (session,) = stored.entries["joules_per_token", "sst2/bert"].sessions
    assert session.date.startswith("2026-11-24")
    assert list(stored.environments) == ["a"]
    assert "# measured twice" in left


def test_all_sessions_of_a_month_and_none_of_another() -> None:
    assert parse(dropped(FILE, "2026-11"), Path("h200.toml")).entries == {}
    assert dropped(FILE, "2026-12") == FILE


def test_what_a_card_does_replaces_what_was_found_before_but_a_note() -> None:
    date = "2026-11-26T10:12:03+00:00"
    first = with_sensor(None, HEADER, "GPU-5f", {"date": date, "period_seconds": 0.1})
    noted = first.replace("period_seconds = 0.1", 'period_seconds = 0.1\nnote = "in rack 3"')

    second = with_sensor(noted, HEADER, "GPU-5f", {"date": date, "lag_seconds": 0.02})

    assert first == (
        f"{HEAD}\n[sensor.GPU-5f]\ndate = 2026-11-26T10:12:03Z\nperiod_seconds = 0.1\n"
    )
    assert "period_seconds" not in second
    assert 'note = "in rack 3"\nlag_seconds = 0.02\n' in second
    assert second.count("2026-11-26T10:12:03Z") == 1


def test_a_figure_of_a_file_may_have_no_sessions_to_drop() -> None:
    none = f"{HEAD}\n[savings.sst2]\ntolerance = 0.01\n"
    assert dropped(none, "2026-11") == f"{HEAD}\n"


def test_a_calibration_keeps_what_it_does_not_say() -> None:
    fit = Calibration(12.0, 1.07, (10.0, 14.0), (1.05, 1.09), 0.99, 30)
    stored = StoredCalibration(fit, "2026-11-26T10:12:03+00:00", "plug")
    first = calibrated(HEAD, HEADER, "GPU-5f", stored)
    noted = f'{first}remark = "by the second plug"\n'

    assert noted.startswith(f"{HEAD}\n[calibration.GPU-5f]\noffset_watts = 12.0\n")
    steeper = replace(stored, fit=replace(fit, slope=1.08))
    again = calibrated(noted, HEADER, "GPU-5f", steeper)
    assert again == noted.replace("1.07", "1.08")
