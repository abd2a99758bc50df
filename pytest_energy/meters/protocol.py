"""What a meter is: cumulative joules by domain, and what must be known to believe them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

Method = Literal["counter", "integrated", "modelled", "external"]

PowerTrace: TypeAlias = "tuple[tuple[float, float], ...]"
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
