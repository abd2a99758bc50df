"""RAPL counters from a tree of files as the kernel lays it out."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from powercap import Powercap
from pytest_energy import open_meter, window
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters import probe_meters
from pytest_energy.meters.rapl import RaplMeter, probe


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Powercap:
    monkeypatch.setenv("PYTEST_ENERGY_POWERCAP", str(tmp_path))
    return Powercap(tmp_path)


def test_packages_and_memory_without_what_is_part_of_them(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 5_000_000)
    powercap.add("intel-rapl:0:0", "core", 1)
    powercap.add("intel-rapl:0:1", "dram", 7_000_000)
    powercap.add("intel-rapl:1", "psys", 9)
    powercap.add("intel-rapl-mmio:0", "package-0", 3)
    meter = open_meter("rapl")
    assert [(device.domain, device.name) for device in meter.devices] == [
        ("cpu", "package-0"),
        ("dram", "dram"),
    ]
    assert meter.method == "counter"
    assert dict(meter.read().joules) == {"cpu": 0.0, "dram": 0.0}
    powercap.spend("intel-rapl:0", 12.5)
    powercap.spend("intel-rapl:0:1", 3.25)
    assert dict(meter.read().joules) == pytest.approx({"cpu": 12.5, "dram": 3.25})
    meter.close()
    meter.close()
    with pytest.raises(EnergyError, match="meter `rapl` is closed"):
        meter.read()


def test_zones_inside_each_other_are_found_too(powercap: Powercap) -> None:
    powercap.add("intel-rapl/intel-rapl:0", "package-0")
    powercap.add("intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram")
    meter = RaplMeter()
    assert [device.domain for device in meter.devices] == ["cpu", "dram"]
    meter.close()


def test_several_packages_are_numbered(powercap: Powercap) -> None:
    for number in (10, 2, 0):
        powercap.add(f"intel-rapl:{number}", f"package-{number}")
    meter = RaplMeter()
    assert [(device.domain, device.name) for device in meter.devices] == [
        ("cpu:0", "package-0"),
        ("cpu:1", "package-2"),
        ("cpu:2", "package-10"),
    ]
    meter.close()


def test_wrap_around_is_undone_each_time(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 900_000_000)
    (powercap.root / "intel-rapl:0" / "max_energy_range_uj").write_text("1000000000\n")
    meter = RaplMeter()
    for joules in range(150, 2500, 150):
        powercap.show("intel-rapl:0", (900 + joules) % 1000)
        assert meter.read().joules["cpu"] == pytest.approx(joules)
    assert meter.conditions().faults == ()
    meter.close()


@pytest.mark.fault(
    "RAPL",
    "a counter falls by 61 uJ, by half, or to nearly 0",
    "`counter reset`, none of its joules counts",
)
@pytest.mark.parametrize("shown", [0.001, 100_000 - 61e-6, 50_000.0])
def test_a_counter_that_falls_further_than_a_wrap_explains_was_reset(
    powercap: Powercap, shown: float
) -> None:
    powercap.add("intel-rapl:0", "package-0", 100_000_000_000)
    powercap.add("intel-rapl:1", "package-1", 7_000_000)
    meter = RaplMeter()
    with window(meter, "work") as w:
        powercap.spend("intel-rapl:1", 10)
        powercap.show("intel-rapl:0", shown)
    meter.close()
    assert str(w.invalid_reason).startswith("counter reset: `cpu:0` fell from 100000.000000 to ")
    assert w.record.joules == pytest.approx(10)


def test_a_reset_within_a_window_counts_though_the_thread_saw_it(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 100_000_000)
    # The thread looks every 0.15 s.
    (powercap.root / "intel-rapl:0" / "max_energy_range_uj").write_text("1000000000\n")
    meter = RaplMeter()
    with window(meter, "work") as w:
        powercap.show("intel-rapl:0", 1)
        time.sleep(0.5)
        powercap.spend("intel-rapl:0", 20)
    meter.close()
    assert str(w.invalid_reason).startswith("counter reset: `cpu` fell from 100.000000 to 1.0")


@pytest.mark.fault(
    "RAPL",
    "a counter jumps by more than the package's limit allows",
    "`implausible`, with joules, seconds and limit",
)
@pytest.mark.parametrize(
    ("watts", "joules", "limit"),
    [(None, 2_000, "2200 W"), (100.0, 150, "110 W"), (5_000.0, 2_000, "2200 W")],
)
def test_no_package_draws_more_than_its_limit(
    powercap: Powercap, watts: float | None, joules: float, limit: str
) -> None:
    powercap.add("intel-rapl:0", "package-0", 9_000_000)
    if watts:
        powercap.limit("intel-rapl:0", watts)
        powercap.limit("intel-rapl:0", watts / 2, "power_limit")
    meter = RaplMeter()
    with window(meter, "work") as w:
        powercap.spend("intel-rapl:0", joules)
    meter.close()
    assert str(w.invalid_reason).startswith(f"implausible: `cpu` went on by {joules} J in ")
    assert str(w.invalid_reason).endswith(f"more than {limit} give")
    assert w.record.joules == 0


def test_the_larger_of_its_limits_is_a_packages(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 9_000_000)
    powercap.limit("intel-rapl:0", 100.0)
    powercap.limit("intel-rapl:0", 180.0, "power_limit")
    (powercap.root / "intel-rapl:0" / "constraint_1_max_power_uw").write_text("none\n")
    meter = RaplMeter()
    with window(meter, "work") as w:
        powercap.spend("intel-rapl:0", 0.18)
        time.sleep(0.001)
    meter.close()
    assert meter.devices[0].power_limit_watts == 180
    assert not str(w.invalid_reason).startswith("implausible")


@pytest.mark.fault(
    "RAPL",
    "two dies show one counter",
    "counted once, and said",
)
def test_dies_that_show_one_counter_are_counted_once(powercap: Powercap) -> None:
    for die in (0, 1):
        powercap.add(f"intel-rapl:{die}", f"package-0-die-{die}", 5_000_000)
        powercap.add(f"intel-rapl:{die}:0", "dram", 3_000_000 + die)
    meter = RaplMeter()
    with window(meter, "work") as w:
        for die, zone in ((0, "intel-rapl:0"), (1, "intel-rapl:1")):
            powercap.spend(zone, 68)
            powercap.spend(f"{zone}:0", 1 + die)
        time.sleep(0.1)
    meter.close()
    assert w.valid, w.invalid_reason
    assert dict(w.joules_by_domain) == pytest.approx(
        {"cpu:0": 68, "cpu:1": 0, "dram:0": 1, "dram:1": 2}
    )
    assert probe() == (
        "counter",
        "energy counter of cpu:0, dram:0, cpu:1, dram:1; meter `rapl`: `package-0-die-1` "
        "(`cpu:1`) shows the counts of `package-0-die-0` (`cpu:0`), which are counted once",
    )


def test_counters_that_begin_alike_and_differ_later_are_two(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0")
    powercap.add("intel-rapl:1", "package-1")
    meter = RaplMeter()
    powercap.spend("intel-rapl:0", 10)
    powercap.spend("intel-rapl:1", 6)
    assert sum(meter.read().joules.values()) == pytest.approx(16)
    powercap.show("intel-rapl:1", 10)
    assert sum(meter.read().joules.values()) == pytest.approx(20)
    assert meter.remarks == []
    meter.close()


def test_a_memory_mapped_zone_is_read_where_there_is_no_other_of_its_package(
    powercap: Powercap,
) -> None:
    powercap.add("intel-rapl:0", "package-0-die-0", 1)
    powercap.add("intel-rapl-mmio:0", "package-0", 2)
    powercap.add("intel-rapl-mmio:0:0", "dram", 3)
    powercap.add("intel-rapl-mmio:1", "package-1", 4)
    meter = RaplMeter()
    meter.close()
    assert [(device.domain, device.uuid) for device in meter.devices] == [
        ("cpu:0", "rapl:intel-rapl:0"),
        ("dram", "rapl:intel-rapl-mmio:0:0"),
        ("cpu:1", "rapl:intel-rapl-mmio:1"),
    ]


BAD_FILES = [
    ("energy_uj", b"", "holds `` and no whole number from 0"),
    ("energy_uj", b"-5\n", "holds `-5` and no whole number from 0"),
    ("energy_uj", b"\xff\x1b\n", r"holds `\ufffd\\x1b` and no whole number from 0"),
    ("energy_uj", b"9" * 400, "is larger than 64 bytes"),
    ("energy_uj", None, "cannot be read: No such file or directory"),
    ("max_energy_range_uj", b"0\n", "holds `0` and no whole number from 1"),
    ("max_energy_range_uj", b"many\n", "holds `many` and no whole number from 1"),
    ("max_energy_range_uj", None, "cannot be read: No such file or directory"),
]


def spoil(file: Path, data: bytes | None) -> None:
    file.unlink()
    if data is not None:
        file.write_bytes(data)


@pytest.mark.fault(
    "RAPL",
    "a package's files are empty, negative, endless, no text or missing",
    "the meter does not open and names the file, and no thread is left",
)
@pytest.mark.parametrize(("file", "data", "reason"), BAD_FILES)
def test_a_package_that_does_not_work_is_a_reason(
    powercap: Powercap, file: str, data: bytes | None, reason: str
) -> None:
    powercap.add("intel-rapl:0", "package-0", 1)
    powercap.add("intel-rapl:1", "package-1", 2)
    spoil(powercap.root / "intel-rapl:1" / file, data)
    threads = threading.active_count()
    with pytest.raises(
        MeterUnavailableError, match=f"meter `rapl`: `.*/intel-rapl:1/{file}` {reason}"
    ):
        RaplMeter()
    assert threading.active_count() == threads
    rapl = next(one for one in probe_meters() if one.name == "rapl")
    assert not rapl.works
    assert "intel-rapl:1" in rapl.detail


@pytest.mark.fault(
    "RAPL",
    "the files of memory are empty, negative, endless, no text or missing",
    "its joules alone are left out, and it is said",
)
@pytest.mark.parametrize(("file", "data", "reason"), BAD_FILES)
def test_memory_that_does_not_work_costs_itself_alone_and_is_said(
    powercap: Powercap, file: str, data: bytes | None, reason: str
) -> None:
    powercap.add("intel-rapl:0", "package-0", 1)
    powercap.add("intel-rapl:0:0", "dram", 2)
    spoil(powercap.root / "intel-rapl:0:0" / file, data)
    meter = RaplMeter()
    meter.close()
    assert [device.domain for device in meter.devices] == ["cpu"]
    assert re.search(
        f"intel-rapl:0:0/{file}` {reason}.*; its joules are left out", meter.remarks[0]
    )
    rapl = next(one for one in probe_meters() if one.name == "rapl")
    assert rapl.works
    assert rapl.detail == f"energy counter of cpu; {meter.remarks[0]}"


def test_names_that_are_no_text(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 1)
    (powercap.root / "intel-rapl:0" / "name").write_bytes(b"package-\xe9\x1b[31m\n")
    powercap.add("intel-rapl:1", "odd", 1)
    (powercap.root / "intel-rapl:1" / "name").write_bytes(b"\xff\xfe\n")
    (powercap.root / "intel-rapl:2").mkdir()
    meter = RaplMeter()
    meter.close()
    assert [device.name for device in meter.devices] == ["package-\ufffd\\x1b[31m"]


@pytest.mark.fault(
    "RAPL",
    "a zone is removed within a window",
    "`device lost`, with its path",
)
def test_a_zone_that_is_removed_is_lost(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 1)
    powercap.add("intel-rapl:1", "package-1", 2)
    meter = RaplMeter()
    with window(meter, "work") as w:
        powercap.spend("intel-rapl:0", 10)
        shutil.rmtree(powercap.root / "intel-rapl:1")
    meter.close()
    assert re.fullmatch(r"device lost: `.*/intel-rapl:1` \(it was removed\)", str(w.invalid_reason))


def ends(thread: threading.Thread) -> None:
    """Let a thread end of an exception, as one does that nothing foresaw."""
    identifier = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(identifier, ctypes.py_object(SystemExit))
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.fault(
    "RAPL",
    "the thread that reads the counters ends",
    "`not watched`",
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_without_its_thread_windows_are_invalid(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 1)
    (powercap.root / "intel-rapl:0" / "max_energy_range_uj").write_text("600000000\n")
    meter = RaplMeter()
    ends(next(each for each in threading.enumerate() if each.name == "pytest-energy-rapl"))
    with window(meter, "work") as w:
        powercap.spend("intel-rapl:0", 10)
    meter.close()
    assert w.invalid_reason == "not watched: the thread that reads the counters has ended"


def test_the_thread_survives_a_counter_that_fails_for_a_while(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0", 1_000_000)
    (powercap.root / "intel-rapl:0" / "max_energy_range_uj").write_text("600000000\n")
    meter = RaplMeter()
    with window(meter, "work") as failing:
        (powercap.root / "intel-rapl:0" / "energy_uj").write_text("busy")
        time.sleep(0.3)
        powercap.show("intel-rapl:0", 11)
    with window(meter, "work") as w:
        powercap.spend("intel-rapl:0", 10)
        time.sleep(0.05)
    meter.close()
    assert "intel-rapl:0` (it shows `busy`)" in str(failing.invalid_reason)
    assert w.valid, w.invalid_reason


@pytest.mark.fault(
    "RAPL",
    "a counter may wrap twice between two looks",
    "`counter reset`, with the remedy",
)
def test_a_counter_that_may_wrap_twice_between_readings_is_not_believed(
    powercap: Powercap,
) -> None:
    powercap.add("intel-rapl:0", "package-0")
    (powercap.root / "intel-rapl:0" / "max_energy_range_uj").write_text("1000\n")
    meter = RaplMeter()
    with window(meter, "work") as w:
        powercap.spend("intel-rapl:0", 0.0001)
    assert "counter reset: `cpu` may have wrapped more than once" in str(w.invalid_reason)
    meter.close()


def test_a_window(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0")
    powercap.add("intel-rapl:0:0", "dram")
    meter = RaplMeter()
    with window(meter, "work") as w:
        powercap.spend("intel-rapl:0", 40)
        powercap.spend("intel-rapl:0:0", 2)
        time.sleep(0.1)
    assert w.valid
    assert dict(w.joules_by_domain) == pytest.approx({"cpu": 40, "dram": 2})
    assert w.joules == pytest.approx(42)
    assert 0 < w.uncertainty_joules < 0.1 * w.joules
    meter.close()


def test_a_counter_that_goes_away(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0")
    meter = RaplMeter()
    with window(meter, "work") as w:
        (powercap.root / "intel-rapl:0" / "energy_uj").write_text("")
    assert str(w.invalid_reason).startswith("device lost: `")
    meter.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_counter_that_may_not_be_read_names_the_remedy(powercap: Powercap) -> None:
    powercap.add("intel-rapl:0", "package-0")
    (powercap.root / "intel-rapl:0" / "energy_uj").chmod(0)
    with pytest.raises(MeterUnavailableError, match=r"sudo chmod a\+r .*/intel-rapl:\*/energy_uj"):
        open_meter("rapl")


def test_no_counters(powercap: Powercap) -> None:
    with pytest.raises(MeterUnavailableError, match="no CPU energy counter under") as caught:
        open_meter("rapl")
    assert str(powercap.root) in str(caught.value)
