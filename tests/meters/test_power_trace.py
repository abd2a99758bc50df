"""Power over a window: what is kept of the samples that a meter takes anyway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sim
from pytest_energy.metering import Window
from pytest_energy.meters.nvml.power_integrator import CURVE_SECONDS, Trace
from pytest_energy.meters.protocol import MOST_POINTS, power_trace
from pytest_energy.results.json_codec import as_json, from_json

WINDOW = """
import json
import sim
time = sim.simulated_seconds()
from pytest_energy import open_meter, window
from pytest_energy.results.json_codec import as_json
meter = open_meter("nvml")
with window(meter, "work") as w:
    time.sleep(0.7)
print(json.dumps(as_json(w.record)))
meter.close()
"""


def test_samples_of_the_window_alone_count_from_its_beginning() -> None:
    samples = [(9.9, 80.0), (10.0, 300.0), (10.5, 310.0), (12.0, 305.0), (12.1, 90.0)]

    assert power_trace(samples, 10.0, 12.0) == ((0.0, 300.0), (0.5, 310.0), (2.0, 305.0))


def test_a_long_window_keeps_its_points_spread_over_it() -> None:
    trace = power_trace([(0.1 * k, float(k)) for k in range(10_000)], 0.0, 1000.0)

    assert MOST_POINTS / 2 < len(trace) <= MOST_POINTS
    assert trace[-1][0] > 980.0


def test_no_samples_are_no_trace() -> None:
    assert power_trace([], 0.0, 1.0) == ()
    assert Trace().powers(since=0.0) == []


def test_the_integral_gives_back_the_powers_that_it_was_made_of() -> None:
    trace = Trace()
    for k in range(400):
        trace.add(0.01 * k, 100.0 if k < 200 else 300.0)

    powers = trace.powers(since=1.0)

    assert powers[0][0] == pytest.approx(1.0, abs=1.5 * CURVE_SECONDS)
    assert {round(watts) for at, watts in powers if not 1.9 < at < 2.1} == {100, 300}
    assert len(powers) == pytest.approx(3.0 / CURVE_SECONDS, rel=0.25)


@pytest.mark.parametrize("tick_seconds", [0.05, None])
def test_a_card_shows_its_power_with_a_counter_and_without(
    tmp_path: Path, tick_seconds: float | None
) -> None:
    gpu = sim.SimulatedGpu("constant 300", tick_seconds=tick_seconds)

    row = json.loads(sim.run_python(WINDOW, sim.environment([gpu], tmp_path)))

    points = row["power_by_domain"]["gpu:0"]
    assert len(points) >= 2
    assert all(0 <= seconds <= row["seconds"] for seconds, _ in points)
    assert [watts for _, watts in points] == pytest.approx([300.0] * len(points), rel=0.01)


def test_the_power_survives_json() -> None:
    window = Window(
        "x", "counter", {"gpu:0": 300.0}, 1.0, 0.1, 0.0,
        power_by_domain={"gpu:0": ((0.1, 300.0), (0.4, 310.0))},
    )  # fmt: skip

    assert from_json(Window, json.loads(json.dumps(as_json(window)))) == window
