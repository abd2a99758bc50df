"""What a baseline file keeps of a card's counter, in later windows and runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

import sensor_sim
import sim
from pytest_energy.baselines.reading import qualified, read
from pytest_energy.errors import BaselineError
from pytest_energy.metering.device_session import DeviceSession, Silent
from pytest_energy.meters.sensors import Qualified, Sensor, as_rows, from_rows
from sensor_sim import Card, Load, Metered, apart, simulate

UUID = "GPU-00000001-0000-0000-0000-000000000000"
DRIVER = "580.00"
DATE = "2026-11-24T10:00:00+00:00"
SENSOR = f"""
[sensor.{UUID}]
driver = "{{driver}}"
date = 2026-11-24T10:00:00Z
feed = "true power"
sees_all = true
counter_period_seconds = 0.1
counter_window_seconds = 0.0998
counter_window_doubt_seconds = 0.001
counter_lag_seconds = 0.0001
counter_lag_doubt_seconds = 0.0003
reading_period_seconds = 0.1
reading_window_seconds = 0.025
"""
ALL = Sensor(0.1, 0.1, "qualified")
SQUARE = Load.square(310, 150, period=0.0993)


def of(counter: Sensor | None, *, driver: str = DRIVER, uuid: str = UUID) -> dict[str, Qualified]:
    """What was found of the simulated card's counter."""
    return {uuid: Qualified(driver, DATE, counter, Sensor(0.1, 0.025, "qualified"))}


def windows(
    card: Card, found: dict[str, Qualified], load: Load, lengths: tuple[float, ...]
) -> tuple[list[Metered], tuple[str, ...], dict[str, str]]:
    """Windows of a card of which that was found; remarks; and the sensors it goes by."""
    with simulate(card) as world:
        session = DeviceSession("nvml", Silent(), qualified=lambda: found)
        world.meter = session.meter
        done = world.windows(load, lengths)
        return done, session.remarks, dict(getattr(session.meter, "sensors", {}))


def stated(
    found: dict[str, Qualified], card: Card | None = None, load: Load = SQUARE
) -> tuple[float, bool, tuple[str, ...], str]:
    """The stated uncertainty of a window (a share), whether it covers, remarks, the sensor."""
    card = card or Card.preset("h100", counter="truth")
    [done], remarks, sensors = windows(card, found, load, (2.0,))
    return done.stated, done.covered, remarks, sensors["gpu:0"]


def test_a_counter_that_was_seen_to_miss_nothing_has_no_part_time_doubt() -> None:
    unknown, _, _, published = apart(stated, {})
    known, covered, remarks, sensor = apart(stated, of(ALL))

    assert known < 0.05 < 0.1 < unknown
    assert covered
    assert not any("qualified" in remark for remark in remarks)
    assert published == "looks 21 of every 100 ms (published, arXiv 2312.02741)"
    assert sensor == "looks all the time (qualified 2026-11-24, driver 580.00)"


def test_the_look_that_was_found_takes_the_place_of_the_published_or_assumed_one() -> None:
    """Nothing is published of the card, so it is taken to look 18 ms; it looks 80."""
    card = Card.preset("h100", counter="sensor", window_seconds=0.08, name="NVIDIA New (simulated)")
    even = Load.constant(310)

    def doubt(found: dict[str, Qualified]) -> tuple[float, bool, str]:
        done, _, sensors = apart(windows, card, found, even, (2.0, 2.03, 2.06, 2.09))
        return mean(each.stated for each in done), all(w.covered for w in done), sensors["gpu:0"]

    assumed, _, said = doubt({})
    found, covered, sensor = doubt(of(Sensor(0.1, 0.079, "qualified")))

    assert said.startswith("may look 18 of every 100 ms (assumed: nothing is published of it")
    assert sensor == "looks 79 of every 100 ms (qualified 2026-11-24, driver 580.00)"
    assert found < 0.6 * assumed
    assert covered


def test_a_counter_that_is_known_to_be_late_is_asked_later() -> None:
    card = Card.preset("h100", counter="truth", lag_seconds=0.1)
    even, lengths = Load.constant(310), (2.0, 2.03, 2.06, 2.09)
    late = Sensor(0.1, 0.1, "qualified", 0.1, 0.0005)

    unknown, *_ = apart(windows, card, {}, even, lengths)
    known, _, sensors = apart(windows, card, of(late), even, lengths)

    assert mean(each.error for each in unknown) < -0.02
    assert all(abs(each.error) < 0.003 for each in known)
    assert all(each.covered and each.stated < 0.03 for each in known)
    assert all(each.record.valid for each in known)
    assert "100 ms late" in sensors["gpu:0"]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (of(None), None),
        (of(ALL, uuid="GPU-of-another"), None),
        (of(ALL, driver="535.1"), "was qualified under driver 535.1 and has 580.00 now"),
        (of(Sensor(0.02, 0.02, "qualified")), "ticked every 20 ms when it was qualified"),
    ],
    ids=["not told", "another card", "another driver", "another counter"],
)
def test_what_was_found_of_another_card_driver_or_counter_is_not_used(
    found: dict[str, Qualified], said: str | None
) -> None:
    unknown, *_ = apart(stated, {})
    share, _, remarks, _ = apart(stated, found)

    assert share == unknown
    told = [remark for remark in remarks if "so that is not used" in remark]
    assert len(told) == (said is not None)
    for remark in told:
        assert said is not None
        assert said in remark
        assert remark.endswith("qualify it again (`pytest-energy qualify --keep`)")


