"""A card whose counter and power are set by the test or go by the clock; `Counter` reads it.

It stands for the driver where the simulated library would need another process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_ulonglong
from dataclasses import dataclass, field
from typing import cast

from pytest_energy.clocks import real_time
from pytest_energy.meters.nvml.card import Card, DeviceLostError
from pytest_energy.meters.nvml.counter import Counter, TickClock
from pytest_energy.meters.protocol import Device

DEVICE = Device("gpu:0", "card", "GPU-0", power_limit_watts=300.0)


@dataclass
class HandCard:
    """`millijoules` at a time (s), `watts` now, `code` of the driver's answer (0: it answers)."""

    millijoules: Callable[[float], float] = lambda _: 0
    watts: float | None = 100.0
    code: int = 0
    domain: str = "gpu:0"
    averaged_watts: float | None = None
    device: Device = DEVICE
    reads: list[float] = field(default_factory=list)
    """When the counter was read (s)."""
    power_reads: list[float] = field(default_factory=list)
    """When the power was (s)."""

    def energy_into(self, millijoules: c_ulonglong) -> Callable[[], int]:
        def read() -> int:
            now = real_time.monotonic()
            self.reads.append(now)
            millijoules.value = int(self.millijoules(now))
            return self.code

        return read

    def lost(self, code: int) -> DeviceLostError:
        return DeviceLostError(f"device lost: code {code}")

    def sharpest_watts(self) -> float | None:
        if self.code:
            raise self.lost(self.code)
        self.power_reads.append(real_time.monotonic())
        return self.watts

    def mean_watts(self) -> float | None:
        return self.averaged_watts

    def show(self, joules: float) -> None:
        """From now on, show these joules since the counter was opened."""
        self.millijoules = lambda _: round(1000 * joules)


def opened(card: HandCard) -> Counter:
    """The card's counter."""
    return Counter(cast(Card, card))


@dataclass
class Ticking:
    """Millijoules of a counter that ticks every `period` seconds, `joules` each, up to `last`."""

    period: float
    joules: float = 10.0
    phase: float = 0.0
    last: float = math.inf

    def __call__(self, seconds: float) -> float:
        return 1000 * self.joules * self.number(min(seconds, self.last))

    def number(self, seconds: float) -> int:
        """How many ticks there have been by then."""
        return math.floor((seconds - self.phase) / self.period)

    def nearest(self, seconds: float) -> float:
        """When the tick nearest to that time came (s)."""
        return self.phase + self.period * round((seconds - self.phase) / self.period)

    def clock(self, half_width: float = 1e-6) -> TickClock:
        """A clock that has seen the last ticks of it so sharply."""
        now = self.number(real_time.monotonic())
        times = [self.phase + self.period * (now - back) for back in range(6, -1, -1)]
        return TickClock([(seconds, half_width) for seconds in times])


@dataclass
class HandClock:
    """Seconds that pass when somebody looks at them (a microsecond each time) or sleeps.

    A sleep ends late by `late_seconds`.
    """

    now: float = 1000.0
    late_seconds: float = 0.0
    sleeps: int = 0
    """How often somebody slept."""

    def monotonic(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.sleeps += 1
        self.now += seconds + self.late_seconds

    @contextmanager
    def installed(self) -> Iterator[HandClock]:
        """Let `real_time` go by it meanwhile."""
        with real_time.simulated(self.monotonic, self.sleep):
            yield self
