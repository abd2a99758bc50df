"""One card's energy counter as cumulative joules: wraps undone, resets told."""

from __future__ import annotations

import threading
import time
from ctypes import c_ulonglong
from typing import NamedTuple

from pytest_energy.meters.nvml.card import Card
from pytest_energy.meters.nvml.clock import TickClock

WRAP_BITS = 32
"""Some drivers keep the millijoules in 32 bits; at 300 W they wrap every four hours."""
PLAUSIBLE_WATTS = 2000.0
"""What a card whose limit is unknown may draw at most."""
RESOLUTION_JOULES = 0.001
STILL_PERIODS = 3.0


class Tick(NamedTuple):
    """An update of the counter: when it came (s, give or take), the joules before and after."""

    seconds: float
    half_width: float
    joules_before: float
    joules: float


class Counter:
    """Cumulative joules of one card.

    `clock` is None where ticks are too close, or too far apart, to be waited for; their
    `period_seconds` is a bound then. `has_fresh_watts`: its power readings follow at once.
    `idle_spread_watts`: how much its power differed from tick to tick when nothing was metered.
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        self.domain = card.domain
        self.clock: TickClock | None = None
        self.period_seconds = 0.0
        self.has_fresh_watts = False
        self.idle_spread_watts = 0.0
        self.last_tick: Tick | None = None
        self.resets = 0
        self.lost: str | None = None
        self._lock = threading.Lock()
        self._shown = c_ulonglong()
        self._read = card.energy_into(self._shown)
        if code := self._read():
            raise card.lost(code)
        self._raw = self._shown.value
        self._since = time.monotonic()
        self._millijoules = 0
        self._joules = 0.0

    def joules(self) -> float:
        """Joules since the counter was opened (J); a lost card keeps its last figure."""
        # Read under the lock: of two threads around a tick, the later must not keep the older.
        with self._lock:
            code = self._read()
            if code:
                self.lost = str(self.card.lost(code))
                return self._joules
            raw = self._shown.value
            if raw != self._raw:
                now = time.monotonic()
                further = raw - self._raw
                if further < 0:
                    further = self._after_fall(raw, now - self._since)
                self._millijoules += further
                self._joules = self._millijoules / 1000
                self._raw, self._since = raw, now
            return self._joules

    def still_seconds(self) -> float:
        """For how long the counter has shown the figure that it shows now (s)."""
        self.joules()
        return time.monotonic() - self._since

    def _after_fall(self, raw: int, seconds: float) -> int:
        wrapped = raw + (1 << WRAP_BITS) - self._raw
        most_watts = 1.1 * (self.card.device.power_limit_watts or PLAUSIBLE_WATTS)
        # The counter lags by up to a period, hence a second more than has passed.
        if 0 <= wrapped <= 1000 * most_watts * (seconds + 1.0):
            return wrapped
        self.resets += 1
        return raw


def stands_still(counter: Counter) -> str | None:
    """Say so if the counter has not moved in three periods although the card draws power."""
    seconds = counter.still_seconds()
    if counter.clock is None or counter.lost or seconds <= STILL_PERIODS * counter.period_seconds:
        return None
    watts = counter.card.sharpest_watts()
    if watts is None or watts > 0:
        return (
            f"counter stands still: that of `{counter.domain}` ticked every "
            f"{1000 * counter.period_seconds:.0f} ms, and stopped while the card draws power"
        )
    return None