def test_a_card_without_a_counter_goes_by_its_readings() -> None:
    *_, sensor = apart(stated, of(None), Card.preset("p100"))
    assert sensor == "looks 25 of every 100 ms (qualified 2026-11-24, driver 580.00)"


def test_files_tell_what_was_found_and_broken_ones_nothing(tmp_path: Path) -> None:
    (tmp_path / "h100.toml").write_text(f"schema = 1\n{SENSOR.format(driver=DRIVER)}")
    (tmp_path / "a100.toml").write_text("schema = 1\n[sensor.GPU-0]\nfeed = 'hearsay'\n")
    [(uuid, found)] = qualified(tmp_path).items()
    assert (uuid, found.driver) == (UUID, DRIVER)
    assert found.counter is not None
    assert found.counter[:4] == (0.1, 0.1, "qualified", 0.0)
    assert found.readings == Sensor(0.1, 0.025, "qualified")
    assert qualified(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("changes", "window"),
    [
        ({"sees_all = true": "sees_all = false"}, pytest.approx(0.0988)),
        ({"true\n": "false\n", "true power": "sensor"}, pytest.approx(0.0988)),
        ({"true\n": "false\n", "true power": "unknown"}, None),
    ],
)
def test_of_a_window_in_doubt_the_shorter_end_counts_and_of_an_unknown_feed_nothing(
    tmp_path: Path, changes: dict[str, str], window: Any
) -> None:
    text = f"schema = 1\n{SENSOR.format(driver=DRIVER)}"
    for old, new in changes.items():
        text = text.replace(old, new)
    (tmp_path / "h100.toml").write_text(text)
    counter = qualified(tmp_path)[UUID].counter
    assert (counter and counter.window_seconds) == window


def test_a_table_that_sees_all_without_a_period_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "h100.toml"
    table = SENSOR.format(driver=DRIVER).replace("counter_period_seconds = 0.1\n", "")
    path.write_text(f"schema = 1\n{table}")
    with pytest.raises(BaselineError, match="has no `counter_period_seconds`; qualify the card"):
        read(path)


def test_it_can_be_sent_to_ranks() -> None:
    found = of(ALL) | of(None, uuid="GPU-2")
    assert from_rows(json.loads(json.dumps(as_rows(found)))) == found


def test_doctor_shows_the_sensor_and_where_it_comes_from(tmp_path: Path) -> None:
    baselines = tmp_path / "baselines"
    baselines.mkdir()
    (baselines / "new.toml").write_text(f"schema = 1\n{SENSOR.format(driver=DRIVER)}")
    card = Card.preset("h100", counter="truth").simulated()

    done = subprocess.run(
        [sys.executable, "-m", "pytest_energy", "doctor", "--baselines", str(baselines)],
        env=sim.environment([card], tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )

    told = "looks all the time (qualified 2026-11-24, driver 580.00)"
    assert f"  sensor of `gpu:0`: {told}\n" in done.stdout


CONFTEST = """
    import pytest
    from sensor_sim import Card, simulate

    simulation = simulate(Card.preset("h100", counter="truth"))
    world = simulation.__enter__()

    def pytest_unconfigure(config):
        simulation.__exit__(None, None, None)
"""


def test_a_run_goes_by_the_baseline_files(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(sensor_sim.__file__).parent), prepend=os.pathsep)
    pytester.makeini("[pytest]\nenergy_meter = nvml\n")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(
        """
        from sensor_sim import Load

        def test_metered(energy, request):
            world = request.config.pluginmanager.getplugin(
                str(request.config.rootpath / "conftest.py")
            ).world
            with energy.window("work"):
                world.work(Load.constant(300), 2.0)
        """
    )
    folder = pytester.mkdir("baselines")
    (folder / "h100.toml").write_text(f"schema = 1\n{SENSOR.format(driver='535.1')}")

    done = pytester.runpytest_subprocess()

    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*`gpu:0` was qualified under driver 535.1 and has 580.00 now*"])


MEASURED = "looks all the time (measured on cards of this name under this branch of the driver)"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, MEASURED),
        ({"name": "NVIDIA H200 NVL"}, "may look 18 of every 100 ms (assumed"),
        ({"tick_seconds": 0.02}, "may look 18 of every 100 ms (assumed"),
        ({"counter": "none"}, "may look 18 of every 100 ms (assumed"),
    ],
    ids=["H200", "another card", "another counter", "no counter"],
)
def test_a_counter_that_was_measured_on_such_cards_is_known(
    changes: dict[str, Any], told: str
) -> None:
    card = Card.preset("h200", **changes)
    share, covered, remarks, sensor = apart(stated, {}, card, Load.constant(600))

    assert sensor.startswith(told)
    assert covered
    assert (share < 0.035) == (told == MEASURED)
    assert not any("qualified" in remark for remark in remarks)


def test_what_a_card_showed_itself_counts_for_more_than_what_others_did() -> None:
    *_, sensor = apart(stated, of(None), Card.preset("h200"))

    assert sensor.startswith("may look 18 of every 100 ms (assumed")
    assert sensor.endswith("what feeds the counter was not found out)")
