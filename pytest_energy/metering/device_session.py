"""Idle power: what a device draws before the run's first work, and joules net of it."""

from __future__ import annotations

import time

from pytest_energy.errors import EnergyError
from pytest_energy.metering import window
from pytest_energy.meters import Meter
from pytest_energy.meters.protocol import TOO_SHORT


def idle_watts(meter: Meter, seconds: float) -> float:
    """Mean power (W) of a metered stretch in which this process does nothing.

    A meter that shows no joules in it is at 0 W. Raises `EnergyError` where it was disturbed.
    """
    with window(meter, "idle") as opened:
        time.sleep(seconds)
    record = opened.record
    reason = record.invalid_reason
    nothing = record.joules == 0 and (reason or "").startswith("implausible")
    # So small a power may be known coarsely only, which is known well enough to be taken off.
    if reason is None or nothing or reason.startswith(TOO_SHORT):
        return record.mean_watts
    raise EnergyError(f"idle power is not known: {reason}")
