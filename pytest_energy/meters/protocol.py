"""What a meter is: cumulative joules by domain, and what must be known to believe them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, TypeAlias, runtime_checkable

from pytest_energy.outcomes import Method

TOO_SHORT = "too short"
FOREIGN = "foreign process"


PowerTrace: TypeAlias = tuple[tuple[float, float], ...]
"""Power over a window: (seconds since its work began, W)."""


@dataclass(frozen=True)
class Device:
    """One metered device; its joules go by its `domain` (`gpu:0`, `cpu`, `dram`, `wall`)."""

    domain: str
    name: str
    uuid: str
    power_limit_watts: float | None = None
    driver: str | None = None
    max_sm_clock_mhz: int | None = None
    application_sm_clock_mhz: int | None = None


@dataclass(frozen=True)
class Reading:
    """Cumulative joules by domain since the meter was opened, and `time.monotonic()` when read."""

    seconds: float
    joules: Mapping[str, float]


@dataclass(frozen=True)
class Conditions:
    """What was true of the devices at one moment, as far as it bears on whether joules are valid.

    `faults` are sentences that begin with the vocabulary's word (`throttled`, `foreign process`,
    `counter reset`, `clock jump`, `device lost`, …): any of them makes the window invalid.
    `notes` are figures worth keeping beside it (temperatures, clocks), by name with its unit.
    """

    faults: tuple[str, ...] = ()
    notes: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Meter(Protocol):
    """A source of joules. Implementations live one a module; third parties add entry points."""

    name: str
    method: Method
    devices: tuple[Device, ...]
    update_period_seconds: float
    """Time between updates of the source; 0.0 where each reading is fresh."""
    resolution_joules: float

    def read(self) -> Reading:
        """Cumulative joules by domain, now; raises `EnergyError` if a device is lost."""

    def conditions(self) -> Conditions:
        """Whether joules read now can be believed; cheap enough to be called in a window."""

    def close(self) -> None:
        """Stop threads and release the source; a second call does nothing."""


@dataclass(frozen=True)
class Measured:
    """Joules of a finished window by domain, how far their sum may be off (J), and what is wrong.

    `faults` begin with the vocabulary's word as in `Conditions`; `notes` are figures by name.
    `power` gives each domain's power for plots, from samples that the meter took anyway; it is
    called once the window is over, so that it costs nothing in it.
    """

    joules_by_domain: Mapping[str, float]
    uncertainty_joules: float
    faults: tuple[str, ...] = ()
    notes: Mapping[str, float] = field(default_factory=dict)
    power: Callable[[], Mapping[str, PowerTrace]] | None = None


class Span(Protocol):
    """A window that a meter has begun; `started` is `time.monotonic()` when its work began.

    It may have `work_started(seconds)`, to be told that work began only then, which is now.
    """

    started: float

    def end(self, ended: float) -> Measured:
        """Joules from `started` to `ended`, which was a moment ago; may wait for an update."""


@runtime_checkable
class WindowMeter(Meter, Protocol):
    """A meter that begins and ends windows itself, on updates of its source."""

    def begin(self) -> Span:
        """Begin a window now; may wait for an update of the source first."""


MOST_POINTS = 120
"""Points that a window keeps of each domain: what a plot can show, and no file grows by."""


def power_trace(samples: Iterable[tuple[float, float]], started: float, ended: float) -> PowerTrace:
    """Samples (time in s, W) between two times, as (s since the first, W), thinned evenly."""
    inside = [(at, watts) for at, watts in samples if started <= at <= ended]
    every = -(-len(inside) // MOST_POINTS) or 1
    return tuple((round(at - started, 4), round(watts, 3)) for at, watts in inside[::every])


def mean_powers(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The mean power (W) between points (time in s, cumulative J), each halfway between two."""
    return [
        ((earlier + later) / 2, (after - before) / (later - earlier))
        for (earlier, before), (later, after) in pairwise(curve)
        if later > earlier
    ]


LATENCY_SECONDS = 0.0001
"""Between a reading and its time stamp."""


class PlainSpan:
    """A window from one reading to another, good to an update at either end."""

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


def no_update(period_seconds: float, seconds: float) -> str:
    """The fault of a window that its source slept through: 0 J then say nothing of the work."""
    return (
        f"no update: the source, renewed about every {period_seconds:.3g} s, did not move in "
        f"{seconds:.3g} s; give the window more work"
    )
