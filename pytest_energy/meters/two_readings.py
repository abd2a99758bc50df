"""A window on a meter that only tells its cumulative joules: from one reading to another."""

from __future__ import annotations

import time

from pytest_energy.meters.protocol import Measured, Meter, no_update

LATENCY_SECONDS = 0.0001
"""Between a reading and its time stamp."""


class TwoReadings:
    """The joules between two readings, good to an update of the source at either end."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        meter.read()  # what lies before the window says nothing about it
        self._first = meter.read()
        self._faults = meter.conditions().faults
        self.started = time.monotonic()

    def work_started(self, started: float) -> None:
        """Begin anew: a source that answers at once loses nothing by it."""
        self._first, self.started = self._meter.read(), started

    def end(self, ended: float) -> Measured:
        """Joules between the readings; `ended` is when the work did (s)."""
        last = self._meter.read()
        conditions = self._meter.conditions()
        joules = {d: last.joules[d] - self._first.joules.get(d, 0.0) for d in last.joules}
        watts = sum(joules.values()) / max(last.seconds - self._first.seconds, 1e-9)
        late = max(0.0, last.seconds - ended) + max(0.0, self.started - self._first.seconds)
        doubt = watts * (self._meter.update_period_seconds + late + LATENCY_SECONDS)
        faults = dict.fromkeys((*self._faults, *conditions.faults))
        if self._meter.update_period_seconds and not any(joules.values()):
            faults[no_update(self._meter.update_period_seconds, ended - self.started)] = None
        return Measured(
            joules,
            doubt + len(joules) * self._meter.resolution_joules,
            tuple(faults),
            conditions.notes,
        )
