"""The metering process's end of a side's meter: spans begun for it, and calls answered."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any

from pytest_energy.compare.protocol import Channel, Message
from pytest_energy.errors import EnergyError
from pytest_energy.metering import begin_span
from pytest_energy.meters.protocol import Measured, Meter, Span


class MeterCalls:
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
            fields = self._called(message)
        except EnergyError as error:
            fields = {"error": str(error)}
        self._channel.send("answer", **fields)

    def _called(self, message: Message) -> dict[str, Any]:
        kind = message["kind"]
        if kind == "begin":
            span = begin_span(self._meter)
            number = next(self._numbers)
            self._spans[number] = span
            restarts = hasattr(span, "work_started")
            return {"number": number, "started": span.started, "restarts": restarts}
        if kind == "work_started":
            restart = getattr(self._spans[message["number"]], "work_started", None)
            if restart is not None:
                restart(message["seconds"])
            return {}
        if kind == "end":
            self.ended += 1
            return _fields(self._spans.pop(message["number"]).end(message["ended"]))
        if kind == "read":
            reading = self._meter.read()
            return {"seconds": reading.seconds, "joules": dict(reading.joules)}
        return asdict(self._meter.conditions())


def _fields(measured: Measured) -> dict[str, Any]:
    return {
        "joules_by_domain": dict(measured.joules_by_domain),
        "uncertainty_joules": measured.uncertainty_joules,
        "faults": list(measured.faults),
        "notes": dict(measured.notes),
        # The window is over, so that putting its power together costs it nothing.
        "power": None if measured.power is None else dict(measured.power()),
    }
