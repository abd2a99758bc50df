"""Cards without an energy counter: power integrated by a background thread."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.card import Card, DeviceLostError
from pytest_energy.meters.nvml.counter_span import CardJoules
from pytest_energy.meters.nvml.monitor import CLOSING_SECONDS
from pytest_energy.meters.protocol import LATENCY_SECONDS, NOT_WATCHED, fault
from pytest_energy.meters.sensors import Sensor
from pytest_energy.text import named

SAMPLE_SECONDS = 0.01
LONGEST_GAP_SECONDS = 1.0
"""What a card drew in a longer gap between two readings is not known."""
RESOLUTION_WATTS = 0.001
SENSOR_SHIFT = 0.75
"""A reading held for a period p averages over p/4 to p: its middle is 5/8 p to p before it ends."""
SHIFT_DOUBT = 0.25
KNOWN_SHIFT_DOUBT = 0.05
"""Of a period, if it is known how long the sensor looks."""
CHANGES = 24
FEWEST_CHANGES = 8
UPDATES = 4096
SLOWEST_SENSOR_SECONDS = 0.25
FASTEST_SENSOR_SECONDS = 0.015
CURVE_SECONDS = 0.05
CURVE_POINTS = 8192
"""What is kept of the integral for plots: a point every so often, of the last minutes."""


@dataclass
class Mark:
    """A moment at which the integral is wanted; None until the samples have passed it."""

    seconds: float
    joules: float | None = None
    watts: float = 0.0
    variance: float = 0.0


class Trace:
    """The integral of one card's power readings; the power changes halfway between two of them.

    Every reading counts, the same value again, too: readings are never merged.
    """

    def __init__(self) -> None:
        self.joules = 0.0
        self.lowest_watts = math.inf
        self._last: tuple[float, float] | None = None
        self._variance = 0.0
        self._changes: deque[tuple[float, float]] = deque(maxlen=CHANGES)
        self.updates: deque[tuple[float, float]] = deque(maxlen=UPDATES)
        """When readings were first seen (s), and what they said (W); of the last minutes."""
        self._marks: list[Mark] = []
        self._curve: deque[tuple[float, float]] = deque(maxlen=CURVE_POINTS)
        self._gaps: deque[tuple[float, float]] = deque(maxlen=CHANGES)

    def add(self, seconds: float, watts: float) -> None:
        """Take a reading (W) at a time (s)."""
        earlier, before = self._last or (seconds, watts)
        halfway = (earlier + seconds) / 2
        for mark in self._marks:
            if mark.seconds <= seconds:
                first = min(max(mark.seconds, earlier), halfway) - earlier
                second = max(mark.seconds, halfway) - halfway
                mark.joules = self.joules + before * first + watts * second
                mark.watts = before if mark.seconds < halfway else watts
                mark.variance = self._variance
        self._marks = [mark for mark in self._marks if mark.joules is None]
        if seconds - earlier > LONGEST_GAP_SECONDS:
            self._gaps.append((earlier, seconds))
        self.joules += (before + watts) / 2 * (seconds - earlier)
        # Where between the two the power changed is unknown: evenly spread over the step.
        if watts != before:
            self._changes.append((seconds, watts))
            self.updates.append((halfway, watts))
            held = max(seconds - earlier, self.sensor_period())
            self._variance += (watts - before) ** 2 * held**2 / 12
        self._last = (seconds, watts)
        self.lowest_watts = min(watts, self.lowest_watts)
        if not self._curve or seconds - self._curve[-1][0] >= CURVE_SECONDS:
            self._curve.append((seconds, self.joules))

    def powers(self, since: float) -> list[tuple[float, float]]:
        """Mean powers (time in s, W) from about that time on, each of about `CURVE_SECONDS`."""
        curve = list(self._curve)
        first = max(bisect_left(curve, (since, 0.0)) - 1, 0)
        return [
            ((earlier + later) / 2, (after - before) / (later - earlier))
            for (earlier, before), (later, after) in pairwise(curve[first:])
            if later > earlier
        ]

    def longest_gap(self, begin: Mark, end: Mark) -> float:
        """The longest gap between readings that lies, at least partly, between two marks (s)."""
        inside = ((a, b) for a, b in self._gaps if a < end.seconds and b > begin.seconds)
        return max((b - a for a, b in inside), default=0.0)

    def mark(self, seconds: float) -> Mark:
        """Ask for the integral at a moment; one just before the last reading is known at once."""
        mark = Mark(seconds)
        last, watts = self._last or (seconds, 0.0)
        if seconds < last:
            mark.joules = self.joules - watts * (last - seconds)
            mark.watts, mark.variance = watts, self._variance
        else:
            self._marks.append(mark)
        return mark

    def sensor_period(self) -> float:
        """How long the sensor holds a value (s); 0 while it seems to give a fresh one each time."""
        if len({watts for _, watts in self._changes}) < FEWEST_CHANGES:
            return 0.0
        times = [seconds for seconds, _ in self._changes]
        step = median(b - a for a, b in pairwise(times))
        return step if FASTEST_SENSOR_SECONDS < step < SLOWEST_SENSOR_SECONDS else 0.0


def between(begin: Mark, end: Mark, shift_doubt: float) -> tuple[float, float]:
    """Joules between two passed marks, and how far they may be off (J).

    The sensor lags by what is known to `shift_doubt` (s).
    """
    assert begin.joules is not None
    assert end.joules is not None
    edge = abs(end.watts - begin.watts) * shift_doubt
    timing = (begin.watts + end.watts) * LATENCY_SECONDS
    resolution = RESOLUTION_WATTS * (end.seconds - begin.seconds)
    doubt = 2 * math.sqrt(max(0.0, end.variance - begin.variance)) + edge + timing + resolution
    return end.joules - begin.joules, doubt


class PowerIntegrator:
    """One card's trace, fed by a thread from opening to closing; asked under its `lock`."""

    def __init__(self, card: Card, sensor: Sensor) -> None:
        self.card = card
        self.domain = card.domain
        self.sensor = sensor
        self.lost: str | None = None
        self.trace = Trace()
        self.lock = threading.Lock()
        self._ended = ""
        self._closed = threading.Event()
        self.sample()
        self._thread = threading.Thread(target=self._run, name="pytest-energy-power", daemon=True)
        self._thread.start()

    def sample(self) -> None:
        """Take a reading now; one that fails leaves a gap."""
        with self.lock:
            try:
                watts = self.card.sharpest_watts()
            except DeviceLostError as error:
                self.lost = str(error)
                return
            if watts is not None:
                self.trace.add(real_time.monotonic(), watts)

    @property
    def fault(self) -> str | None:
        """Why no readings are taken any more, or None."""
        if self.lost is None and not self._thread.is_alive():
            ended = f"the thread that reads the power of `{self.domain}` has ended{self._ended}"
            return fault(NOT_WATCHED, ended)
        return self.lost

    def lag(self) -> tuple[float, float]:
        """By how much the sensor lags, and how far that may be off (s); under the lock."""
        period = self.trace.sensor_period()
        sensor = self.sensor
        if not sensor.is_known:
            return SENSOR_SHIFT * period, SHIFT_DOUBT * period
        period = period or sensor.period_seconds
        # What it shows is the middle of its look, and holds for a period from then on.
        shift = sensor.lag_seconds + (sensor.window_seconds + period) / 2
        return shift, KNOWN_SHIFT_DOUBT * period + sensor.lag_doubt_seconds

    def joules(self) -> float:
        """Joules from opening to now (J)."""
        self.sample()
        return self.trace.joules

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()
        self._thread.join(CLOSING_SECONDS)

    def _run(self) -> None:
        try:
            while self.lost is None and not self._closed.wait(SAMPLE_SECONDS):
                self.sample()
        except BaseException as error:  # whatever it was, windows have to say it
            self._ended = f" ({named(error)})"


