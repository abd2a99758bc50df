"""Drift of planted series: when, how much, since which commit and why; and what is only noise."""

from __future__ import annotations

import json
import math
import os
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from planted import ENVIRONMENT, START, changed, days, series
from pytest_energy.baselines.tables import Acknowledgement
from pytest_energy.history import ChangePoint, Point, Series
from pytest_energy.history.drift import FEWEST_SESSIONS, analyse, report
from pytest_energy.reports.drift import as_text
from pytest_energy.units import FRACTION


def _only(found: tuple[ChangePoint, ...]) -> ChangePoint:
    assert len(found) == 1
    return found[0]


def test_noise_alone_is_steady() -> None:
    found = analyse(series(days(200), baseline=0.005, tolerance=0.02))

    assert (found.state, found.change_points, found.stale) == ("steady", (), None)
    assert found.level == pytest.approx(0.005, rel=0.002)


def test_too_few_sessions_say_how_many_more() -> None:
    found = analyse(series(days(FEWEST_SESSIONS - 3)))

    assert (found.state, found.needed) == ("too few", 3)
    assert analyse(series(days(FEWEST_SESSIONS))).state == "steady"


def test_a_driver_that_costs_throughput() -> None:
    newer = {**ENVIRONMENT, "driver": "590.2"}
    found = analyse(series(changed(days(120), 70, 1.03, environment=newer)))

    change = _only(found.change_points)
    assert found.state == "drift"
    assert (change.index, change.kind, change.until) == (70, "step", None)
    assert (change.last_good, change.commit) == ("c69", "c70")
    assert change.date.startswith("2026-03-12")
    assert change.change == pytest.approx(0.03, abs=0.003)
    assert change.reason is not None
    assert "same power, -2.9 % tokens/s (throughput); driver 580.1 -> 590.2." in change.reason


def test_a_difference_right_beside_the_change_is_named_too() -> None:
    """Where noise dates a change by a session or two too early, its cause is not lost."""
    planted = changed(days(120), 70, 1.03)
    newer = {**ENVIRONMENT, "driver": "590.2"}
    planted = changed(planted, 72, 1.0, environment=newer)

    reason = _only(analyse(series(planted)).change_points).reason

    assert reason is not None
    assert "driver 580.1 -> 590.2" in reason


def test_a_raised_power_limit_shows_as_power() -> None:
    raised = {**ENVIRONMENT, "power_limit_watts": "800"}
    planted = changed(days(120), 70, 1.05, environment=raised, mean_watts=525.0)

    reason = _only(analyse(series(planted)).change_points).reason

    assert reason is not None
    assert "+5.0 % power, same throughput; power limit 700 W -> 800 W." in reason


def test_worse_padding_shows_in_joules_per_real_token() -> None:
    planted = changed(days(120), 70, 1.0, padding_overhead=3.3)
    points = series(planted).points
    real = tuple(replace(p, value=p.value * (p.padding_overhead or 1.0)) for p in points)
    figure = replace(series(planted), metric="joules_per_real_token", points=real)

    change = _only(analyse(replace(figure, unit="J/real token")).change_points)

    assert change.change == pytest.approx(0.10, abs=0.003)
    assert change.reason is not None
    assert "J/real token: same power, same throughput, +10.0 % padding" in change.reason


def test_another_card_is_named() -> None:
    planted = changed(days(120), 70, 1.03, device="GPU-b")

    reason = _only(analyse(series(planted)).change_points).reason

    assert reason is not None
    assert "device GPU-a -> GPU-b" in reason


def test_a_slow_ramp() -> None:
    planted = days(300)
    for day in range(100, 300):
        planted = changed(planted, day, 1 + 0.0002 * (day - 100), end=day + 1)

    change = _only(analyse(series(planted)).change_points)

    assert change.kind == "ramp"
    assert change.change == pytest.approx(0.04, abs=0.008)
    assert change.until is not None
    assert change.date < "2026-05-20" < "2026-10-01" < change.until


def test_what_came_back_is_told_but_is_no_drift() -> None:
    found = analyse(series(changed(days(200), 70, 1.03, end=110)))

    assert found.state == "returned"
    assert [change.index for change in found.change_points] == [70, 110]
    assert report([found.series]).exit_code == 0


def test_outliers_and_heavy_tails_are_no_drift() -> None:
    planted = days(200)
    for day in (30, 31, 80, 140):
        planted = changed(planted, day, 1.10, end=day + 1)

    assert analyse(series(planted, baseline=0.005, tolerance=0.02)).state == "steady"


def test_a_stale_baseline_alarms_without_any_change() -> None:
    """The level never moved while it was watched, but it is not the baseline's."""
    found = analyse(series(days(60), baseline=0.0049, tolerance=0.02, baseline_sessions=8))

    assert found.change_points == ()
    assert found.state == "drift"
    assert found.stale is not None
    assert found.stale.baseline == 0.0049
    assert found.stale.change == pytest.approx(0.02, abs=0.006)


@pytest.mark.parametrize(("noise", "baseline"), [(0.001, 0.00497), (0.02, 0.0049)])
def test_a_level_within_half_the_tolerance_or_the_noise_is_not_stale(
    noise: float, baseline: float
) -> None:
    planted = series(days(60, noise=noise), baseline=baseline, tolerance=0.02, baseline_sessions=8)

    assert analyse(planted).stale is None


