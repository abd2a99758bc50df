"""The fit of wall watts to device watts: figures, intervals, refusals, how it is kept."""

from __future__ import annotations

import platform
import random
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_energy import baselines as baseline
from pytest_energy.baselines import Header
from pytest_energy.baselines import writing as recording
from pytest_energy.baselines.reading import parse
from pytest_energy.baselines.tables import (
    Calibration,
    StoredCalibration,
    device_key,
    fit,
    require_plausible,
)
from pytest_energy.errors import BaselineError, EnergyError
from pytest_energy.metering.hardware import Hardware
from pytest_energy.meters.protocol import Device

EXACT = [(70.0, 212.5), (200.0, 355.5), (400.0, 575.5), (700.0, 905.5)]  # 135.5 + 1.1 x


def _noisy(chance: random.Random, count: int = 12) -> list[tuple[float, float]]:
    loads = [70.0 + 150 * (number % 5) for number in range(count)]
    return [(watts, 135.5 + 1.1 * watts + chance.gauss(0, 4)) for watts in loads]


def test_a_line_is_found_exactly() -> None:
    fitted = fit(EXACT)

    assert fitted.offset_watts == pytest.approx(135.5)
    assert fitted.slope == pytest.approx(1.1)
    assert fitted.r_squared == pytest.approx(1.0)
    assert fitted.count == 4
    assert fitted.residuals == pytest.approx((0, 0, 0, 0), abs=1e-9)


def test_figures_and_intervals_are_those_of_the_textbook() -> None:
    stats = pytest.importorskip("scipy.stats")
    pairs = _noisy(random.Random(3))

    fitted = fit(pairs)

    other = stats.linregress(*zip(*pairs, strict=True))
    t = stats.t.ppf(0.975, len(pairs) - 2)
    assert fitted.slope == pytest.approx(other.slope)
    assert fitted.offset_watts == pytest.approx(other.intercept)
    assert fitted.r_squared == pytest.approx(other.rvalue**2)
    half, wide = t * other.stderr, t * other.intercept_stderr
    assert fitted.slope_interval == pytest.approx((other.slope - half, other.slope + half))
    assert fitted.offset_interval == pytest.approx((other.intercept - wide, other.intercept + wide))


