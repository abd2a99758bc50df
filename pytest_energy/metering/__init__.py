"""Windows: joules over a stretch of work, with their uncertainty and whether they are valid."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pytest_energy.clocks import real_time
from pytest_energy.documents import AnyFloat, Count, Moment, NotNegative
from pytest_energy.errors import EnergyError
from pytest_energy.metering.validity import first_fault as first_fault
from pytest_energy.meters.protocol import (
    LATENCY_SECONDS,
    TOO_SHORT,
    Measured,
    Meter,
    PowerTrace,
    Reading,
    Span,
    Unseen,
    no_update,
)
from pytest_energy.outcomes import Method
from pytest_energy.text import one_line
from pytest_energy.units import quantity_with_uncertainty, ratio

TEMPERATURE = "temperature_celsius"
"""What the name of a note on a device's temperature ends with."""
STALE_SECONDS = 3600.0
"""Nothing that a meter dates is older, unless it goes by a clock that a test has patched."""


@dataclass(frozen=True)
class Window:
    """One metered stretch of work; joules are gross (idle included), waits for ticks excluded.

    `seconds` is the work's own time (s); `tokens` counts padding, `real_tokens` does not;
    `uncertainty_joules` is the half-width (J) that covers the true energy 19 times in 20.
    """

    name: str
    method: Method
    joules_by_domain: Mapping[str, float]
    seconds: NotNegative
    uncertainty_joules: float
    started: Moment
    """Unix time (s) at which the window began."""
    invalid_reason: str | None = None
    tokens: Count = 0
    real_tokens: Count = 0
    steps: Count = 0
    loss: AnyFloat | None = None
    notes: Mapping[str, AnyFloat] = field(default_factory=dict)
    power_by_domain: Mapping[str, PowerTrace] = field(default_factory=dict, repr=False)
    """Power (W) over the window if the meter samples it, else empty; nothing is gated on it."""

    @property
    def valid(self) -> bool:
        """Whether the joules can be used as evidence."""
        return self.invalid_reason is None

    @property
    def is_too_short(self) -> bool:
        """Whether its joules are uncertain and not wrong: the meter needs more of them."""
        return (self.invalid_reason or "").startswith(TOO_SHORT)

    @property
    def joules(self) -> float:
        """Joules of all domains together (J)."""
        return sum(self.joules_by_domain.values())

    @property
    def mean_watts(self) -> float:
        """Mean power over the window (W)."""
        return ratio(self.joules, self.seconds)

    @property
    def celsius(self) -> float | None:
        """The devices' mean temperature when the window ended (°C), if the meter tells it."""
        told = [value for name, value in self.notes.items() if name.endswith(TEMPERATURE)]
        return sum(told) / len(told) if told else None

    @property
    def joules_per_token(self) -> float:
        """Joules a processed token, padding included (J/token)."""
        return ratio(self.joules, self.tokens)

    @property
    def joules_per_real_token(self) -> float:
        """Joules a token that is not padding (J/token)."""
        return ratio(self.joules, self.real_tokens)

    @property
    def tokens_per_second(self) -> float:
        """Processed tokens per second (1/s)."""
        return ratio(self.tokens, self.seconds)


