"""What a meter is: cumulative joules by domain, and what must be known to believe them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from pytest_energy.errors import EnergyError
from pytest_energy.outcomes import Method

# What a window's reason to be invalid begins with: nothing else spells these words.
ALIASED = "aliased"
CLOCK_JUMP = "clock jump"
COUNTER_RESET = "counter reset"
DEVICE_LOST = "device lost"
FOREIGN = "foreign process"
IMPLAUSIBLE = "implausible"
LIMIT_CHANGED = "power limit changed"
NO_UPDATE = "no update"
NOT_WATCHED = "not watched"
READING_MISSING = "wall reading missing"
SOURCES_DISAGREE = "sources disagree"
STANDS_STILL = "counter stands still"
THROTTLED = "throttled"
TOO_SHORT = "too short"
UNSEEN_WORK = "unseen work"
WAITED = "waited for a core"
LIMIT_MARGIN = 1.1
"""A device overshoots its power limit for moments, never by this factor over a window."""
MOST_WATTS = 2000.0
"""What a card, a processor or its memory draws at most if its limit is not known."""
MOST_WATTS_OF_MODULE = 4000.0
"""What a processor draws at most together with its GPUs and their memory."""
MODULE_SCOPE = "CPU, GPU and memory"
"""What the joules of a `module` domain are of."""
LAG_SECONDS = 0.1
"""How much later than they were spent a source may show joules."""
LATENCY_SECONDS = 0.0001
"""Between a reading and its time stamp."""


def fault(word: str, what: str) -> str:
    """The reason that a window is invalid: the vocabulary's word, then what was seen."""
    return f"{word}: {what}"


class FaultLog:
    """The last faults that were found, with their times (s)."""

    def __init__(self) -> None:
        self._found: deque[tuple[float, str]] = deque(maxlen=64)
        self._lock = threading.Lock()

    def add(self, seconds: float, reason: str) -> None:
        """Keep what was wrong at that time."""
        with self._lock:
            self._found.append((seconds, reason))

    def since(self, seconds: float) -> tuple[str, ...]:
        """What was wrong after that time, each reason once."""
        with self._lock:
            return tuple(dict.fromkeys(reason for at, reason in self._found if at > seconds))


class Opened:
    """Whether a meter is open in this process; a fork's copy has neither its threads nor locks."""

    def __init__(self, name: str) -> None:
        self._name, self._pid, self._closed = name, os.getpid(), False

    def check(self) -> None:
        """Raise `EnergyError` unless it is; to be called before any lock is taken."""
        if self._closed:
            raise EnergyError(f"meter `{self._name}` is closed: open another one")
        if self._pid != os.getpid():
            raise EnergyError(
                f"meter `{self._name}` was opened by another process, which this one was forked "
                "from: open one here"
            )

    def close(self) -> bool:
        """Whether there is anything to close: not a second time, and not in a fork."""
        closes = not self._closed and self._pid == os.getpid()
        self._closed = True
        return closes


ENDED_AT_ONCE = "the window ended at once: see that its code does its work"
_AT_ONCE_SECONDS = 0.001


def more_work(seconds: float) -> str:
    """What to do about a window of so many seconds (s) that is too short to be measured."""
    return ENDED_AT_ONCE if seconds < _AT_ONCE_SECONDS else "give the window more work"


def no_update(period_seconds: float, seconds: float) -> str:
    """The fault of a window that its source slept through: 0 J then say nothing of the work."""
    return fault(
        NO_UPDATE,
        f"the source, renewed about every {period_seconds:.3g} s, did not move in "
        f"{seconds:.3g} s; {more_work(seconds)}",
    )


PowerTrace: TypeAlias = tuple[tuple[float, float], ...]
"""Power over a window: (seconds since its work began, W)."""


@dataclass(frozen=True)
class Device:
    """One metered device; its joules go by its `domain`: `gpu:0`, `cpu`, `dram`, `wall`.

    Those of `module:0` are a GPU's together with its CPU's and memory's; the rest is the GPU's.
    """

    domain: str
    name: str
    uuid: str
    power_limit_watts: float | None = None
    driver: str | None = None
    max_sm_clock_mhz: int | None = None
    application_sm_clock_mhz: int | None = None

    @property
    def has_gpu(self) -> bool:
        """Whether its joules are a GPU's, or a GPU's and others'."""
        return has_gpu(self.domain)

    @property
    def shown(self) -> str:
        """Its name, and what its joules are of, if that is more than the name says."""
        return shown_name(self.domain, self.name)

    @property
    def joules_limit_watts(self) -> float | None:
        """The limit that its joules keep to (W); a module's is not known, only its GPU's."""
        return None if is_module(self.domain) else self.power_limit_watts

    @property
    def most_watts(self) -> float:
        """What it draws at most (W)."""
        most = MOST_WATTS_OF_MODULE if is_module(self.domain) else MOST_WATTS
        return self.joules_limit_watts or most


