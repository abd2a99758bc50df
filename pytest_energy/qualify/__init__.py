"""What a GPU's energy counter and power sensor can do, found by experiment on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from pytest_energy.meters.sensors import SEES_ALL, Feed, Sensor

SCHEMA: Final = 1
PART: Final = 0.9
"""A window of less than this share of the period is a part of it."""


class Load(Protocol):
    """Work for one card that is switched from one moment to the next."""

    text: str
    """What the card does, for a person."""

    def on(self, *, mild: bool = False) -> float:
        """Let the card work from now on, as hard as it can or a good deal less; the time (s)."""

    def off(self) -> float:
        """Let it rest from now on; the time (s)."""


class Figure(float):
    """A number with `doubt`, the half-width that holds it 19 times in 20."""

    doubt: float

    def __new__(cls, value: float, doubt: float = 0.0) -> Figure:
        """Make one from its value and its half-width, which a copy is given afterwards."""
        made = super().__new__(cls, value)
        made.doubt = doubt
        return made


@dataclass(frozen=True)
class Source:
    """How a counter, or a power reading, is renewed and what it shows then.

    It is renewed every `period_seconds`, with a standard deviation of `jitter_seconds`, and shows
    the mean power of `window_seconds` that ended `lag_seconds` before. It is not `is_even` if it is
    renewed when somebody asks, about so long after the last time.
    """

    period_seconds: Figure
    jitter_seconds: float
    window_seconds: Figure
    lag_seconds: Figure
    is_even: bool = True

    @property
    def is_part(self) -> bool:
        """Whether it surely looks part of the time."""
        return self.window_seconds + self.window_seconds.doubt < PART * self.period_seconds

    @property
    def sees_all(self) -> bool:
        """Whether it surely looks at each moment once, about."""
        off = abs(self.window_seconds - self.period_seconds)
        return max(off, self.window_seconds.doubt) < SEES_ALL * self.period_seconds

    @property
    def figures(self) -> tuple[float, float, float, float, float]:
        """Period, window with its half-width, lag with its half-width (s)."""
        window, lag = self.window_seconds, self.lag_seconds
        return float(self.period_seconds), float(window), window.doubt, float(lag), lag.doubt

    @property
    def sensor(self) -> Sensor:
        """It as windows are metered by it."""
        return Sensor.found(*self.figures)


@dataclass(frozen=True)
class Beat:
    """A square load of a period near the counter's, and how far the counter's power scatters.

    Standard deviations as shares of the load's swing: seen, and as a counter of all that is drawn
    would have it.
    """

    step_seconds: float
    seen: float
    if_all_seen: float


@dataclass(frozen=True)
class Curve:
    """What a source showed after the load was switched on, and off: (s since, share of the swing).

    Each point is a renewal, at the time that it had.
    """

    on: tuple[tuple[float, float], ...]
    off: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class EvenWindow:
    """A window of even work: its length, and its joules with the uncertainty that it states."""

    seconds: float
    joules: float
    doubt_joules: float


@dataclass(frozen=True)
class EvenWork:
    """Windows of even work, metered as in a test: 1 and 2 passes in turn.

    `cv` is that of their power, `autocorrelation` its lag 1. `intercept_joules` is what a window
    has that does not grow with its work (2 J1 - J2). `doubt_joules` is the uncertainty that a
    window states, the largest median of both lengths, and `cpu_seconds` what metering one costs.
    `each` are those that count, in order.
    """

    windows: int
    invalid: int
    cv: float
    autocorrelation: float
    intercept_joules: Figure
    doubt_joules: float
    cpu_seconds: float
    each: tuple[EvenWindow, ...] = ()


@dataclass(frozen=True)
class Qualification:
    """What was found of one card; seconds, watts and joules. None: the card does not have it.

    `sees_all`: the counter surely misses nothing of what the card draws, whatever feeds it.
    `quantum_joules` divides all steps of the counter that were seen; `counter_to_readings` is the
    ratio of both under load. `rise_seconds` and `fall_seconds` are time constants of the power.
    `mild`: what was switched was milder work than `loaded_watts` is of.
    """

    name: str
    uuid: str
    driver: str
    date: str
    took_seconds: float
    feed: Feed
    sees_all: bool
    idle_watts: float
    loaded_watts: float
    energy_call_seconds: float | None
    power_call_seconds: float | None
    quantum_joules: float | None
    counter_to_readings: float | None
    counter: Source | None
    readings: Source | None
    rise_seconds: Figure
    fall_seconds: Figure
    beats: tuple[Beat, ...]
    even_work: EvenWork
    mild: bool = False
    counter_curve: Curve | None = None
    readings_curve: Curve | None = None
