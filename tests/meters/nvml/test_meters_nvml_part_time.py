"""How much of a step was seen goes by the look of a power reading, whatever feeds the counter."""

from __future__ import annotations

from pytest_energy.meters.nvml.part_time import Load, PartTime
from pytest_energy.meters.sensors import Sensor

STEP_SECONDS = 0.2
COUNTER = Sensor(0.1, 0.08, "measured")
LOAD = Load(400.0, 100.0, 2.0, 700.0)
LOOKS = ((0.0, 390.0), (0.08, 410.0), (0.16, 400.0))
"""Up to 0.4 of a step apart."""


def unseen_joules(look_seconds: float) -> float:
    return PartTime(COUNTER, look_seconds).unseen(LOAD, LOOKS, STEP_SECONDS).joules


def test_readings_of_short_looks_leave_more_of_a_step_unseen() -> None:
    """What lies between short ones may be all that the card can draw."""
    assert unseen_joules(0.02) > 2 * unseen_joules(0.08)
