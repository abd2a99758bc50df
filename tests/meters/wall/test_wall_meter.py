"""The wall meter: windows on a log that is being written, and what makes them invalid."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_energy import window
from pytest_energy.clocks import real_time
from pytest_energy.errors import DataError, EnergyError, MeterUnavailableError
from pytest_energy.meters import Meter
from pytest_energy.meters.wall import WallMeter, open_wall
from pytest_energy.meters.wall.forms import Figure
from pytest_energy.meters.wall.trace import WallReading, WallTrace
from wall_support import PERIOD, logging_watts

pytestmark = pytest.mark.realtime


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a logger writes."""
    return tmp_path / "plug.csv"


@pytest.fixture
def meter(log: Path) -> Iterator[WallMeter]:
    """A wall meter on a log of 250 W that is being written."""
    with logging_watts(log, lambda: 250.0):
        meter = open_wall(str(log))
        yield meter
        meter.close()


def test_it_is_a_meter_like_others(meter: WallMeter) -> None:
    assert isinstance(meter, Meter)
    assert (meter.name, meter.method) == ("wall", "external")
    assert [device.domain for device in meter.devices] == ["wall"]
    assert meter.update_period_seconds == pytest.approx(PERIOD, rel=0.5)
    assert meter.resolution_joules == pytest.approx(0.001 * meter.update_period_seconds)
    assert meter.conditions().faults == ()


def test_a_window_on_a_log(meter: WallMeter) -> None:
    with window(meter, "work") as w:
        time.sleep(0.2)

    assert w.valid, w.invalid_reason
    assert w.joules == pytest.approx(250 * w.seconds, abs=1.0)
    assert w.seconds >= 0.2
    assert w.uncertainty_joules < 0.01 * w.joules


def test_cumulative_joules_are_those_up_to_the_last_reading(meter: WallMeter) -> None:
    first = meter.read()
    time.sleep(0.2)
    second = meter.read()

    assert second.seconds - first.seconds > 0.1
    watts = (second.joules["wall"] - first.joules["wall"]) / (second.seconds - first.seconds)
    assert watts == pytest.approx(250, rel=0.01)


def test_a_stretch_of_the_past(log: Path) -> None:
    log.write_text("timestamp,watts\n100,10\n110,20\n120,30\n130,30\n")
    meter = open_wall(str(log))

    found = meter.joules_between(105, 125)
    meter.close()

    assert found.joules == 5 * 10 + 10 * 20 + 5 * 30


@pytest.mark.fault(
    "wall meters",
    "a log ends within a window",
    "`wall reading missing`",
)
def test_a_log_that_ends_in_a_window_gives_no_figure(log: Path) -> None:
    with logging_watts(log, lambda: 250.0) as stop:
        meter = open_wall(str(log))
        with window(meter, "work") as w:
            stop.set()
            time.sleep(0.1)
        meter.close()

    assert w.invalid_reason is not None
    assert w.invalid_reason.startswith("wall reading missing: `plug.csv`: its readings end ")
    with pytest.raises(EnergyError, match="wall reading missing"):
        _ = w.joules


def test_a_line_that_is_malformed_makes_its_window_invalid(meter: WallMeter, log: Path) -> None:
    with window(meter, "work") as w:
        with log.open("a") as file:
            file.write("now,250\n")
        time.sleep(0.1)

    assert w.invalid_reason is not None
    assert "`now` is no date and time" in w.invalid_reason
    assert f"`{log}` line " in w.invalid_reason


def test_a_log_that_is_no_longer_written(log: Path) -> None:
    log.write_text("timestamp,watts\n100,10\n110,20\n120,30\n")
    meter = open_wall(str(log))
    faults = meter.conditions().faults
    meter.close()

    assert faults[0].startswith("wall reading missing: `plug.csv`: its last reading is ")


def test_a_log_without_readings_is_no_meter(log: Path) -> None:
    log.write_text("timestamp,watts\n")

    with pytest.raises(MeterUnavailableError, match=r"`plug.csv` has fewer than 2 readings"):
        open_wall(str(log))


def test_a_malformed_log_is_no_meter(log: Path) -> None:
    log.write_text("timestamp,watts\n1,2\n2,x\n")

    with pytest.raises(DataError, match=r"plug.csv` line 3"):
        open_wall(str(log))


def test_reading_a_closed_meter_is_an_error(meter: WallMeter) -> None:
    meter.close()
    meter.close()

    with pytest.raises(EnergyError, match="is closed"):
        meter.read()


class _Steady:
    """A source that has just read 100 W whenever it is asked."""

    shown = "steady"
    trouble: str | None = None

    def refresh(self, trace: WallTrace) -> None:
        trace.add(WallReading(Figure(time.time()), Figure(100.0)))

    def close(self) -> None:
        pass


@pytest.mark.fault(
    "clocks",
    "the system's clock is set back or forward within a window of a wall meter",
    "`clock jump`, with the seconds",
)
@pytest.mark.parametrize("by", [-5.0, 0.4, 5.0])
def test_a_clock_that_is_set_in_a_window_makes_it_invalid(
    monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    right = time.time
    meter = WallMeter(_Steady())

    with window(meter, "before") as before:
        time.sleep(0.05)
    with window(meter, "moved") as moved:
        time.sleep(0.05)
        monkeypatch.setattr(real_time, "unix_seconds", lambda: right() + by)
    meter.close()

    assert before.valid, before.invalid_reason
    assert moved.invalid_reason is not None
    assert moved.invalid_reason.startswith("clock jump: the system's clock moved by ")


@pytest.mark.fault(
    "clocks",
    "the logger's clock is an hour ahead",
    "`wall reading missing`, with the remedy",
)
def test_a_clock_of_the_logger_that_is_ahead_misplaces_all_readings(log: Path) -> None:
    now = time.time()
    rows = "".join(f"{now + 3600 - t:.3f},250\n" for t in range(4000, 0, -1))
    log.write_text(f"timestamp,watts\n{rows}")
    meter = open_wall(str(log))

    with window(meter, "work") as w:
        time.sleep(0.05)
    faults = meter.conditions().faults
    meter.close()

    ahead = "wall reading missing: `plug.csv`: its last reading is dated 3.6e+03 s after now"
    assert str(w.invalid_reason).startswith(ahead)
    assert faults[0].startswith(ahead)


@pytest.mark.fault(
    "wall meters",
    "a log says 1 GW",
    "`implausible`",
)
def test_more_than_a_rack_draws_is_no_reading(log: Path) -> None:
    with logging_watts(log, lambda: 1e9):
        meter = open_wall(str(log))
        with window(meter, "work") as w:
            time.sleep(0.1)
        meter.close()

    assert str(w.invalid_reason).startswith("implausible: `wall` shows ")


def test_an_address_of_another_kind_is_no_log() -> None:
    with pytest.raises(MeterUnavailableError, match="`ftp://` is not known") as caught:
        open_wall("ftp://admin:hush@plug/log")
    assert "hush" not in str(caught.value)