def test_intervals_hold_the_truth_19_times_in_20() -> None:
    chance = random.Random(11)
    runs = [fit(_noisy(chance)) for _ in range(2000)]

    slopes = sum(low <= 1.1 <= high for low, high in (run.slope_interval for run in runs))
    offsets = sum(low <= 135.5 <= high for low, high in (run.offset_interval for run in runs))

    assert 0.93 < slopes / 2000 < 0.97
    assert 0.93 < offsets / 2000 < 0.97


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (EXACT[:2], r"2 pairs make no calibration; measure at least 3"),
        ([(100.0, 1.0), (100.0, 2.0), (100.0, 3.0)], r"no spread \(100 to 100 W\)"),
        ([(100.0, 1.0), (101.0, 2.0), (104.0, 3.0)], r"no spread"),
        ([(0.0, 1.0), (0.0, 2.0), (0.0, 3.0)], r"no spread"),
        ([*EXACT, (float("nan"), 1.0)], r"no number of watts"),
        ([*EXACT, (1.0, float("inf"))], r"no number of watts"),
        ([*EXACT, (-1.0, 1.0)], r"no number of watts"),
    ],
)
def test_pairs_that_fix_no_line_are_refused(pairs: list[tuple[float, float]], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        fit(pairs)


def test_a_wall_that_does_not_move_explains_nothing() -> None:
    fitted = fit([(70.0, 200.0), (300.0, 200.0), (700.0, 200.0)])

    assert fitted.slope == 0
    assert fitted.r_squared == 0


def test_joules_at_the_wall() -> None:
    assert fit(EXACT).wall_joules(1000.0, 10.0) == pytest.approx(1355 + 1100)


STORED = StoredCalibration(
    replace(fit(_noisy(random.Random(5))), residuals=()), "2026-11-24T10:12:03+00:00", "plug.csv"
)
HEADER = Header("h200", ("NVIDIA H200*",), 250_000)


def _read(text: str) -> baseline.Baseline:
    return parse(text, Path("h200.toml"))


def test_a_calibration_is_kept_by_device() -> None:
    text = recording.calibrated(None, HEADER, "GPU-5f", STORED)

    stored = _read(text)

    assert stored.key == "h200"
    kept = stored.calibrations["GPU-5f"]
    assert (kept.date, kept.wall) == (STORED.date, STORED.wall)
    _same(kept.fit, STORED.fit)


def test_a_calibration_is_written_as_a_person_would() -> None:
    fitted = Calibration(135.5, 1.1, (130.0, 141.0), (1.05, 1.15), 0.99, 12)
    text = recording.calibrated(None, HEADER, "GPU-5f", replace(STORED, fit=fitted))

    assert recording.calibrated("", HEADER, "GPU-5f", replace(STORED, fit=fitted)) == text
    assert text.startswith("schema = 1\n\n[hardware]\n")
    assert "\n\n[calibration.GPU-5f]\n" in text
    assert "\ndate = 2026-11-24T10:12:03Z\n" in text


def test_a_cpu_goes_by_its_host_since_all_have_the_same_name() -> None:
    gpu = Hardware("h200", (Device("gpu:0", "NVIDIA H200", "GPU-5f"),), {})
    cpu = Hardware("cpu", (Device("cpu", "a CPU", "cpu"), Device("dram", "memory", "dram")), {})
    nameless = Hardware("h200", (Device("gpu:0", "NVIDIA H200", ""),), {})

    assert device_key(gpu) == "GPU-5f"
    assert device_key(cpu) == f"cpu+dram@{platform.node()}"
    assert device_key(nameless) is None


def _same(one: Calibration, other: Calibration) -> None:
    assert one.count == other.count
    assert one.residuals == ()
    assert one.slope == pytest.approx(other.slope, rel=1e-5)
    assert one.offset_watts == pytest.approx(other.offset_watts, rel=1e-5)
    assert one.slope_interval == pytest.approx(other.slope_interval, rel=1e-5)
    assert one.offset_interval == pytest.approx(other.offset_interval, rel=1e-5)
    assert one.r_squared == pytest.approx(other.r_squared, rel=1e-5)


def test_calibrating_again_keeps_comments_order_and_other_devices() -> None:
    first = recording.calibrated(None, HEADER, "GPU-a", STORED)
    both = recording.calibrated(first, HEADER, "GPU-b+GPU-c", STORED)
    edited = "# ours\n" + both.replace('wall = "plug.csv"', 'wall = "plug.csv"   # rack 7', 1)
    newer = replace(STORED, wall="10.0.0.7", fit=replace(STORED.fit, count=20))

    text = recording.calibrated(edited, HEADER, "GPU-b+GPU-c", newer)

    assert text.startswith("# ours\n")
    assert 'wall = "plug.csv"   # rack 7' in text
    stored = _read(text).calibrations
    assert list(stored) == ["GPU-a", "GPU-b+GPU-c"]
    assert stored["GPU-a"].fit.count == 12
    assert (stored["GPU-b+GPU-c"].fit.count, stored["GPU-b+GPU-c"].wall) == (20, "10.0.0.7")
    assert text.splitlines()[:-11] == edited.splitlines()[:-11]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pairs = 12\n", "", r'`calibration."GPU-5f"` .* has no `pairs`'),
        (
            "offset_watts = 1",
            "offset_watts = 1e308 #",
            r"offset_watts` in .* is 1e.308, but must be what",
        ),
        (
            "offset_watts_high = 1",
            "offset_watts_high = inf #",
            r"offset_watts_high` in .* is inf, but must be what a machine can have",
        ),
        ("slope_low = 1", "slope_low = 7", r"has its `slope` outside `slope_low` to `slope_high`"),
        ("r_squared", "r_sqared", r'`calibration."GPU-5f".r_sqared` .* is not known'),
        ("pairs = 12", "pairs = 'many'", r"pairs` .* is 'many', not a whole number"),
    ],
)
def test_a_calibration_that_is_wrong_is_named(old: str, new: str, message: str) -> None:
    text = recording.calibrated(None, HEADER, "GPU-5f", STORED)
    assert old in text

    with pytest.raises(BaselineError, match=message):
        _read(text.replace(old, new))


def test_a_slope_that_is_none_is_refused() -> None:
    flat = replace(STORED.fit, slope=0.0, slope_interval=(-1.0, 1.0))
    text = recording.calibrated(None, HEADER, "GPU-5f", replace(STORED, fit=flat))

    with pytest.raises(BaselineError, match=r"slope` in .* is 0.0, but must be above 0"):
        _read(text)


def test_a_fit_of_a_machine_is_plausible() -> None:
    require_plausible(fit(EXACT))
    for seed in range(50):
        require_plausible(fit(_noisy(random.Random(seed))))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(x, 135.5 + 0.8 * x) for x, _ in EXACT], "rise by 0.8 of device watts"),
        ([(x, 135.5 + 2.1 * x) for x, _ in EXACT], "rise by 2.1 of device watts"),
        ([(x, 1.2 * x - 20) for x, _ in EXACT], "would give -20 W"),
        ([(70.0, 200.0), (300.0, 200.0), (700.0, 200.0)], "do not surely rise"),
    ],
)
def test_a_fit_that_no_machine_has_is_refused(
    pairs: list[tuple[float, float]], message: str
) -> None:
    with pytest.raises(EnergyError, match=rf"not stored: .*{message}.*; see that "):
        require_plausible(fit(pairs))
