"""Idle power before the first test, and figures net of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window
from pytest_energy.metering.device_session import idle_watts
from pytest_energy.meters.protocol import Conditions, Device, Measured, Reading
from pytest_energy.outcomes import Method
from pytest_energy.results import VerdictRecord
from pytest_energy.results.run_results import net_of_idle

SECONDS = 0.02


class _Span:
    def __init__(self, meter: _Meter, started: float) -> None:
        self.started = started
        self._meter = meter

    def end(self, ended: float) -> Measured:
        joules = self._meter.watts * (ended - self.started)
        return Measured({"gpu:0": joules}, self._meter.share * joules, self._meter.faults)


class _Meter:
    """A device of constant power; its windows may be off by `share` of their joules."""

    name = "constant"
    method: Method = "counter"
    update_period_seconds = resolution_joules = 0.0
    devices: tuple[Device, ...] = (Device("gpu:0", "NVIDIA H200", "GPU-0", 700.0),)

    def __init__(self, watts: float, share: float = 0.0, faults: tuple[str, ...] = ()) -> None:
        self.watts, self.share, self.faults = watts, share, faults

    def read(self) -> Reading:
        raise EnergyError("device lost: not to be read")

    def conditions(self) -> Conditions:
        return Conditions(self.faults)

    def begin(self) -> _Span:
        return _Span(self, time.monotonic())

    def close(self) -> None:
        pass


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_idle_power_is_that_of_a_stretch_without_work(share: float) -> None:
    assert idle_watts(_Meter(75.0, share), SECONDS) == pytest.approx(75.0)


def test_a_meter_that_shows_nothing_is_at_no_watts() -> None:
    assert idle_watts(_Meter(0.0), SECONDS) == 0.0


@pytest.mark.parametrize("watts", [0.0, 75.0])
def test_a_stretch_that_was_disturbed_says_why(watts: float) -> None:
    meter = _Meter(watts, faults=("foreign process: 4711 computes on gpu:0",))

    with pytest.raises(EnergyError, match=r"idle power is not known: foreign process: 4711"):
        idle_watts(meter, SECONDS)


def _verdict(unit: str = "J/token", value: float | None = 0.01) -> VerdictRecord:
    windows = tuple(
        Window("w", "counter", {"gpu:0": joules}, 2.0, 0.0, 0.0, tokens=100_000)
        for joules in (990.0, 1010.0)
    )
    return VerdictRecord("t.py::t", "a/b", "m", "within", "", unit, value, windows=windows)


def test_net_of_idle_takes_off_what_was_drawn_anyway() -> None:
    # 75 W of 500 W on average: 15 %.
    assert net_of_idle(_verdict(), 75.0).net_value == pytest.approx(0.0085)
    assert net_of_idle(_verdict("J", 1000.0), 75.0).net_value == pytest.approx(850.0)
    assert net_of_idle(_verdict("J/real token", 0.03), 75.0).net_value == pytest.approx(0.0255)
    assert net_of_idle(_verdict(), 75.0).value == 0.01


def test_idle_power_of_other_devices_is_not_taken_off() -> None:
    assert net_of_idle(_verdict(), 75.0, ["gpu:0"]).net_value == pytest.approx(0.0085)
    assert net_of_idle(_verdict(), 75.0, ["gpu:0", "gpu:1"]).net_value is None


def test_what_has_no_net_figure_has_none() -> None:
    assert net_of_idle(_verdict(), None).net_value is None
    assert net_of_idle(_verdict("fraction", 0.5), 75.0).net_value is None
    assert net_of_idle(_verdict(value=None), 75.0).net_value is None
    assert net_of_idle(VerdictRecord("t", "i", "m", "missing", "", "J", 1.0), 9.0).net_value is None


TEST = """
    from gated import Run
    from spending import spend

    def test_gated(energy_gate):
        energy_gate.check("joules_per_token", Run("mine/model"))

    def test_mine(energy):
        with energy.window("train"):
            spend(120.0)