class IntegratorSpan:
    """A window over one card's trace, moved by how much its sensor lags."""

    def __init__(self, integrator: PowerIntegrator) -> None:
        self.domain = integrator.domain
        self._integrator = integrator
        with integrator.lock:
            self._lag, self._shift_doubt = integrator.lag()
        integrator.sample()

    def work_started(self, started: float) -> None:
        """Mark the start of the work; to be called just before."""
        self._begin = self._mark(started)

    def work_ended(self, ended: float) -> None:
        """Mark the end of the work; to be called at once."""
        self._end = self._mark(ended)
        self._integrator.sample()

    @property
    def rest_watts(self) -> float:
        """The lowest power that was ever read (W)."""
        return self._integrator.trace.lowest_watts

    def looks(self) -> list[tuple[float, float]]:
        """The middles of the sensor's looks (s) since the work started, and what it saw (W)."""
        sensor = self._integrator.sensor
        middle = sensor.lag_seconds + sensor.window_seconds / 2
        with self._integrator.lock:
            updates = list(self._integrator.trace.updates)
        return [(seconds - middle, watts) for seconds, watts in updates]

    def power(self) -> list[tuple[float, float]]:
        """Powers (time in s, W) since the work started, moved back by how much the sensor lags."""
        with self._integrator.lock:
            powers = self._integrator.trace.powers(self._begin.seconds)
        return [(seconds - self._lag, watts) for seconds, watts in powers]

    def result(self) -> CardJoules:
        """The joules of the work alone; waits for as long as the sensor lags."""
        give_up = real_time.monotonic() + LONGEST_GAP_SECONDS
        while self._end.joules is None and self._integrator.fault is None:
            if real_time.monotonic() > give_up:
                return CardJoules(0.0, 0.0, self._not_read(LONGEST_GAP_SECONDS))
            real_time.sleep(SAMPLE_SECONDS)
        if self._end.joules is None:
            return CardJoules(0.0, 0.0, self._integrator.fault)
        with self._integrator.lock:
            gap = self._integrator.trace.longest_gap(self._begin, self._end)
        wrong = self._integrator.fault or (self._not_read(gap) if gap else None)
        return CardJoules(*between(self._begin, self._end, self._shift_doubt), wrong)

    def _not_read(self, seconds: float) -> str:
        return fault(NOT_WATCHED, f"`{self.domain}` gave no power reading for {seconds:.1f} s")

    def _mark(self, seconds: float) -> Mark:
        with self._integrator.lock:
            return self._integrator.trace.mark(seconds + self._lag)
