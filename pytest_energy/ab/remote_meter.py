"""The meter as a side sees it: each call is answered by the process that meters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from pytest_energy.errors import EnergyError
from pytest_energy.metering import begin_span
from pytest_energy.meters.protocol import (
    Conditions,
    Device,
    Measured,
    Meter,
    PowerTrace,
    Reading,
    Span,
)
from pytest_energy.outcomes import Method
from pytest_energy.processes import Channel, Message

CALLS = frozenset({"begin", "work_started", "end", "read", "conditions"})


class RemoteSpan:
    """A window that the metering process has begun."""

    def __init__(self, channel: Channel, begun: Message) -> None:
        self.started: float = begun["started"]
        self._channel = channel
        self._number = begun["number"]
        if begun["restarts"]:
            self.work_started = self._work_started

    def end(self, ended: float) -> Measured:
        """Joules from `started` to `ended`, on the clock that all processes share."""
        answer = ask(self._channel, "end", number=self._number, ended=ended)
        power = answer["power"]
        return Measured(
            answer["joules_by_domain"],
            answer["uncertainty_joules"],
            tuple(answer["faults"]),
            answer["notes"],
            None if power is None else lambda: _traces(power),
        )

    def _work_started(self, seconds: float) -> None:
        ask(self._channel, "work_started", number=self._number, seconds=seconds)


class RemoteMeter:
    """A meter that another process has open; `facts` are those of `facts_of`."""

    def __init__(self, channel: Channel, facts: Mapping[str, Any]) -> None:
        self.name: str = facts["name"]
        self.method: Method = cast(Method, facts["method"])
        self.devices = tuple(Device(**device) for device in facts["devices"])
        self.update_period_seconds: float = facts["update_period_seconds"]
        self.resolution_joules: float = facts["resolution_joules"]
        self._channel = channel

    def begin(self) -> RemoteSpan:
        """Begin a window now; may wait for an update of the source first."""
        return RemoteSpan(self._channel, ask(self._channel, "begin"))

    def read(self) -> Reading:
        """Cumulative joules by domain since the meter was opened (J)."""
        answer = ask(self._channel, "read")
        return Reading(answer["seconds"], answer["joules"])

    def conditions(self) -> Conditions:
        """What is wrong with the devices now."""
        answer = ask(self._channel, "conditions")
        return Conditions(tuple(answer["faults"]), answer["notes"])

    def close(self) -> None:
        """Nothing is held here."""


def _traces(power: Mapping[str, Any]) -> dict[str, PowerTrace]:
    return {domain: tuple((x, y) for x, y in points) for domain, points in power.items()}


def facts_of(meter: Meter) -> dict[str, Any]:
    """What a `RemoteMeter` is made of, of builtin types alone."""
    return {
        "name": meter.name,
        "method": meter.method,
        "devices": [asdict(device) for device in meter.devices],
        "update_period_seconds": meter.update_period_seconds,
        "resolution_joules": meter.resolution_joules,
    }


def ask(channel: Channel, kind: str, **fields: Any) -> Message:
    """Call the meter; raises `EnergyError` if the call does."""
    channel.send(kind, **fields)
    answer = channel.receive()
    assert answer is not None, "waiting without a timeout ends with a message"
    if "error" in answer:
        raise EnergyError(answer["error"])
    return answer


class MeterServer:
    """Answers one side's calls; `ended` counts the windows that it closed."""

    def __init__(self, meter: Meter, channel: Channel) -> None:
        self.ended = 0
        self._meter = meter
        self._channel = channel
        self._spans: dict[int, Span] = {}
        self._numbers = itertools.count()

    def answer(self, message: Message) -> None:
        """Do what a message asks of the meter, and send what came of it."""
        try:
            fields = self._called(**message)
        except EnergyError as error:
            fields = {"error": str(error)}
        self._channel.send("answer", **fields)

    def _called(
        self, kind: str, number: int = -1, seconds: float = 0.0, ended: float = 0.0
    ) -> dict[str, Any]:
        if kind == "begin":
            span = begin_span(self._meter)
            number = next(self._numbers)
            self._spans[number] = span
            restarts = hasattr(span, "work_started")
            return {"number": number, "started": span.started, "restarts": restarts}
        if kind == "work_started":
            getattr(self._spans[number], kind)(seconds)
            return {}
        if kind == "end":
            self.ended += 1
            measured = self._spans.pop(number).end(ended)
            return {
                "joules_by_domain": dict(measured.joules_by_domain),
                "uncertainty_joules": measured.uncertainty_joules,
                "faults": measured.faults,
                "notes": dict(measured.notes),
                # The window is over, so that putting its power together costs it nothing.
                "power": None if measured.power is None else dict(measured.power()),
            }
        if kind == "read":
            reading = self._meter.read()
            return {"seconds": reading.seconds, "joules": dict(reading.joules)}
        conditions = self._meter.conditions()
        return {"faults": conditions.faults, "notes": dict(conditions.notes)}
