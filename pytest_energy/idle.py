"""Idle power: what a device draws before the run's first work, and joules net of it."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace

from pytest_energy.errors import EnergyError
from pytest_energy.metering import window
from pytest_energy.meters import Meter
from pytest_energy.records import VerdictRecord
from pytest_energy.validity import TOO_SHORT


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


def net_of_idle(
    record: VerdictRecord, watts: float | None, domains: Collection[str] | None = None
) -> VerdictRecord:
    """The record with `net_value`: its value without what the device had drawn idly meanwhile.

    Only for figures in joules that have none yet, and of windows over just the `domains` that drew
    `watts` (None: whatever they were over); the gated value stays gross.
    """
    if domains is not None and any(
        set(each.joules_by_domain) != set(domains) for each in record.windows
    ):
        return record
    if watts is None or record.net_value is not None:
        return record
    gross = sum(each.joules for each in record.windows)
    if record.value is None or not record.unit.startswith("J") or gross <= 0:
        return record
    seconds = sum(each.seconds for each in record.windows)
    return replace(record, net_value=record.value * (1 - watts * seconds / gross))
