"""The window as a user holds it, over a meter whose joules are made by the test."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from pytest_energy import window
from pytest_energy.errors import EnergyError
from pytest_energy.meters import Conditions, Device, Method, Reading
from pytest_energy.meters.protocol import Measured
from workloads_support import SteadyMeter

pytestmark = pytest.mark.realtime


@dataclass
class HandMeter:
    """Joules and faults are set by hand; `lost` makes reading fail."""

    joules: dict[str, float] = field(default_factory=lambda: {"gpu:0": 1000.0, "gpu:1": 50.0})
    faults: tuple[str, ...] = ()
    lost: bool = False
    name: str = "hand"
    method: Method = "counter"
    devices: tuple[Device, ...] = (
        Device("gpu:0", "card", "GPU-0", power_limit_watts=1e9),
        Device("gpu:1", "card", "GPU-1"),
    )
    update_period_seconds: float = 0.0
    resolution_joules: float = 0.001

    def read(self) -> Reading:
        if self.lost:
            raise EnergyError("device lost: `gpu:0` is gone")
        return Reading(time.monotonic(), dict(self.joules))

    def conditions(self) -> Conditions:
        return Conditions(self.faults, notes={"gpu:0 temperature_celsius": 61.0})

    def close(self) -> None:
        """Nothing to release."""

    def spend(self, joules: Mapping[str, float]) -> None:
        for domain, amount in joules.items():
            self.joules[domain] += amount
        time.sleep(0.02)


def test_figures_after_the_block() -> None:
    meter = HandMeter()
    with window(meter, "train") as w:
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
        w.count_tokens(1000, 800)
        w.count_tokens(24, 12)
    assert w.joules == pytest.approx(10)
    assert dict(w.joules_by_domain) == pytest.approx({"gpu:0": 8, "gpu:1": 2})
    assert w.mean_watts == pytest.approx(10 / w.seconds)
    assert (w.valid, w.invalid_reason) == (True, None)
    record = w.record
    assert (record.name, record.tokens, record.real_tokens) == ("train", 1024, 812)
    assert record.joules_per_token == pytest.approx(10 / 1024)
    assert record.joules_per_real_token == pytest.approx(10 / 812)
    assert record.notes == {"gpu:0 temperature_celsius": 61.0}
    assert abs(record.started - time.time()) < 60


def test_figures_before_the_end_are_an_error() -> None:
    with (
        window(HandMeter(), "train") as w,
        pytest.raises(EnergyError, match="window `train` has not ended"),
    ):
        w.joules  # noqa: B018


@pytest.mark.fault(
    "processes and signals",
    "the block of a window raises",
    "the window says what was raised, and the meter can be used on",
)
def test_an_exception_passes_through_and_the_meter_stays_usable() -> None:
    meter = HandMeter()
    with pytest.raises(ZeroDivisionError), window(meter, "train") as w:
        1 / 0  # noqa: B018
    for figure in ("record", "joules", "seconds", "valid"):
        with pytest.raises(EnergyError, match="its block raised ZeroDivisionError: division by"):
            getattr(w, figure)
    assert repr(w) == "<window `train`: its block raised ZeroDivisionError: division by zero>"
    with w:
        meter.spend({"gpu:0": 3.0, "gpu:1": 3.0})
    assert w.joules == pytest.approx(6)


def test_what_a_block_raised_is_shown_on_one_line() -> None:
    with pytest.raises(KeyError), window(HandMeter(), "train") as silent:
        raise KeyError
    with pytest.raises(ValueError, match="two"), window(HandMeter(), "train") as long:
        raise ValueError("two\nlines \x1b[2J" + 1000 * "x")

    assert repr(silent) == "<window `train`: its block raised KeyError>"
    assert repr(long).startswith(
        "<window `train`: its block raised ValueError: two\\nlines \\x1b[2J"
    )
    assert len(repr(long)) < 400


def test_a_window_is_shown_by_its_figures() -> None:
    meter = HandMeter()
    with window(meter, "train") as w:
        assert repr(w) == "<window `train`: not ended>"
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
    assert repr(w).startswith("<window `train`: 10.00 ± ")
    with window(meter, "train") as w:
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
        meter.faults = ("throttled: hot",)
    assert repr(w).endswith(" s; invalid: throttled: hot>")


def test_a_fault_makes_it_invalid_and_its_joules_cannot_be_used_by_accident() -> None:
    meter = HandMeter()
    with window(meter, "train") as w:
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
        meter.faults = ("throttled: power brake of `gpu:0`",)
    assert (w.valid, w.invalid_reason) == (False, "throttled: power brake of `gpu:0`")
    for figure in ("joules", "joules_by_domain", "mean_watts"):
        with pytest.raises(EnergyError, match="window `train` has no joules to go by: throttled"):
            getattr(w, figure)
    assert w.record.joules == pytest.approx(10)


def test_a_fault_at_the_beginning_counts() -> None:
    meter = HandMeter(faults=("foreign process: 7 computes on `gpu:0`",))
    with window(meter, "train") as w:
        meter.faults = ()
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
    assert w.invalid_reason == "foreign process: 7 computes on `gpu:0`"


@pytest.mark.fault(
    "processes and signals",
    "a device is lost before or within a window",
    "the work goes on, the window is invalid",
)
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_lost_device_never_interrupts_the_work(when: str) -> None:
    meter = HandMeter(lost=when == "before")
    worked = False
    with window(meter, "train") as w:
        meter.lost = True
        worked = True
    assert worked
    assert w.invalid_reason == "device lost: `gpu:0` is gone"
    with pytest.raises(EnergyError, match="device lost"):
        w.joules  # noqa: B018


@pytest.mark.parametrize(
    ("joules", "reason"),
    [
        ({"gpu:0": 0.0, "gpu:1": 5.0}, "implausible: `gpu:0` shows 0 J"),
        ({"gpu:0": 5.0, "gpu:1": -40.0}, "implausible: `gpu:1` shows -40 J"),
        ({"gpu:0": 5.0, "gpu:1": float("nan")}, "implausible: nan J"),
        ({"gpu:0": 1e9, "gpu:1": 5.0}, "its limit is 1000000000 W"),
        ({"gpu:0": 5.0, "gpu:1": 1e4}, "`gpu:1` shows "),
        ({"gpu:0": 5.0, "gpu:1": 1e4}, ", and nothing of its kind draws 2000 W"),
        ({"gpu:0": 5.0, "gpu:1": 5.0, "cpu": -0.1}, "implausible: `cpu` shows -0.1 J"),
        ({"gpu:0": 5.0, "gpu:1": 5.0, "dram": 1e4}, "implausible: `dram` shows "),
        ({"gpu:0": 5.0, "gpu:1": 5.0, "rack": 1e7}, ", and nothing of its kind draws 100000 W"),
    ],
)
def test_joules_that_cannot_be(joules: dict[str, float], reason: str) -> None:
    meter = HandMeter(resolution_joules=0.0)
    meter.joules |= dict.fromkeys(joules.keys() - meter.joules.keys(), 100.0)
    with window(meter, "train") as w:
        meter.spend(joules)
    assert reason in str(w.invalid_reason)


def test_a_domain_that_rests_is_no_fault() -> None:
    meter = HandMeter()
    meter.joules["dram"] = 0.0
    with window(meter, "train") as w:
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
    assert w.valid, w.invalid_reason
    assert w.joules_by_domain["dram"] == 0


def test_what_a_meter_found_between_its_readings_counts() -> None:
    class Watching(HandMeter):
        def faults_since(self, seconds: float) -> tuple[str, ...]:
            return tuple(fault for at, fault in found if at > seconds)

    found = [(time.monotonic(), "counter reset: before the window")]
    meter = Watching()
    with window(meter, "before") as before:
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
    with window(meter, "within") as within:
        found.append((time.monotonic(), "counter reset: in the window"))
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
    assert before.valid, before.invalid_reason
    assert within.invalid_reason == "counter reset: in the window"


def test_a_short_window_is_uncertain_but_its_joules_are_not_wrong() -> None:
    meter = HandMeter(update_period_seconds=0.1)
    with window(meter, "train") as w:
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
    assert str(w.invalid_reason).startswith("too short: 10 J in")
    assert w.joules == pytest.approx(10)
    assert w.uncertainty_joules > 10


def test_the_device_is_synchronised_at_both_ends() -> None:
    meter, calls = HandMeter(), []
    with window(meter, "train", synchronize=lambda: calls.append(dict(meter.joules))):
        meter.spend({"gpu:0": 8.0, "gpu:1": 2.0})
    assert calls == [{"gpu:0": 1000.0, "gpu:1": 50.0}, {"gpu:0": 1008.0, "gpu:1": 52.0}]


def test_the_uncertainty_grows_by_what_an_update_period_holds() -> None:
    stated: dict[float, float] = {}
    for period in (0.0, 0.001):
        meter = HandMeter(update_period_seconds=period)
        with window(meter, "train") as w:
            meter.spend({"gpu:0": 80.0, "gpu:1": 20.0})
        stated[period] = w.uncertainty_joules / w.mean_watts
    assert stated[0.001] - stated[0.0] == pytest.approx(0.001, rel=0.5)


def test_work_may_begin_later_than_its_window() -> None:
    with window(SteadyMeter(), "waits first") as w:
        time.sleep(0.2)
        w.work_started()
        time.sleep(0.05)
    assert 0.05 <= w.seconds < 0.2
    assert w.joules == pytest.approx(100 * w.seconds, rel=0.1)


def test_a_meter_that_cannot_leave_the_wait_out_keeps_its_seconds_too() -> None:
    class Whole:
        started = 0.0

        def end(self, ended: float) -> Measured:
            return Measured({"cpu": ended - self.started}, 0.0)

    class WholeMeter(SteadyMeter):
        def begin(self) -> Whole:
            span = Whole()
            span.started = time.monotonic() - 10
            return span

    with window(WholeMeter(), "waits first") as w:
        w.work_started()
    assert w.seconds >= 10


def test_a_source_that_slept_through_the_work_says_nothing_of_it() -> None:
    meter = HandMeter(update_period_seconds=1.0)
    with window(meter, "train") as w:
        time.sleep(0.02)
    assert str(w.invalid_reason).startswith("no update: the source, renewed about every 1 s, did")
    with pytest.raises(EnergyError, match="window `train` has no joules to go by: no update"):
        w.joules  # noqa: B018
