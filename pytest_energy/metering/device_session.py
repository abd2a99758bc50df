"""One run's devices: the meter, their locks, their idle power, and what the run spends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from pytest_energy.clocks import real_time
from pytest_energy.documents import NotNegative
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window, window
from pytest_energy.metering.device_lock import device_lock
from pytest_energy.metering.hardware import Hardware, identify
from pytest_energy.meters import Meter, open_meter
from pytest_energy.meters.protocol import IMPLAUSIBLE, Device, is_module
from pytest_energy.meters.sensors import Qualified


@dataclass(frozen=True)
class RunCost:
    """What a run itself cost while it held the devices: gross joules and seconds.

    `complete` is False if a device was lost, so that the joules are a lower bound.
    """

    joules: NotNegative = 0.0
    seconds: NotNegative = 0.0
    complete: bool = True

    def __add__(self, other: RunCost) -> RunCost:
        return RunCost(
            self.joules + other.joules,
            self.seconds + other.seconds,
            self.complete and other.complete,
        )


class Listener(Protocol):
    """Who is told what happens to the devices meanwhile."""

    def note(self, text: str) -> None:
        """Something a person must know now, such as whom the run waits for."""

    def waited(self, seconds: float) -> None:
        """Time that went into waiting for other runs."""


class Silent:
    """A listener that tells nobody."""

    def note(self, text: str) -> None:
        """Nothing."""

    def waited(self, seconds: float) -> None:
        """Nothing."""


class DeviceSession:
    """The devices of one run; nothing is opened before it is asked for.

    `known` gives the hardware keys with their device-name globs, `asked` the key that the run
    names (`auto`: whatever is found). `qualified` gives what experiments found of cards, by UUID.
    """

    def __init__(
        self,
        meter: str,
        listener: Listener,
        *,
        asked: str = "auto",
        known: Callable[[], Mapping[str, tuple[str, ...]]] = dict,
        qualified: Callable[[], Mapping[str, Qualified]] = dict,
        lock_timeout_seconds: float = 600.0,
        idle_seconds: float = 0.0,
    ) -> None:
        self.cost = RunCost()
        self.load_seconds = 0.0
        """Seconds of gated windows that the run has metered so far, warm-up included."""
        self.idle_watts: float | None = None
        self._idle: Window | None = None
        self._meter_name, self._listener = meter, listener
        self._asked, self._known, self._qualified = asked, known, qualified
        self._lock_timeout_seconds, self._idle_seconds = lock_timeout_seconds, idle_seconds
        self._depth = 0

    @classmethod
    def over(cls, meter: Meter) -> DeviceSession:
        """A session on a meter that somebody else has open, and whose devices they hold."""
        session = cls(meter.name, Silent())
        session.meter = meter
        session._depth = 1
        return session

    @cached_property
    def meter(self) -> Meter:
        """The run's one meter; raises `EnergyError` if none works."""
        return open_meter(self._meter_name, qualified=self._qualified())

    @cached_property
    def hardware(self) -> Hardware:
        """What is measured on; its key is the one asked for if that file fits the devices."""
        known = self._known()
        keys = [self._asked, *(key for key in known if key != "cpu")]
        return identify(self.meter, {key: known[key] for key in keys if key in known})

    @property
    def identified(self) -> Hardware | None:
        """The hardware if the run has looked at it, else None."""
        return self.hardware if "hardware" in self.__dict__ else None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of the meter's figures, if it is open and says so."""
        return tuple(getattr(self.__dict__.get("meter"), "remarks", ()))

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Hold the devices' locks, and count what is spent meanwhile; nests."""
        if self._depth:
            yield
            return
        names = [device.uuid or device.domain for device in self.meter.devices]
        asked = real_time.monotonic()
        with device_lock(names, self._lock_timeout_seconds, self._listener.note):
            started, before = real_time.monotonic(), self._joules()
            self._depth += 1
            try:
                self._listener.waited(started - asked)
                self._measure_idle()
                yield
            finally:
                self._depth -= 1
                self.cost += self._spent_since(before, real_time.monotonic() - started)

    def unused_in(self, done: Window) -> tuple[Device, ...]:
        """The GPUs that a window of now metered while they rested, and no process of ours computed.

        Both must be known: idle power was measured, and the meter tells who computes.
        """
        idle, unused = self._idle, getattr(self.meter, "unused", None)
        if idle is None or unused is None or not done.valid:
            return ()
        resting = [
            device
            for device in self.meter.devices
            if not is_module(device.domain)  # work on its CPU is in its joules, too
            and _watts(done, device) <= RESTING * _watts(idle, device)
        ]
        try:
            domains = unused() if resting else ()
        except EnergyError:
            return ()
        return tuple(device for device in resting if device.domain in domains)

    def close(self) -> None:
        """Close the meter if it was opened; a second call does nothing."""
        meter = self.__dict__.pop("meter", None)
        if meter is not None:
            meter.close()

    def _measure_idle(self) -> None:
        """Once, before the first test's work."""
        seconds, self._idle_seconds = self._idle_seconds, 0.0
        if seconds and self.meter.method != "modelled":
            try:
                self._idle = idle_window(self.meter, seconds)
                self.idle_watts = self._idle.mean_watts
            except EnergyError as error:
                self._listener.note(str(error))

    def _joules(self) -> float | None:
        try:
            return sum(self.meter.read().joules.values())
        except EnergyError:
            return None

    def _spent_since(self, before: float | None, seconds: float) -> RunCost:
        after = self._joules()
        if before is None or after is None or after < before:
            return RunCost(0.0, seconds, complete=False)
        return RunCost(after - before, seconds)


RESTING = 1.1
"""Times its idle power up to which a device is taken to rest."""


def _watts(window: Window, device: Device) -> float:
    return window.joules_by_domain.get(device.domain, 0.0) / max(window.seconds, 1e-9)


def idle_watts(meter: Meter, seconds: float) -> float:
    """Mean power (W) of a metered stretch in which this process does nothing."""
    return idle_window(meter, seconds).mean_watts


def idle_window(meter: Meter, seconds: float) -> Window:
    """A metered stretch in which this process does nothing.

    A meter that shows no joules in it is at 0 W. Raises `EnergyError` if it was disturbed.
    """
    with window(meter, "idle") as opened:
        real_time.sleep(seconds)
    record = opened.record
    reason = record.invalid_reason or ""
    nothing = record.joules == 0 and reason.startswith(IMPLAUSIBLE)
    # So small a power may be known coarsely only, which is known well enough to be taken off.
    if record.valid or nothing or record.is_too_short:
        return record
    raise EnergyError(f"idle power is not known: {reason}")
