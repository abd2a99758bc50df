"""Two faults of RAPL at once, and faults at the ends of windows."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from powercap import Powercap
from pytest_energy import window
from pytest_energy.errors import MeterUnavailableError
from pytest_energy.meters.rapl import RaplMeter

ONE, TWO, MEMORY = "intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Powercap:
    """Two packages, and memory of the first."""
    monkeypatch.setenv("PYTEST_ENERGY_POWERCAP", str(tmp_path))
    tree = Powercap(tmp_path)
    tree.add(ONE, "package-0", 9_000_000_000)
    tree.add(MEMORY, "dram", 5_000_000)
    tree.add(TWO, "package-1", 7_000_000_000)
    return tree


@pytest.fixture
def meter(powercap: Powercap) -> Iterator[RaplMeter]:
    meter = RaplMeter()
    yield meter
    meter.close()


@pytest.mark.fault(
    "RAPL",
    "a counter stands still, then jumps by what it left out",
    "valid: the joules are those of the jump",
)
def test_a_counter_that_freezes_and_catches_up(powercap: Powercap, meter: RaplMeter) -> None:
    with window(meter, "work") as w:
        for _ in range(10):
            time.sleep(0.01)
            powercap.spend(TWO, 1.0)
        powercap.spend(ONE, 30.0)

    assert w.valid, w.invalid_reason
    assert w.joules_by_domain["cpu:0"] == pytest.approx(30)
    assert w.joules_by_domain["cpu:1"] == pytest.approx(10)


@pytest.mark.fault(
    "RAPL",
    "a counter stands still, then jumps by more than the package can have drawn",
    "`implausible`, with the joules, the seconds and the limit",
)
def test_a_counter_that_freezes_and_leaps(powercap: Powercap, meter: RaplMeter) -> None:
    with window(meter, "work") as w:
        time.sleep(0.05)
        powercap.spend(ONE, 4000.0)

    assert str(w.invalid_reason).startswith("implausible: `cpu:0` went on by 4000 J in ")


@pytest.mark.fault(
    "RAPL",
    "one package is reset and the other one jumps in the same window",
    "both are named, none of their joules counts",
)
def test_two_faults_in_one_window(powercap: Powercap, meter: RaplMeter) -> None:
    with window(meter, "work") as w:
        powercap.show(ONE, 1.0)
        powercap.spend(TWO, 9000.0)

    reason = str(w.invalid_reason)
    assert "counter reset: `cpu:0` fell from 9000.000000 to 1.000000 J" in reason
    assert "implausible: `cpu:1` went on by 9000 J" in reason
    assert w.record.joules == 0


@pytest.mark.fault(
    "RAPL",
    "a counter cannot be read when a window begins, and can when it ends",
    "`device lost` for that window, the next one is valid",
)
def test_a_counter_that_fails_at_the_beginning(powercap: Powercap, meter: RaplMeter) -> None:
    counter = powercap.root / ONE / "energy_uj"
    counter.write_text("")
    with window(meter, "first") as first:
        counter.write_text("9000000000\n")
        time.sleep(0.02)
    with window(meter, "second") as second:
        powercap.spend(ONE, 3.0)
        powercap.spend(TWO, 3.0)
        time.sleep(0.02)

    assert str(first.invalid_reason).startswith("device lost: `")
    assert second.valid, second.invalid_reason
    assert second.joules == pytest.approx(6)


@pytest.mark.fault(
    "RAPL",
    "a counter is reset between two windows",
    "the window after it is valid, and has its own joules alone",
)
def test_a_reset_between_windows_is_nobodys(powercap: Powercap, meter: RaplMeter) -> None:
    with window(meter, "first") as first:
        powercap.spend(ONE, 4.0)
        powercap.spend(TWO, 4.0)
        time.sleep(0.02)
    powercap.show(ONE, 0.5)
    with window(meter, "second") as second:
        powercap.spend(ONE, 2.0)
        powercap.spend(TWO, 2.0)
        time.sleep(0.02)

    assert first.valid, first.invalid_reason
    assert second.valid, second.invalid_reason
    assert [first.joules, second.joules] == pytest.approx([8, 4])


@pytest.mark.parametrize("kind", ["pipe", "endless", "folder"])
@pytest.mark.fault(
    "RAPL",
    "a counter's file is replaced by a pipe, an endless device or a folder within a window",
    "`device lost`, and nothing is waited for",
)
def test_a_counter_that_becomes_something_else(
    powercap: Powercap, meter: RaplMeter, kind: str
) -> None:
    counter = powercap.root / ONE / "energy_uj"
    with window(meter, "work") as w:
        counter.unlink()
        if kind == "pipe":
            os.mkfifo(counter)
        elif kind == "endless":
            counter.symlink_to("/dev/zero")
        else:
            counter.mkdir()

    assert "(it was removed)" in str(w.invalid_reason)


@pytest.mark.parametrize("kind", ["pipe", "endless", "folder"])
@pytest.mark.fault(
    "RAPL",
    "a package's counter is a pipe, an endless device or a folder when it is opened",
    "the meter does not open, and names the file",
)
def test_a_counter_that_is_no_file(powercap: Powercap, kind: str) -> None:
    counter = powercap.root / TWO / "energy_uj"
    counter.unlink()
    if kind == "pipe":
        os.mkfifo(counter)
    elif kind == "endless":
        counter.symlink_to("/dev/zero")
    else:
        counter.mkdir()

    with pytest.raises(MeterUnavailableError, match=r"meter `rapl`: `.*/intel-rapl:1/energy_uj` "):
        RaplMeter()


@pytest.mark.fault(
    "RAPL",
    "the whole tree of counters is removed within a window",
    "`device lost`, and the meter can be closed",
)
def test_a_tree_that_goes(powercap: Powercap) -> None:
    meter = RaplMeter()
    with window(meter, "work") as w:
        for zone in (ONE, TWO, MEMORY):
            shutil.rmtree(powercap.root / zone)
    meter.close()

    assert str(w.invalid_reason).startswith("device lost: `")


@pytest.mark.fault(
    "RAPL",
    "memory stops working within a window while the package goes on",
    "`device lost` with the path of the memory's counter",
)
def test_memory_that_fails_within_a_window(powercap: Powercap, meter: RaplMeter) -> None:
    with window(meter, "work") as w:
        powercap.spend(ONE, 5.0)
        (powercap.root / MEMORY / "energy_uj").write_text("-1\n")

    assert f"/{MEMORY}` (it shows `-1`)" in str(w.invalid_reason)


@pytest.mark.fault(
    "RAPL",
    "two counters that showed one count differ from then on, within a window",
    "each is counted from there, nothing twice",
)
def test_twins_that_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ENERGY_POWERCAP", str(tmp_path))
    tree = Powercap(tmp_path)
    for die in (0, 1):
        tree.add(f"intel-rapl:{die}", f"package-0-die-{die}", 5_000_000)
    meter = RaplMeter()
    with window(meter, "work") as w:
        for zone in (ONE, TWO):
            tree.spend(zone, 10.0)
        meter.read()
        tree.spend(ONE, 1.0)
        time.sleep(0.02)
        tree.spend(TWO, 4.0)
        time.sleep(0.02)
    meter.close()

    assert w.valid, w.invalid_reason
    assert w.joules == pytest.approx(15)
