"""Which sensor a card is metered by: the one that an experiment found, or what is published."""

from __future__ import annotations

from typing import Final, NamedTuple

from pytest_energy.meters.nvml.sensors import sensor_of
from pytest_energy.meters.protocol import Device
from pytest_energy.meters.sensors import Qualified, Sensor

MOST_APART: Final = 0.1
"""A counter that ticks this much faster or slower than when it was qualified is another clock."""
AGAIN: Final = "qualify it again (`pytest-energy qualify --keep`)"


class Known(NamedTuple):
    """The sensor to go by, how it looks and where that comes from; why it is not the qualified."""

    sensor: Sensor
    told: str
    remark: str | None = None


def sensor_for(
    device: Device, found: Qualified | None, *, counted: bool, period_seconds: float | None = None
) -> Known:
    """The sensor of a card, whose joules are `counted` or else made of its readings.

    `period_seconds` is how often its counter ticks now, if that is known. What was found under
    another driver, or of a counter that ticked otherwise, is not used.
    """
    published = sensor_of(device.name)
    if found is None:
        return Known(published, _told(published, _origin(published)))
    sensor = found.counter if counted else found.readings
    if found.driver != (device.driver or ""):
        was, now = found.driver or "unknown", device.driver or "unknown"
        remark = f"was qualified under driver {was} and has {now} now"
    elif sensor is not None and _is_other(sensor, period_seconds):
        was, now = (f"{1000 * s:.4g} ms" for s in (sensor.period_seconds, period_seconds or 0.0))
        remark = f"ticked every {was} when it was qualified, and every {now} now"
    elif sensor is None:
        origin = f"{_origin(published)}; what feeds the counter was not found out"
        return Known(published, _told(published, origin))
    else:
        origin = f"qualified {found.date[:10]}, driver {found.driver or 'unknown'}"
        return Known(sensor, _told(sensor, origin))
    remark = f"`{device.domain}` {remark}, so that is not used; {AGAIN}"
    return Known(published, _told(published, _origin(published)), remark)


def _is_other(sensor: Sensor, period_seconds: float | None) -> bool:
    return (
        period_seconds is not None and abs(period_seconds / sensor.period_seconds - 1) > MOST_APART
    )


def _told(sensor: Sensor, origin: str) -> str:
    late = 1000 * sensor.lag_seconds
    lag = f", {late:.0f} ms late" if late >= 1 else ""
    return f"{sensor.told()}{lag} ({origin})"


def _origin(sensor: Sensor) -> str:
    if sensor.is_known:
        return "published, arXiv 2312.02741"
    return "assumed: nothing is published of it, and `pytest-energy qualify --keep` finds it"