class OpenWindow:
    """A window while it runs; its figures can be read once the block has ended.

    They are those of `Window`; `joules` and `joules_by_domain` (J) and `mean_watts` (W) raise
    `EnergyError` if they cannot be believed.
    An exception in the block passes through and leaves no record. A device that is lost never
    interrupts the block: the window is invalid afterwards.
    """

    def __init__(
        self, meter: Meter, name: str, synchronize: Callable[[], None] | None = None
    ) -> None:
        self._meter = meter
        self._name = name
        self._synchronize = synchronize or _synchronize_cuda
        self._tokens = self._real_tokens = self._steps = 0
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forget what an earlier block left."""
        self._span: Span | None = None
        self._raised = ""
        self._measured: Measured | None = None
        self._missed: Unseen | None = None
        self._reasons: list[str] | None = None
        self._record: Window | None = None

    def __enter__(self) -> OpenWindow:
        self._begin_anew()
        self._synchronize()
        self._unix_seconds = real_time.unix_seconds()
        try:
            self._span = begin_span(self._meter)
        except EnergyError as error:
            self._failure = str(error)
        self._started = _by_our_clock(self._span.started) if self._span else real_time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            self._raised = one_line(f"{kind.__name__}: {error}".removesuffix(": "))
            return
        self._synchronize()
        ended = real_time.monotonic()
        self._measured = self._end(ended)
        self._seconds = ended - self._started

    def work_started(self) -> None:
        """Leave out what lies between the window's beginning and now, such as a wait for others.

        Where the meter cannot, it stays in the window's joules and seconds.
        """
        if restart := getattr(self._span, "work_started", None):
            self._started = real_time.monotonic()
            restart(self._started)

    def _end(self, ended: float) -> Measured:
        if self._span is not None:
            try:
                return self._span.end(ended)
            except EnergyError as error:
                self._failure = str(error)
        nothing = {device.domain: 0.0 for device in self._meter.devices}
        return Measured(nothing, 0.0, (self._failure,))

    def count_tokens(self, processed: int, real: int) -> None:
        """Add tokens worked on in the block: all of them, and those that are not padding."""
        self._tokens += processed
        self._real_tokens += real

    def count_steps(self, steps: int) -> None:
        """Add steps of the block, each of about the same length, such as batches.

        A sensor that looks part of the time may fall into step with them: their length tells.
        """
        self._steps += steps

    @property
    def joules_by_domain(self) -> Mapping[str, float]:
        """Joules by domain (J)."""
        measured, reason = self._judged()
        if reason and not reason.startswith(TOO_SHORT):
            raise EnergyError(
                f"window `{self._name}` has no joules to go by: {reason}; "
                "check `valid` first, or take what was read from `record`"
            )
        return measured.joules_by_domain

    @property
    def joules(self) -> float:
        """Joules of all domains together (J)."""
        return sum(self.joules_by_domain.values())

    @property
    def mean_watts(self) -> float:
        """Mean power (W)."""
        return ratio(self.joules, self.seconds)

    @property
    def seconds(self) -> float:
        """The work's own time (s)."""
        self._judged()
        return self._seconds

    @property
    def uncertainty_joules(self) -> float:
        """The half-width (J) that covers the true energy 19 times in 20."""
        return self.record.uncertainty_joules

    @property
    def valid(self) -> bool:
        """Whether the joules can be used as evidence."""
        return self.invalid_reason is None

    @property
    def invalid_reason(self) -> str | None:
        """Why they cannot, or None."""
        return self._judged()[1]

    @property
    def record(self) -> Window:
        """The finished window."""
        if self._record is None:
            self._record = self._put_together(*self._judged())
        return self._record

    def __repr__(self) -> str:
        if self._measured is None:
            state = f"its block raised {self._raised}" if self._raised else "not ended"
            return f"<window `{self._name}`: {state}>"
        done = self.record
        joules = quantity_with_uncertainty(done.joules, done.uncertainty_joules, "J")
        invalid = f"; invalid: {done.invalid_reason}" if done.invalid_reason else ""
        return f"<window `{self._name}`: {joules} in {done.seconds:.3g} s{invalid}>"

    # What follows is worked out once it is asked for, not at the window's end: it costs the run
    # time, and many a window is only asked for its joules.
    def _judged(self) -> tuple[Measured, str | None]:
        """What was measured, and why it is no evidence if it is none."""
        measured = self._measured
        if measured is None and self._raised:
            raise EnergyError(
                f"window `{self._name}` has no figures, because its block raised {self._raised}"
            )
        if measured is None:
            raise EnergyError(f"window `{self._name}` has not ended: read it after its block")
        if self._reasons is None:
            reason = first_fault(measured, self._seconds, self._meter.devices)
            # Without steps, nothing that a sensor does not see is a fault.
            missed = self._unseen(measured).fault if self._steps else None
            self._reasons = [each for each in (reason, missed) if each]
        return measured, "; ".join(self._reasons) or None

    def _unseen(self, measured: Measured) -> Unseen:
        """What the meter's sensor did not see; asked for once."""
        if self._missed is None:
            step_seconds = self._seconds / self._steps if self._steps else None
            self._missed = measured.unseen(step_seconds) if measured.unseen else Unseen(0.0)
        return self._missed

    def _put_together(self, measured: Measured, reason: str | None) -> Window:
        return Window(
            name=self._name,
            method=self._meter.method,
            joules_by_domain=measured.joules_by_domain,
            seconds=self._seconds,
            uncertainty_joules=measured.uncertainty_joules + self._unseen(measured).joules,
            started=self._unix_seconds,
            invalid_reason=reason,
            tokens=self._tokens,
            real_tokens=self._real_tokens,
            steps=self._steps,
            notes=measured.notes,
            power_by_domain=measured.power() if measured.power else {},
        )


