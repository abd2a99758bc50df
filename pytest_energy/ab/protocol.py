"""What a side and the process that meters say to each other: faults, checks, calls of the meter."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any, Literal, cast

from pytest_energy.ab.side_place import SidePlace
from pytest_energy.channels import Channel, Message
from pytest_energy.checks.measuring import Run
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
    Unseen,
)
from pytest_energy.outcomes import Method
from pytest_energy.processes import signal_name
from pytest_energy.results.json_codec import as_json, from_json

VERSION = 5
"""To be raised whenever a message changes; sides of another version are refused by name."""

Kind = Literal[
    "absent", "died", "failed", "hung", "import", "memory", "mixed", "other", "skipped", "start",
    "version",
]  # fmt: skip

_WORDS: dict[Kind, str] = {
    "absent": "does not have this test",
    "died": "died",
    "failed": "fails",
    "hung": "hangs",
    "import": "cannot be imported",
    "memory": "ran out of memory",
    "mixed": "runs code of the other side",
    "other": "does other work",
    "skipped": "skips this test",
    "start": "does not start",
    "version": "speaks another version of the protocol",
}

OF_ITS_CODE = tuple(_WORDS[kind] for kind in ("died", "failed", "hung", "import"))
"""What is said of a side whose test or code is at fault."""

THE_SAME = "give both sides the same"


class SideFaultError(EnergyError):
    """A side that cannot be measured; `tail` is the end of what it printed, pytest's report too."""

    def __init__(self, place: SidePlace, kind: Kind, text: str, tail: str = "") -> None:
        super().__init__(f"the {place.name} (`{place.reference}`) {_WORDS[kind]}: {text}")
        self.side, self.kind, self.text, self.tail = place.name, kind, text, tail


def last_error(text: str) -> str | None:
    """The last line of a report that names an error."""
    lines = [line.removeprefix("E ").strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if "Error" in line or "ERROR" in line), None)


def ending(exit_code: int) -> tuple[Kind, str]:
    """What the end of a side's process says; the kernel kills by SIGKILL if memory runs out."""
    name = signal_name(exit_code)
    if exit_code == -signal.SIGKILL:
        return "memory", f"its process was killed ({name}), as the kernel does to free memory"
    ended = f"was ended by {name}" if name else f"ended with code {exit_code}"
    return "died", f"its process {ended}"


def is_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what it came from, says that memory ran out."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def expect(message: Message, kind: str) -> Message:
    """The message, if it is of a kind; raises `EnergyError` otherwise."""
    if message["kind"] != kind:
        raise EnergyError(
            f"a side sent `{message['kind']}` where `{kind}` was due; both sides need a "
            f"pytest-energy that speaks version {VERSION} of the protocol"
        )
    return message


@dataclass(frozen=True)
class RunFacts:
    """What a side says of one of its runs; `fields` are its workload's, if it has any."""

    id: str
    digest: str | None
    padding_overhead: float | None
    tokens: int | None
    parameters: tuple[int, int] | None
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, run: Run) -> RunFacts:
        """The facts of a run, of builtin types alone."""
        tokens, parameters = getattr(run, "tokens", None), getattr(run, "parameters", None)
        workload, settings = getattr(run, "workload", None), getattr(run, "settings", None)
        instance = is_dataclass(workload) and not isinstance(workload, type)
        fields = asdict(cast(Any, workload)) if instance else {}
        return cls(
            id=str(run.id),
            digest=None if run.digest is None else str(run.digest),
            padding_overhead=None if run.padding_overhead is None else float(run.padding_overhead),
            tokens=tokens if isinstance(tokens, int) else None,
            # On a module of torch it is a method.
            parameters=parameters if isinstance(parameters, tuple) else None,
            fields={**fields, **(settings if isinstance(settings, Mapping) else {})},
        )


_MUST_AGREE = ("task", "model", "architecture", "data", "seed", "lora")
"""Where these differ nothing is left to compare; what else differs is what the change is about."""


def other_work(base: RunFacts, head: RunFacts) -> str | None:
    """Why a run cannot be compared, its task, model or data being another; None if it can."""
    if base.id != head.id:
        return (
            f"the base fine-tunes `{base.id}` and the head `{head.id}`: another task or model "
            f"cannot be compared; {THE_SAME}, or compare them as runs of one test"
        )
    for name in _MUST_AGREE:
        old, new = base.fields.get(name), head.fields.get(name)
        if base.fields and head.fields and old != new:
            return (
                f"`{name}` of `{head.id}` is {old!r} in the base and {new!r} in the head: that is "
                f"other work, which cannot be compared; {THE_SAME}"
            )
    return None


