"""Joules of CPU packages and memory, from the kernel's RAPL counters under powercap."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.protocol import (
    NOT_WATCHED,
    Conditions,
    Device,
    FaultLog,
    Opened,
    Reading,
    fault,
)
from pytest_energy.meters.rapl_zones import open_zones
from pytest_energy.outcomes import Method
from pytest_energy.text import encodable

POWERCAP = "/sys/class/powercap"
ROOT_VARIABLE = "PYTEST_ENERGY_POWERCAP"
UPDATE_PERIOD_SECONDS = 0.001
RESOLUTION_JOULES = 61e-6
"""One energy unit of current server parts (2^-14 J)."""
LEAST_INTERVAL = 0.1
"""Between two looks of the thread (s), however soon a counter wraps."""


class RaplMeter:
    """Cumulative joules of every CPU package and its memory; wrap-around is undone.

    `remarks` say which zones are left out or counted once.
    """

    name = "rapl"
    method: Method = "counter"

    def __init__(self) -> None:
        root = Path(os.environ.get(ROOT_VARIABLE) or POWERCAP)
        self._seconds = self._seconds_before = real_time.monotonic()
        self._zones, self.remarks = open_zones(root, self._seconds)
        if not self._zones:
            raise MeterUnavailableError(
                f"meter `rapl`: no CPU energy counter under `{encodable(str(root))}`; it takes a "
                "Linux kernel with `intel_rapl_msr` on bare metal (virtual machines rarely have it)"
            )
        self.devices: tuple[Device, ...] = tuple(
            Device(zone.domain, zone.name, f"rapl:{encodable(zone.path.name)}", zone.limit_watts)
            for zone in self._zones
        )
        self.update_period_seconds = UPDATE_PERIOD_SECONDS
        self.resolution_joules = RESOLUTION_JOULES
        self._faults = FaultLog()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._open = Opened(self.name)
        # Read often enough that no counter can wrap twice unseen, however long the windows are.
        soonest = min(zone.range_joules / zone.most_watts for zone in self._zones)
        self._thread = threading.Thread(
            target=self._read_on,
            args=(max(soonest / 3, LEAST_INTERVAL),),
            name="pytest-energy-rapl",
            daemon=True,
        )
        self._thread.start()

    def read(self) -> Reading:
        """Cumulative joules of each package and memory since the meter was opened (J)."""
        self._open.check()
        with self._lock:
            now = real_time.monotonic()
            self._seconds_before, self._seconds = self._seconds, now
            for zone in self._zones:
                if wrong := zone.read(now):
                    self._faults.add(now, wrong)
            joules = {zone.domain: zone.joules for zone in self._zones}
            return Reading(real_time.monotonic(), joules)

    def conditions(self) -> Conditions:
        """Whether the last reading can be believed."""
        return Conditions(self.faults_since(self._seconds_before))

    def faults_since(self, seconds: float) -> tuple[str, ...]:
        """What was wrong with readings after that time, and whether somebody watches for more."""
        found = self._faults.since(seconds)
        if self._thread.is_alive():
            return found
        return (*found, fault(NOT_WATCHED, "the thread that reads the counters has ended"))

    def close(self) -> None:
        """Close the counters' files; a second call does nothing."""
        if not self._open.close():
            return
        self._closed.set()
        self._thread.join()
        for zone in self._zones:
            zone.close()

    def _read_on(self, every: float) -> None:
        while not self._closed.wait(every):
            try:
                self.read()
            except EnergyError as error:  # noqa: PERF203 - each look may fail
                self._faults.add(real_time.monotonic(), str(error))


def probe() -> tuple[Method, str]:
    """Which counters would be read; `MeterUnavailableError` says why they cannot be."""
    meter = RaplMeter()
    meter.close()
    domains = ", ".join(device.domain for device in meter.devices)
    return meter.method, "; ".join([f"energy counter of {domains}", *meter.remarks])