def has_gpu(domain: str) -> bool:
    """Whether a domain's joules are a GPU's, or a GPU's and others'."""
    return domain.startswith("gpu") or is_module(domain)


def is_module(domain: str) -> bool:
    """Whether a domain's joules are those of CPU, GPU and memory together."""
    return domain.startswith("module")


def shown_name(domain: str, name: str) -> str:
    """A device's name, and what its joules are of, if that is more than the name says."""
    return f"{name} ({MODULE_SCOPE})" if is_module(domain) else name


@dataclass(frozen=True)
class Reading:
    """Cumulative joules by domain since the meter was opened, and `time.monotonic()` when read."""

    seconds: float
    joules: Mapping[str, float]


@dataclass(frozen=True)
class Conditions:
    """What was true of the devices at one moment, as far as it bears on whether joules are valid.

    `faults` are sentences that begin with the vocabulary's word (`THROTTLED`, `FOREIGN`, …): any
    of them makes the window invalid.
    `notes` are figures worth keeping beside it (temperatures, clocks), by name with its unit.
    """

    faults: tuple[str, ...] = ()
    notes: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Meter(Protocol):
    """A source of joules. Implementations live one a module; third parties add entry points.

    One that begins and ends windows on updates of its source has `begin() -> Span`, too; one that
    looks at it between readings has `faults_since(seconds)`: what was found wrong after a reading.
    One whose formula may change has `estimate`: figures of another one cannot be compared.
    `remarks` are sentences on the source that a person should read once.
    """

    name: str
    method: Method
    devices: tuple[Device, ...]
    update_period_seconds: float
    """Time between updates of the source; 0.0 if each reading is fresh."""
    resolution_joules: float

    def read(self) -> Reading:
        """Cumulative joules by domain, now; raises `EnergyError` if a device is lost."""

    def conditions(self) -> Conditions:
        """Whether joules read now can be believed; cheap enough to be called in a window."""

    def close(self) -> None:
        """Stop threads and release the source; a second call does nothing."""


@dataclass(frozen=True)
class Unseen:
    """How far joules may be off (J) for what a sensor did not see, with what follows from it.

    `fault` makes the window invalid; `remark` is for a person.
    """

    joules: float
    fault: str | None = None
    remark: str | None = None


@dataclass(frozen=True)
class Measured:
    """Joules of a finished window by domain, how far their sum may be off (J), and what is wrong.

    `faults` begin with the vocabulary's word as in `Conditions`; `notes` are figures by name.
    `power` gives each domain's power for plots, from samples that the meter took anyway; it is
    called once the window is over, so that it costs nothing in it. So is `unseen`, with the length
    of the work's steps (s), or None: what a sensor that looks part of the time leaves unknown. It
    finds a fault only if there are steps.
    """

    joules_by_domain: Mapping[str, float]
    uncertainty_joules: float
    faults: tuple[str, ...] = ()
    notes: Mapping[str, float] = field(default_factory=dict)
    power: Callable[[], Mapping[str, PowerTrace]] | None = None
    unseen: Callable[[float | None], Unseen] | None = None


class Span(Protocol):
    """A window that a meter has begun; `started` is `real_time.monotonic()` when its work began.

    It may have `work_started(seconds)`, to be told that work began only then, which is now.
    """

    started: float

    def end(self, ended: float) -> Measured:
        """Joules from `started` to `ended`, which was a moment ago; may wait for an update."""


MOST_POINTS = 120
"""Points that a window keeps of each domain: what a plot can show, and no file grows by."""


def power_trace(samples: Iterable[tuple[float, float]], started: float, ended: float) -> PowerTrace:
    """Samples (time in s, W) between two times, as (s since the first, W), thinned evenly."""
    inside = [(at, watts) for at, watts in samples if started <= at <= ended]
    every = -(-len(inside) // MOST_POINTS) or 1
    return tuple((round(at - started, 4), round(watts, 3)) for at, watts in inside[::every])