def test_noise_hardly_ever_makes_a_baseline_stale() -> None:
    """Looks every tenth night of a year, with noise of half the tolerance's half."""
    alarmed = 0
    for seed in range(60):
        planted = series(days(365, seed=seed, noise=0.01), tolerance=0.02, baseline_sessions=8)
        mean = sum(point.value for point in planted.points[:8]) / 8
        looks = [replace(planted, points=planted.points[:n], baseline=mean) for n in (30, 90, 200)]
        alarmed += any(analyse(look).stale is not None for look in looks)

    assert alarmed <= 3


def test_savings_change_in_points() -> None:
    rng = random.Random(1)
    saved = [0.50 - 0.02 * (day >= 60) + rng.gauss(0, 0.002) for day in range(90)]
    points = tuple(Point(f"2026-01-01T00:00:{day:02}", value) for day, value in enumerate(saved))

    found = analyse(Series("h200", "savings", "sst2", FRACTION, points))

    change = _only(found.change_points)
    assert change.index == 60
    assert change.change == pytest.approx(-0.02, abs=0.002)
    assert found.level == pytest.approx(0.48, abs=0.002)
    assert change.reason is None


def test_exit_codes_of_a_report() -> None:
    steady, short = series(days(60)), series(days(5))
    moved = series(changed(days(60), 40, 1.05))

    assert report([steady, short]).exit_code == 0
    assert report([steady, moved, short]).exit_code == 1
    assert report([short]).exit_code == 2
    assert report([]).exit_code == 2


def test_a_series_that_scatters_twice_as_much_is_restless_since_then() -> None:
    quiet, loud = days(120, noise=0.003), days(80, seed=2, noise=0.009)
    found = analyse(series([*quiet, *loud]))

    assert found.state == "restless"
    assert found.restless is not None
    assert "2026-04-2" <= found.restless.date <= "2026-05-06"
    assert found.restless.ratio == pytest.approx(3, abs=0.8)
    told = report([found.series])
    assert told.exit_code == 1
    text = as_text(told)
    assert " times as restless since 2026-0" in text
    assert "no drift in 1 series, but 1 more restless" in text


def test_a_change_that_is_dated_anew_says_when_and_as_what_it_was_reported() -> None:
    for seed in range(30):
        planted = series(changed(days(140, seed=seed), 70, 1.006))
        moved = [one for one in analyse(planted).change_points if one.has_moved]
        if moved:
            break
    (change,) = moved
    assert change.reported is not None
    assert change.reported_as is not None
    night = [point.date for point in planted.points].index(change.reported)
    then = analyse(replace(planted, points=planted.points[: night + 1]))
    assert [one.date for one in then.change_points] == [change.reported_as]
    text = as_text(report([planted]))
    assert (
        f"Moved: with the session of {change.reported[:10]} it was first reported, as of "
        f"{change.reported_as[:10]}." in text
    )


REAL = Path(os.environ.get("PYTEST_ENERGY_REAL_DATA") or "nowhere")
takes_real_series = pytest.mark.skipif(
    not REAL.is_dir(),
    reason="takes real series, which are not in the project: `PYTEST_ENERGY_REAL_DATA` names them",
)


@takes_real_series
def test_a_series_with_a_trend_is_told_as_well_as_by_the_best_peer() -> None:
    """F1 of the places of changes, within five; the first value counts as known (TCPD)."""
    stored = json.loads((REAL / "tigerbeetle.json").read_text())
    points = tuple(
        Point((START + timedelta(days=day)).isoformat(), value)
        for day, value in enumerate(stored["values"])
    )
    ours = {one.index for one in analyse(Series("h", "m", "i", "J/token", points)).change_points}

    def f1(found: set[int]) -> float:
        known, told = {0, *stored["known"]}, {0, *found}
        hit = {each for each in known if any(abs(each - one) <= 5 for one in told)}
        right = {one for one in told if any(abs(each - one) <= 5 for each in known)}
        precision = min(len(hit), len(right)) / len(told)
        return 2 / (1 / precision + len(known) / len(hit))

    assert f1(ours) >= f1(set(stored["otava"]))


@takes_real_series
def test_the_change_of_job_in_real_runs_is_found_and_nothing_else() -> None:
    sets = json.loads((REAL / "mlperf_training_windows.json").read_text())["sets"]
    for name, runs in sets.items():
        runs = sorted(runs, key=lambda run: run["start_ms"])
        points = tuple(
            Point(
                (START + timedelta(days=day)).isoformat(),
                math.exp(sum(map(math.log, run["joules"])) / len(run["joules"])),
                device=run["job"],
            )
            for day, run in enumerate(runs)
        )
        found = analyse(Series("h200", "joules_per_token", name, "J/token", points))
        places = [one.index for one in found.change_points]
        jobs = [run["job"] for run in runs]
        assert places == ([jobs.index("5028")] if name.endswith("unet3d") else [])
        assert found.restless is None


@pytest.mark.parametrize(
    ("baseline", "up_to", "state"),
    [
        (0.0049, 0.03, "acknowledged"),
        (0.0049, 0.01, "drift"),
        (0.0051, 0.03, "drift"),  # better: nobody has acknowledged that
    ],
)
def test_what_is_acknowledged_alarms_only_beyond_it(
    baseline: float, up_to: float, state: str
) -> None:
    stated = Acknowledgement("joules_per_token", "sst2/bert", up_to, "2999-01-01", "why")
    planted = series(days(60), baseline=baseline, tolerance=0.02, baseline_sessions=8)

    found = analyse(replace(planted, acknowledged=stated))

    assert found.state == state
    assert found.stale is not None
    assert report([replace(planted, acknowledged=stated)]).exit_code == (state == "drift")
