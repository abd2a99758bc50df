"""Plugs that restart, logs that are moved, cut or mixed: each within or at the end of a window."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from pytest_energy import window
from pytest_energy.metering import OpenWindow
from pytest_energy.meters.wall import WallMeter, open_wall
from pytest_energy.meters.wall.forms import Figure
from pytest_energy.meters.wall.trace import WallReading, WallTrace
from wall_support import logging_watts


class Plug:
    """A source that is read whenever it is asked, with what a test makes of it."""

    shown = "plug"

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.watts: float | None = 100.0
        self.joules: float | None = 5000.0
        self.began = time.time()
        self.counts = True

    def refresh(self, trace: WallTrace) -> None:
        now = time.time()
        joules = self.joules
        if joules is not None and self.counts:
            joules += 100.0 * (now - self.began)
        trace.add(
            WallReading(
                Figure(now),
                None if self.watts is None else Figure(self.watts),
                None if joules is None else Figure(joules, 0.001),
            )
        )

    def restart(self, number: int) -> None:
        """Begin to count anew, halfway."""
        if number == 10:
            self.joules, self.began = 0.0, time.time()

    def close(self) -> None:
        pass


@pytest.fixture
def plug() -> Plug:
    return Plug()


def metered(plug: Plug, happens: Callable[[int], None] = lambda _: None) -> OpenWindow:
    """A window of twenty readings, ahead of each of which something may happen."""
    meter = WallMeter(plug)
    with window(meter, "work") as w:
        for number in range(20):
            time.sleep(0.01)
            happens(number)
            meter.conditions()
    meter.close()
    return w


@pytest.mark.fault(
    "wall meters",
    "a plug that tells energy alone restarts at 0 within a window",
    "`wall reading missing`: the energy was set back",
)
def test_a_plug_that_restarts_at_zero(plug: Plug) -> None:
    plug.watts = None
    w = metered(plug, plug.restart)

    assert str(w.invalid_reason).startswith("wall reading missing: `plug`: ")
    assert "set back" in str(w.invalid_reason)


@pytest.mark.fault(
    "wall meters",
    "a plug's energy restarts at 0 within a window, and its power goes on",
    "valid, by its power: never negative",
)
def test_a_plug_that_restarts_and_tells_power(plug: Plug) -> None:
    w = metered(plug, plug.restart)

    assert w.valid, w.invalid_reason
    assert w.joules == pytest.approx(100 * w.seconds, rel=0.1)


@pytest.mark.fault(
    "wall meters",
    "a log is deleted within a window, and its logger writes on",
    "valid: what was opened is read on",
)
def test_a_log_that_is_deleted(tmp_path: Path) -> None:
    log = tmp_path / "plug.csv"
    with logging_watts(log, lambda: 250.0):
        meter = open_wall(str(log))
        with window(meter, "work") as w:
            log.unlink()
            time.sleep(0.1)
        meter.close()

    assert w.valid, w.invalid_reason
    assert w.joules == pytest.approx(250 * w.seconds, rel=0.05)


@pytest.mark.fault(
    "wall meters",
    "a log is moved away and begun anew within a window, as a log's rotation does",
    "valid, with the joules of both",
)
def test_a_log_that_is_rotated(tmp_path: Path) -> None:
    log = tmp_path / "plug.csv"
    with ExitStack() as loggers:
        stop = loggers.enter_context(logging_watts(log, lambda: 250.0))
        meter = open_wall(str(log))
        with window(meter, "work") as w:
            time.sleep(0.1)
            stop.set()
            meter.conditions()
            log.rename(log.with_suffix(".1"))
            loggers.enter_context(logging_watts(log, lambda: 250.0))
            time.sleep(0.1)
        meter.close()

    assert w.valid, w.invalid_reason
    assert w.joules == pytest.approx(250 * w.seconds, rel=0.05)


@pytest.mark.fault(
    "wall meters",
    "a second logger that is an hour behind writes into the log within a window",
    "`wall reading missing`: no joules of the two are mixed",
)
def test_two_loggers_in_one_log(tmp_path: Path) -> None:
    log = tmp_path / "plug.csv"
    with logging_watts(log, lambda: 250.0):
        meter = open_wall(str(log))
        with window(meter, "work") as w:
            time.sleep(0.05)
            with log.open("a") as file:
                file.write(f"{time.time() - 3600:.3f},90\n")
            time.sleep(0.05)
        meter.close()

    assert str(w.invalid_reason).startswith("wall reading missing: `plug.csv`")


@pytest.mark.fault(
    "wall meters",
    "a log becomes a folder within a window",
    "the window is invalid and names the log",
)
def test_a_log_that_becomes_a_folder(tmp_path: Path) -> None:
    log = tmp_path / "plug.csv"
    with logging_watts(log, lambda: 250.0):
        meter = open_wall(str(log))
        with window(meter, "work") as w:
            log.unlink()
            log.mkdir()
            time.sleep(0.1)
        meter.close()

    assert "plug.csv`" in str(w.invalid_reason)


@pytest.mark.fault(
    "wall meters",
    "a plug's power and its energy are a factor of 10 apart",
    "`sources disagree`, with both figures",
)
def test_power_and_energy_that_disagree(plug: Plug) -> None:
    plug.watts = 1000.0
    w = metered(plug)

    assert str(w.invalid_reason).startswith("sources disagree: `plug`: its power comes to ")


@pytest.mark.fault(
    "wall meters",
    "a plug's energy stands still while its power moves around 100 W",
    "valid, by its power",
)
def test_energy_that_stands_still(plug: Plug) -> None:
    plug.counts = False
    w = metered(plug, lambda number: setattr(plug, "watts", 90.0 + 20 * (number % 2)))

    assert w.valid, w.invalid_reason
    assert w.joules == pytest.approx(100 * w.seconds, rel=0.15)
