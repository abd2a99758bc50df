"""A counter beside power readings: what is said, what is invalid, and what is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from metered import metered
from pytest_energy.meters.nvml.two_powers import Look, TwoPowers, at_rest, in_window
from sim import SimulatedGpu


def looks(
    seconds: float, watts: list[float], counted: float, begin: float = 0.0, every: float = 0.1
) -> list[Look]:
    """Looks at readings that repeat, and at a counter of so many watts."""
    count = round(seconds / every)
    times = [begin + every * k for k in range(count)]
    return [Look(at, counted * at, watts[k % len(watts)]) for k, at in enumerate(times)]


def ticks(watts: float, count: int = 7) -> list[tuple[float, float]]:
    return [(0.1 * k, watts * 0.1 * k) for k in range(count)]


def readings(watts: float, seconds: float = 0.7) -> list[tuple[float, float]]:
    return [(0.002 * k, watts) for k in range(round(seconds / 0.002))]


@pytest.mark.parametrize(
    ("counted", "agree", "excess"),
    [
        (300, True, 0),
        (250, True, 0),
        (350, True, 0),
        (171, False, 0),
        (510, False, 0),
        (120, False, -1),
        (750, False, 1),
    ],
)
def test_a_steady_window(counted: float, agree: bool, excess: int) -> None:
    found = in_window(looks(2.0, [300.0], counted), 0.0, 0.1, sharp=True)

    assert found is not None
    assert (found.agree, found.excess) == (agree, excess)


def test_what_is_too_short_is_not_judged() -> None:
    assert in_window(looks(0.8, [300.0], 100), 0.0, 0.1, sharp=True) is None
    assert in_window(looks(1.7, [300.0], 100), 0.0, 0.1, sharp=False) is None
    assert in_window([], 0.0, 0.1, sharp=True) is None
    assert in_window(looks(2.0, [0.0], 100), 0.0, 0.1, sharp=True) is None


def test_a_load_that_swings_explains_more() -> None:
    """The sensor may see the one half of it more often than the other."""
    found = in_window(looks(2.0, [100.0, 100.0, 400.0], 250), 0.0, 0.1, sharp=True)

    assert found is not None
    assert found.agree


def test_readings_that_lag_are_left_out() -> None:
    """A mean of the last second rises all along: from idle to the load within a second."""
    found = [Look(0.1 * k, 600 * 0.1 * k, 60 + 540 * min(1.0, 0.1 * k)) for k in range(30)]

    powers = in_window(found, 0.0, 0.1, sharp=False)

    assert powers is not None
    assert powers.agree


@pytest.mark.parametrize(("counted", "excess"), [(300, 0), (171, 0), (120, -1), (750, 1)])
def test_at_rest(counted: float, excess: int) -> None:
    found = at_rest(ticks(counted), readings(300))

    assert found is not None
    assert found.excess == excess
    assert found.ratio == pytest.approx(counted / 300, rel=0.02)


def test_at_rest_nothing_is_known_of_a_load_that_moves() -> None:
    falling = [(seconds, 400 - 400 * seconds) for seconds, _ in readings(1)]

    assert at_rest(ticks(80), falling) is None
    assert at_rest(ticks(80, count=2), readings(80)) is None
    assert at_rest(ticks(80), []) is None


def test_a_mean_of_the_last_second_speaks_for_the_counter_alone() -> None:
    powers = TwoPowers(330, 600, 100)

    assert powers.closer(325).agree
    assert powers.closer(900) == powers
    assert powers.closer(None) == powers


@pytest.mark.parametrize("seconds", [0.3, 1.3])
@pytest.mark.parametrize("speed", [0.4, 2.5])
def test_what_no_sensor_explains_is_invalid(speed: float, seconds: float, tmp_path: Path) -> None:
    gpu = SimulatedGpu("constant 200", 0.05, lines=(f"speed {speed}",))

    (found,) = metered([gpu], tmp_path, f"time.sleep({seconds})")

    assert "sources disagree: " in str(found.invalid_reason)
    assert found.notes["gpu:0 counter_to_readings"] == pytest.approx(speed, rel=0.2)


@pytest.mark.fault(
    "NVML",
    "the counter shows 0.57 of the truth, within what sensors do",
    "valid, with a note in the window and a remark in the reports",
)
def test_what_was_seen_on_a_real_card_is_said(tmp_path: Path) -> None:
    gpu = SimulatedGpu("constant 300", 0.05, lines=("speed 0.57",))

    (found,) = metered([gpu], tmp_path, "time.sleep(0.3)")

    assert found.invalid_reason is None
    assert found.notes["gpu:0 counter_to_readings"] == pytest.approx(0.57, rel=0.1)
    (remark,) = found.remarks
    assert remark.startswith("at rest the counter of `gpu:0` says 17")
    assert "compare with a wall meter" in remark


@pytest.mark.fault(
    "NVML",
    "the load swings while the meter opens, so that counter and readings differ just then",
    "valid, and nothing is said: a later look at rest does not say the same",
)
@pytest.mark.parametrize("speed", [0.4, 0.57, 1.6])
def test_what_was_apart_at_the_opening_alone_is_not_said(speed: float, tmp_path: Path) -> None:
    # The counter alone is moved: what it shows may not fall.
    gpu = SimulatedGpu("constant 200", 0.05, lines=(f"speed {speed}",))
    settles = "sim.command(f'counter 0.05 0.037 1 9e6')\nsim.command('speed 1')"

    (found,) = metered([gpu], tmp_path, "time.sleep(0.3)", before=settles)

    assert found.invalid_reason is None
    assert found.notes.keys().isdisjoint({"gpu:0 counter_to_readings"})
    assert found.remarks == ()


def test_at_rest_readings_may_be_rare() -> None:
    """What lies before the first and after the last of them is not compared."""
    rare = [(0.05 + 0.1 * k, 300.0) for k in range(5)]

    found = at_rest(ticks(300), rare)

    assert found is not None
    assert found.ratio == pytest.approx(1)


@pytest.mark.parametrize(
    "gpu",
    [
        pytest.param(SimulatedGpu("constant 300", 0.05), id="constant"),
        pytest.param(
            SimulatedGpu("square 100 400 0.104 0.5", 0.05, instant=(0.101, 0.025)), id="near"
        ),
        pytest.param(
            SimulatedGpu("square 20 400 0.1 0.1", 0.05, instant=(0.1, 0.025)), id="in step"
        ),
        pytest.param(
            SimulatedGpu("square 60 600 3 0.5", 0.05, instant=None, usage=(0.1, 1.0)), id="mean"
        ),
    ],
)
def test_a_right_counter_is_believed_whatever_the_sensor(gpu: SimulatedGpu, tmp_path: Path) -> None:
    found = metered([gpu], tmp_path, "time.sleep(1.3)", windows=2)

    assert [window.invalid_reason for window in found] == [None, None]
    assert found[-1].remarks == ()
