"""Joules of simulated cards against the exact ones."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest

from metered import MeteredWindow, metered
from sim import SimulatedGpu, environment, run_python

CONSTANT = "constant 300"
TICK_SECONDS = 0.05
SQUARE = "square 100 400 0.7 0.5"


@pytest.mark.parametrize(
    ("gpu", "largest_median_error"),
    [
        pytest.param(SimulatedGpu(CONSTANT, TICK_SECONDS), 0.001, id="constant"),
        pytest.param(SimulatedGpu(CONSTANT, 0.02), 0.001, id="20 ms ticks"),
        pytest.param(
            SimulatedGpu(CONSTANT, TICK_SECONDS, instant=None, usage=None),
            0.001,
            id="no power reading",
        ),
        pytest.param(
            SimulatedGpu(CONSTANT, TICK_SECONDS, lines=("jitter 0.002",)), 0.005, id="jitter"
        ),
        pytest.param(SimulatedGpu(CONSTANT, 0.002), 0.01, id="ticks too fast to wait for"),
    ],
)
def test_counter(gpu: SimulatedGpu, largest_median_error: float, tmp_path: Path) -> None:
    counted(metered([gpu], tmp_path, "time.sleep(0.637)", windows=5), largest_median_error)


@pytest.mark.realtime
def test_in_real_seconds_a_counter_is_as_right(tmp_path: Path) -> None:
    gpu = SimulatedGpu(CONSTANT, TICK_SECONDS)
    counted(metered([gpu], tmp_path, "time.sleep(0.637)", windows=5, clock="real"), 0.001)


def counted(found: list[MeteredWindow], largest_median_error: float) -> None:
    """Five windows are valid, of the counter, and right."""
    assert [window.invalid_reason for window in found] == [None] * 5
    assert {window.method for window in found} == {"counter"}
    assert median(abs(window.error) for window in found) <= largest_median_error
    assert sum(window.covered for window in found) >= 4


@pytest.mark.parametrize(
    "gpu",
    [
        pytest.param(SimulatedGpu(CONSTANT, None), id="instant field"),
        pytest.param(SimulatedGpu(SQUARE, None), id="square"),
        pytest.param(
            SimulatedGpu(CONSTANT, None, instant=None, usage=(0, 0), lines=("arch 6",)),
            id="usage before Ampere",
        ),
        pytest.param(
            SimulatedGpu(
                CONSTANT,
                None,
                instant=None,
                usage=(0, 0),
                lines=("arch 7", "pci_device_id 0x20B210DE"),
            ),
            id="usage of GA100",
        ),
    ],
)
def test_no_counter(gpu: SimulatedGpu, tmp_path: Path) -> None:
    integrated(metered([gpu], tmp_path, "time.sleep(0.3)", windows=5))


@pytest.mark.realtime
def test_in_real_seconds_power_is_integrated_as_well(tmp_path: Path) -> None:
    gpu = SimulatedGpu(SQUARE, None)
    integrated(metered([gpu], tmp_path, "time.sleep(0.3)", windows=5, clock="real"))


def integrated(found: list[MeteredWindow]) -> None:
    """Five windows are valid, of power readings, and right."""
    assert [window.invalid_reason for window in found] == [None] * 5
    assert {window.method for window in found} == {"integrated"}
    assert median(abs(window.error) for window in found) <= 0.03
    assert sum(window.covered for window in found) >= 4


def test_a_slow_power_sensor_widens_the_uncertainty(tmp_path: Path) -> None:
    gpu = SimulatedGpu(SQUARE, None, instant=(0.1, 0.1), lines=("noise 3",))
    found = metered([gpu], tmp_path, "time.sleep(0.7)", windows=5)
    assert sum(window.covered for window in found) >= 4
    assert all("too short" in (window.invalid_reason or "too short") for window in found)


def test_work_ends_between_ticks_and_what_follows_is_not_its_own(tmp_path: Path) -> None:
    watts = tmp_path / "watts.txt"
    watts.write_text("0 90\n")
    gpu = SimulatedGpu(f"steps {watts}", TICK_SECONDS, instant=None, usage=None)
    block = f"""
        sim.set_watts(sim.Path({str(watts)!r}), 500)
        time.sleep(0.237)
        sim.set_watts(sim.Path({str(watts)!r}), 90)
    """
    found = metered([gpu], tmp_path, block, windows=5)
    assert median(abs(window.error) for window in found) <= 0.002
    assert sum(window.covered for window in found) >= 4
    assert [window.invalid_reason for window in found] == [None] * 5


def test_several_cards_are_summed_and_shown_one_by_one(tmp_path: Path) -> None:
    gpus = [
        SimulatedGpu("constant 300", TICK_SECONDS),
        SimulatedGpu("constant 150", TICK_SECONDS, phase_seconds=0.02),
        SimulatedGpu("constant 60", None),
    ]
    (found,) = metered(gpus, tmp_path, "time.sleep(0.337)")
    assert found.invalid_reason is None
    assert found.method == "integrated"
    assert list(found.joules_by_domain) == ["gpu:0", "gpu:1", "gpu:2"]
    seconds = found.true_joules / 510
    expected = [300 * seconds, 150 * seconds, 60 * seconds]
    assert list(found.joules_by_domain.values()) == pytest.approx(expected, rel=0.01)
    assert found.covered


@pytest.mark.fault(
    "NVML",
    "the counter wraps around within a window",
    "valid, and the joules are right",
)
def test_a_wrap_of_the_counter_is_undone(tmp_path: Path) -> None:
    start = 2**32 - 1000 * 300 * 1.2
    gpu = SimulatedGpu(CONSTANT, TICK_SECONDS, start_millijoules=start, lines=("wrap 32",))
    found = metered([gpu], tmp_path, windows=3)
    assert [window.invalid_reason for window in found] == [None] * 3
    assert median(abs(window.error) for window in found) <= 0.005


@pytest.mark.fault(
    "NVML",
    "the counter never moves",
    "power readings are integrated in its stead, and right to 1 %",
)
def test_a_counter_that_never_moves_is_not_believed(tmp_path: Path) -> None:
    (found,) = metered([SimulatedGpu(lines=("stall 0 never 1",))], tmp_path)
    assert found.method == "integrated"
    assert found.invalid_reason is None
    assert abs(found.error) <= 0.01


def test_a_change_of_power_from_outside_is_seen(tmp_path: Path) -> None:
    gpu = SimulatedGpu(CONSTANT, TICK_SECONDS)
    (before,) = metered([gpu], tmp_path)
    (after,) = metered([gpu], tmp_path, variables={"NVML_SIM_POWER_SCALE": "1.06"})
    ratio = (after.joules / after.true_joules) / (before.joules / before.true_joules)
    assert ratio == pytest.approx(1, abs=0.01)
    assert before.true_joules / before.seconds == pytest.approx(300)
    assert after.true_joules / after.seconds == pytest.approx(1.06 * 300)


@pytest.mark.parametrize("tick_seconds", [TICK_SECONDS, 0.002, None])
def test_what_lies_before_the_work_is_left_out(tick_seconds: float | None, tmp_path: Path) -> None:
    block = """
    time.sleep(0.03)
    w.work_started()
    begin = time.monotonic()
    time.sleep(0.6)
    """
    found = metered([SimulatedGpu(CONSTANT, tick_seconds)], tmp_path, block, windows=3)
    assert [window.invalid_reason for window in found] == [None] * 3
    assert median(abs(window.error) for window in found) < 0.02
    assert all(window.covered for window in found)


AT_A_LATE_TICK = """
import json
import sim
time = sim.simulated_seconds()
from pytest_energy import open_meter, window