def window(meter: Meter, name: str, synchronize: Callable[[], None] | None = None) -> OpenWindow:
    """Meter a block of work: `with window(meter, "train") as w: ...`, then `w.joules`."""
    return OpenWindow(meter, name, synchronize)


class TwoReadings:
    """A window on a meter that tells its cumulative joules alone: from one reading to another.

    It is good to an update of the source at either end.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        meter.read()  # what lies before the window says nothing about it
        self._first = _reading(meter)
        self._faults = meter.conditions().faults
        self.started = real_time.monotonic()

    def work_started(self, started: float) -> None:
        """Begin anew: a source that answers at once loses nothing by it."""
        self._first, self.started = _reading(self._meter), started

    def end(self, ended: float) -> Measured:
        """Joules between the readings; `ended` is when the work did (s)."""
        last = _reading(self._meter)
        conditions = self._meter.conditions()
        joules = {d: last.joules[d] - self._first.joules.get(d, 0.0) for d in last.joules}
        watts = sum(joules.values()) / max(last.seconds - self._first.seconds, 1e-9)
        late = max(0.0, last.seconds - ended) + max(0.0, self.started - self._first.seconds)
        period = self._meter.update_period_seconds
        doubt = watts * (period + late + LATENCY_SECONDS)
        faults_since = getattr(self._meter, "faults_since", lambda _: ())
        found = (*self._faults, *conditions.faults, *faults_since(self._first.seconds))
        faults = tuple(dict.fromkeys(found))
        if period and not faults and not any(joules.values()):
            faults = (no_update(period, ended - self.started),)
        doubt += len(joules) * self._meter.resolution_joules
        return Measured(joules, doubt, faults, conditions.notes)


def _reading(meter: Meter) -> Reading:
    reading = meter.read()
    return replace(reading, seconds=_by_our_clock(reading.seconds))


def _by_our_clock(seconds: float) -> float:
    """When a meter says that something was just now; now, if it goes by another clock than ours."""
    now = real_time.monotonic()
    return seconds if 0 <= now - seconds <= STALE_SECONDS else now


def begin_span(meter: Meter) -> Span:
    """Begin a window on any meter: on its own terms if it has some, else by two readings."""
    # Not `isinstance`: checking a protocol's members costs more than the rest of the beginning.
    begin = getattr(meter, "begin", None)
    span: Span = TwoReadings(meter) if begin is None else begin()
    return span


def _synchronize_cuda() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        # On a card that nothing uses it would open a context, which draws power from then on.
        is_used = getattr(torch._C, "_cuda_hasPrimaryContext", lambda _: True)
        for i in filter(is_used, range(torch.cuda.device_count())):
            torch.cuda.synchronize(i)
