"""What a baseline file keeps of a card's counter, in later windows and runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import sensor_sim
from pytest_energy.baselines.reading import qualified
from pytest_energy.metering.device_session import DeviceSession, Silent
from sensor_sim import Card, Load, apart, simulate

UUID = "GPU-00000001-0000-0000-0000-000000000000"
DRIVER = "580.00"
SENSOR = f"""
[sensor.{UUID}]
driver = "{{driver}}"
date = 2026-11-24T10:00:00Z
feed = "true power"
sees_all = true
"""


def stated(found: dict[str, tuple[str, bool]]) -> tuple[float, bool, tuple[str, ...]]:
    """The stated uncertainty of a window (a share), whether it covers, and remarks."""
    with simulate(Card.preset("h100", counter="truth")) as world:
        session = DeviceSession("nvml", Silent(), qualified=lambda: found)
        world.meter = session.meter
        done = world.window(Load.square(310, 150, period=0.0993), 2.0)
        return done.stated, done.covered, session.remarks


def test_a_counter_that_was_seen_to_miss_nothing_has_no_part_time_doubt() -> None:
    unknown, *_ = apart(stated, {})
    known, covered, remarks = apart(stated, {UUID: (DRIVER, True)})

    assert known < 0.05 < 0.1 < unknown
    assert covered
    assert not any("qualified" in remark for remark in remarks)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({UUID: (DRIVER, False)}, False),
        ({"GPU-of-another": (DRIVER, True)}, False),
        ({UUID: ("535.1", True)}, True),
    ],
)
def test_what_was_found_of_another_card_or_driver_is_not_used(
    found: dict[str, tuple[str, bool]], said: bool
) -> None:
    unknown, *_ = apart(stated, {})
    share, _, remarks = apart(stated, found)

    assert share == unknown
    told = [remark for remark in remarks if "qualified under driver 535.1" in remark]
    assert len(told) == said
    assert all("qualify it again (`pytest-energy qualify --keep`)" in remark for remark in told)


def test_files_tell_what_was_found_and_broken_ones_nothing(tmp_path: Path) -> None:
    (tmp_path / "h100.toml").write_text(f"schema = 1\n{SENSOR.format(driver=DRIVER)}")
    (tmp_path / "a100.toml").write_text("schema = 1\n[sensor.GPU-0]\nfeed = 'hearsay'\n")
    assert qualified(tmp_path) == {UUID: (DRIVER, True)}
    assert qualified(tmp_path / "none") == {}


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