meter = open_meter("nvml")
errors = []
for _ in range(16):
    clock = meter.counters[0].clock
    time.sleep(clock.following(time.monotonic()) + 0.0004 - time.monotonic())
    with window(meter, "work") as w:
        begin = time.monotonic()
        time.sleep(0.06)
        end = time.monotonic()
    true = sim.energy_between(begin, end, 0)
    errors.append(abs(w.record.joules - true) / (true + 3 * w.uncertainty_joules))
print(json.dumps(errors))
"""


def test_a_tick_that_comes_late_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """A window that begins just when a jittery tick is due: it may have come, or come yet."""
    gpu = SimulatedGpu(CONSTANT, 0.04, lines=("jitter 0.002",))

    errors = json.loads(run_python(AT_A_LATE_TICK, environment([gpu], tmp_path)))

    assert max(errors) < 0.1  # a period of 0.04 s would be more than half of it


LOOKS_COME_LATE = """
import ctypes, json, random, threading, time
import sim
from pytest_energy import open_meter, window

meter = open_meter("nvml")
hold = ctypes.PyDLL(None).usleep  # keeps the interpreter to itself meanwhile

def hinder():
    chance = random.Random(1)
    while True:
        time.sleep(chance.uniform(0.001, 0.03))
        hold(int(1e6 * chance.uniform(0.01, 0.05)))

threading.Thread(target=hinder, daemon=True).start()
found = []
for _ in range(30):
    with window(meter, "work") as w:
        time.sleep(0.25)
    begin, seconds = w._span.started, w.seconds
    true = sim.energy_between(begin, begin + seconds, 0)
    off = abs(w.record.joules - true)
    found.append((w.invalid_reason, off <= w.uncertainty_joules, off / true))
print(json.dumps(found))
"""


@pytest.mark.realtime
def test_ticks_that_came_while_nobody_could_look_are_counted(tmp_path: Path) -> None:
    """The last of several is the one whose joules are shown; its time is its own."""
    gpu = SimulatedGpu(CONSTANT, 0.02)

    found = json.loads(run_python(LOOKS_COME_LATE, environment([gpu], tmp_path)))

    assert not [reason for reason, *_ in found if str(reason).startswith("implausible")]
    assert sum(covered for _, covered, _ in found) >= 0.95 * len(found)
    assert max(error for reason, _, error in found if reason is None) < 0.05
