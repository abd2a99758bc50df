"""RAPL counters from a tree of files as the kernel lays it out."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_energy import open_meter, window
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.rapl import RaplMeter

RANGE = 262_143_328_850


@dataclass(frozen=True)
class Powercap:
    """A tree of zones; `spend` moves one's counter as the kernel would."""

    root: Path

    def add(self, zone: str, name: str, microjoules: int = 0) -> None:
        folder = self.root / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")

    def spend(self, zone: str, joules: float) -> None:
        counter = self.root / zone / "energy_uj"
        total = int(counter.read_text()) + int(joules * 1e6)
        counter.write_text(f"{total % RANGE}\n")


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
    powercap.add("intel-rapl:0", "package-0", RANGE - 4_000_000)
    meter = RaplMeter()
    powercap.spend("intel-rapl:0", 10)
    assert meter.read().joules["cpu"] == pytest.approx(10, abs=0.001)
    powercap.spend("intel-rapl:0", RANGE * 1e-6 - 5)
    assert meter.read().joules["cpu"] == pytest.approx(RANGE * 1e-6 + 5, abs=0.001)
    assert meter.conditions().faults == ()
    meter.close()


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
