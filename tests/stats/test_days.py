"""Days, not sessions, are what a baseline counts; outlying windows count as far as noise goes."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean, variance

import pytest

from pytest_energy.gate.gates import SequentialGate
from pytest_energy.gate.sentences import gap_warning
from pytest_energy.stats.noise import SessionStats, limited, pool, spread

LEVELS = (0.0, 0.004, -0.004, 0.002, -0.002, 0.003, -0.003, 0.0)


def at(log_mean: float, day: int | None = None, device: str | None = None) -> SessionStats:
    return SessionStats(math.exp(log_mean), 0.003, 10, device=device, day=day)


def ended(stored: list[SessionStats], value: float) -> SequentialGate:
    gate = SequentialGate(stored)
    while gate.verdict is None:
        gate.add(value)
    return gate


def test_sessions_of_one_day_say_as_little_of_days_as_one() -> None:
    one, eight = spread([at(0.0, 3)]), spread([at(level, 3) for level in LEVELS])
    assert (eight.days, eight.sessions, eight.assumed) == (1, 8, True)
    assert eight.tau2 == one.tau2 == pytest.approx(0.01**2)
    assert eight.between == pytest.approx(one.between, rel=0.01)
    assert spread([at(level) for level in LEVELS]).between < 0.2 * eight.between


def test_on_the_day_of_the_baseline_its_sessions_are_what_counts() -> None:
    today = spread([at(level, 0) for level in LEVELS])
    days = spread([at(level) for level in LEVELS])
    assert today.between == pytest.approx(days.between)
    assert (today.days, today.sessions) == (1, 8)
    # One session of today says less than eight days do.
    mixed = [at(level, 1 + index) for index, level in enumerate(LEVELS)]
    assert spread([*mixed, at(0.02, 0)]).days == 9


def test_each_day_has_one_voice() -> None:
    levels = {1: (0.0, 0.01, -0.01, 0.0), 2: (0.1,), 3: (0.2, 0.2)}
    found = spread([at(level, day) for day, row in levels.items() for level in row])
    means = [fmean(row) for row in levels.values()]
    assert (found.days, found.degrees) == (3, 4)
    assert found.centre == pytest.approx(fmean(means), abs=1e-4)
    assert found.tau2 == pytest.approx((2 * variance(means) + 2 * 1e-4) / 4, rel=0.02)


def test_other_entries_say_how_sessions_of_a_day_differ() -> None:
    entry = [at(level, 0) for level in LEVELS]
    known = pool([entry, [at(0.0), at(0.1)]])
    assert known is not None
    assert known.degrees == 1
    assert known.same_day[1] == 7
    assert spread([at(0.0, 0)], pooled=known).between < 0.2 * spread([at(0.0, 0)]).between


def test_what_one_day_leaves_open_is_said_with_what_helps() -> None:
    found = ended([at(level, 1) for level in LEVELS], 1.05).verdict
    assert found is not None
    assert found.outcome == "inconclusive"
    assert (
        "8 sessions of one day cannot say how days differ, which is taken to be 1 %" in found.reason
    )
    assert "record 4 more on other days with `--energy-update=append`" in found.reason
    warning = gap_warning([at(level, 1) for level in LEVELS], 0.02, 0.05)
    assert warning is not None
    assert "of one day" in warning
    two = ended([at(level, 1 + index % 2) for index, level in enumerate(LEVELS)], 1.05).verdict
    assert two is not None
    assert "8 sessions of 2 days cannot say" in two.reason
    same = ended([at(level, 0) for level in LEVELS], 1.06).verdict
    assert same is not None
    assert same.outcome == "regression"


def test_windows_far_out_count_as_four_standard_deviations() -> None:
    known = spread([at(0.0)] * 8)
    sd = math.sqrt(known.sw2)
    logs = [0.0, 0.5 * sd, -0.5 * sd, 1.0, -1.0]
    assert limited(logs, known) == [0.0, 0.5 * sd, -0.5 * sd, 4 * sd, -4 * sd]
    assert limited(logs, replace(known, within_degrees=0.0)) == logs