"""


@pytest.fixture
def drawing(pytester: pytest.Pytester, spending: Path) -> Path:
    """The meter that tests drive, drawing 40 W all the time as well."""
    path = spending / "spending.py"
    idle = "joules + 40 * time.monotonic()"
    text = path.read_text().replace("time.monotonic(), joules\n", f"time.monotonic(), {idle}\n")
    text = text.replace('{"gpu:0": joules - self._before}', f'{{"gpu:0": {idle} - self._before}}')
    assert text.count(idle) == 2
    path.write_text(text.replace('{"gpu:0": joules}', f'{{"gpu:0": {idle}}}'))
    pytester.makeini("[pytest]\nenergy_meter = spending\nenergy_idle_seconds = 0.3\n")
    pytester.makepyfile(test_mine=TEST)
    return path


def _run(pytester: pytest.Pytester, *arguments: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    # Workers of xdist inherit nothing but the environment.
    run = pytester.runpytest_subprocess if "-n" in arguments else pytester.runpytest
    result = run("--energy-json=run.json", *arguments)
    return result, json.loads((pytester.path / "run.json").read_text())


def test_gross_joules_are_gated_and_net_ones_are_shown_beside(
    pytester: pytest.Pytester, drawing: Path
) -> None:
    result, document = _run(pytester, "-v")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*mine/model: recorded.*(net of idle *mJ/token)"])
    result.stdout.fnmatch_lines(["idle before the first test: ??.?? W"])
    watts = document["run"]["idle_watts"]
    assert watts == pytest.approx(40, rel=0.1)
    # The stretch itself is part of what the run cost.
    assert document["run"]["joules"] > 120 + 0.3 * 40
    for verdict in document["verdicts"]:
        windows = verdict["windows"]
        gross = sum(window["joules"] for window in windows)
        idle = watts * sum(window["seconds"] for window in windows)
        assert verdict["net_value"] == pytest.approx(verdict["value"] * (1 - idle / gross))
        assert 0 < verdict["net_value"] < verdict["value"]


def test_without_v_the_table_stays_as_it_is(pytester: pytest.Pytester, drawing: Path) -> None:
    result, _ = _run(pytester)

    result.stdout.no_fnmatch_line("*idle*")


def test_idle_power_comes_home_under_xdist(pytester: pytest.Pytester, drawing: Path) -> None:
    result, document = _run(pytester, "-n", "1")

    result.assert_outcomes(passed=2)
    assert document["run"]["idle_watts"] == pytest.approx(40, rel=0.1)
    assert all(verdict["net_value"] is not None for verdict in document["verdicts"])


@pytest.mark.parametrize("how", ["not asked for", "modelled"])
def test_no_idle_power_where_it_is_not_measured(
    pytester: pytest.Pytester, drawing: Path, how: str
) -> None:
    if how == "modelled":
        drawing.write_text(drawing.read_text().replace('"counter"', '"modelled"'))
    option = ["--energy-idle-seconds=0"] if how == "not asked for" else []

    result, document = _run(pytester, "-v", *option)

    assert document["run"]["idle_watts"] is None
    assert all(verdict["net_value"] is None for verdict in document["verdicts"])
    result.stdout.no_fnmatch_line("*idle*test:*")


def test_a_disturbed_device_is_said_and_nothing_is_taken_off(
    pytester: pytest.Pytester, drawing: Path
) -> None:
    pytester.makepyfile(
        test_mine="""
        import spending

        def test_mine(energy):
            spending.faults.clear()
            with energy.window("train"):
                spending.spend(120.0)
        """
    )
    text = drawing.read_text()
    drawing.write_text(text.replace("faults = []", "faults = ['foreign process: 4711']"))

    result, document = _run(pytester)

    result.stdout.fnmatch_lines(["idle power is not known: foreign process: 4711"])
    assert document["run"]["idle_watts"] is None
    assert document["verdicts"][0]["net_value"] is None


CALIBRATION = """
schema = 1

[hardware]
key = "h200"
match = ["NVIDIA H200*"]

[calibration."GPU-0000-test"]
offset_watts = 0.0
offset_watts_low = -1.0
offset_watts_high = 1.0
slope = 1.5
slope_low = 1.4
slope_high = 1.6
r_squared = 0.99
pairs = 12
date = 2026-11-24T10:12:03Z
wall = "plug.csv"
"""


@pytest.mark.parametrize("arguments", [[], ["-n", "2"]])
def test_a_calibrated_device_shows_joules_at_the_wall(
    pytester: pytest.Pytester, spending: Path, arguments: list[str]
) -> None:
    folder = pytester.mkdir("baselines")
    (folder / "h200.toml").write_text(CALIBRATION)
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        @pytest.mark.parametrize("n", range(4))
        def test_mine(energy, n):
            with energy.window("train"):
                spend(100.0)
        """
    )

    result, document = _run(pytester, *arguments)

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["this run cost 400 J,*", "at the wall about 600 J"])
    assert document["run"]["wall_joules"] == pytest.approx(600)


def test_another_device_is_not_calibrated(pytester: pytest.Pytester, spending: Path) -> None:
    folder = pytester.mkdir("baselines")
    (folder / "h200.toml").write_text(CALIBRATION.replace("GPU-0000-test", "GPU-1"))
    pytester.makepyfile("def test_mine(energy):\n    with energy.window(): pass\n")

    result, document = _run(pytester)

    result.stdout.no_fnmatch_line("*at the wall*")
    assert document["run"]["wall_joules"] is None