def changed_settings(base: RunFacts, head: RunFacts) -> tuple[dict[str, str], dict[str, str]]:
    """What differs in the work itself, padding policy or batch size, as (old, new) by name."""
    names = [n for n in head.fields if n in base.fields and base.fields[n] != head.fields[n]]
    if not names and base.digest != head.digest:
        return {"workload": str(base.digest)}, {"workload": str(head.digest)}
    old = {name: str(base.fields[name]) for name in names}
    return old, {name: str(head.fields[name]) for name in names}


@dataclass(frozen=True)
class Ready:
    """A check that a side has come to, by its number from 0, and what will be measured for it."""

    check: int
    metric: str
    name: str | None
    runs: tuple[RunFacts, ...]
    environment: Mapping[str, str]


CALLS = frozenset({"begin", "work_started", "end", "unseen", "read", "conditions"})


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
        answer = _ask(self._channel, "end", number=self._number, ended=ended)
        power, is_partial = answer.pop("power"), answer.pop("is_partial")
        measured = from_json(Measured, answer)
        if power is not None:
            measured = replace(measured, power=lambda: _traces(power))
        return replace(measured, unseen=self._unseen) if is_partial else measured

    def _unseen(self, step_seconds: float | None) -> Unseen:
        seconds = step_seconds or 0.0
        asked = _ask(self._channel, "unseen", number=self._number, seconds=seconds)
        return from_json(Unseen, asked)

    def _work_started(self, seconds: float) -> None:
        _ask(self._channel, "work_started", number=self._number, seconds=seconds)


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
        return RemoteSpan(self._channel, _ask(self._channel, "begin"))

    def read(self) -> Reading:
        """Cumulative joules by domain since the meter was opened (J)."""
        return from_json(Reading, _ask(self._channel, "read"))

    def conditions(self) -> Conditions:
        """What is wrong with the devices now."""
        return from_json(Conditions, _ask(self._channel, "conditions"))

    def close(self) -> None:
        """Nothing is held here."""


def _traces(power: Mapping[str, Any]) -> dict[str, PowerTrace]:
    return {domain: tuple((x, y) for x, y in points) for domain, points in power.items()}


def _ask(channel: Channel, kind: str, **fields: Any) -> Message:
    """Call the meter; raises `EnergyError` if the call does."""
    channel.send(kind, **fields)
    answer = channel.receive()
    assert answer is not None, "waiting without a timeout ends with a message"
    if "error" in answer:
        raise EnergyError(answer["error"])
    return answer


def facts_of(meter: Meter) -> dict[str, Any]:
    """What a `RemoteMeter` is made of, of builtin types alone."""
    names = ("name", "method", "devices", "update_period_seconds", "resolution_joules")
    return {name: as_json(getattr(meter, name)) for name in names}


class MeterServer:
    """Answers one side's calls; `ended` counts the windows that it closed."""

    def __init__(self, meter: Meter, channel: Channel) -> None:
        self.ended = 0
        self._meter = meter
        self._channel = channel
        self._spans: dict[int, Span] = {}
        self._unseen: dict[int, Callable[[float | None], Unseen]] = {}
        """What the last window's sensor did not see, to be asked for by the length of its steps."""
        self._numbers = itertools.count()

    def answer(self, message: Message) -> None:
        """Do what a message asks of the meter, and send what came of it."""
        try:
            fields = self._called(**message)
        except EnergyError as error:
            fields = {"error": str(error)}
        self._channel.send("answer", **fields)

    def _called(
        self,
        kind: str,
        number: int = -1,
        seconds: float = 0.0,
        ended: float = 0.0,
        **unknown: object,
    ) -> dict[str, Any]:
        figures = all(isinstance(each, int | float) for each in (number, seconds, ended))
        known: Mapping[str, Mapping[int, object]]
        known = {"work_started": self._spans, "end": self._spans, "unseen": self._unseen}
        if unknown or not figures or (kind in known and number not in known[kind]):
            raise EnergyError(
                f"a side asked for `{kind}` in a way that no version of ours does; does its code "
                "write to our pipe?"
            )
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
            # The window is over, so that putting its power together costs it nothing.
            power = None if measured.power is None else as_json(measured.power())
            self._unseen = {} if measured.unseen is None else {number: measured.unseen}
            fields: dict[str, Any] = as_json(replace(measured, power=None, unseen=None))
            return {**fields, "power": power, "is_partial": bool(self._unseen)}
        if kind == "unseen":
            return dict(as_json(self._unseen[number](seconds or None)))
        read = self._meter.read if kind == "read" else self._meter.conditions
        return dict(as_json(read()))
