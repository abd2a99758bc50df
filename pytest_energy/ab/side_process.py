"""The metering process's handle of one side: start it, take its checks, buy windows, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_energy.ab.messages import (
    POLL_SECONDS,
    VERSION,
    Channel,
    ClosedError,
    Message,
    SideFaultError,
    ending,
    expect,
    last_error,
    tail_of,
)
from pytest_energy.ab.remote_meter import CALLS, MeterCalls, facts_of
from pytest_energy.ab.same_work import RunFacts
from pytest_energy.ab.side_place import Place
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window
from pytest_energy.meters import Meter
from pytest_energy.results import VerdictRecord
from pytest_energy.results.json_codec import as_json, from_json

GRACE_SECONDS = 5.0
"""How long a side may take to end by itself before it is made to."""


@dataclass(frozen=True)
class Ready:
    """A check that a side has come to."""

    index: int
    metric: str
    runs: tuple[RunFacts, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Order:
    """What both sides are told alike; `arguments` are each side's own pytest command line."""

    tokens: int
    max_tokens_per_batch: int | None
    timeout_seconds: float


class Side:
    """One side's process; every method raises `SideFaultError` where the side cannot go on."""

    def __init__(self, place: Place, arguments: list[str], order: Order, meter: Meter) -> None:
        self.place = place
        self.ready: Ready | None = None
        self._decided = False
        self._timeout = order.timeout_seconds
        self._folder = tempfile.TemporaryDirectory(prefix="pytest-energy-side-")
        self._output = Path(self._folder.name) / "output"
        self._channel, self._process = self._started(meter)
        self._calls = MeterCalls(meter, self._channel)
        with contextlib.suppress(ClosedError):  # it is named when an answer is due
            self._channel.send(
                "order",
                version=VERSION,
                arguments=[*arguments, *self._own_cache(arguments)],
                meter=facts_of(meter),
                tokens=order.tokens,
                max_tokens_per_batch=order.max_tokens_per_batch,
                ignored=None if place.ignored is None else str(place.ignored),
            )

    def come_to(self, index: int, earlier: Sequence[VerdictRecord]) -> Ready | None:
        """Go on to the check of that number, counted from 0; None where the test has ended.

        `earlier` are the verdicts on the checks before it, which a new process passes again.
        """
        while self.ready is None or self.ready.index < index:
            if self.ready is not None and not self._decided:
                self.answer(earlier[self.ready.index])
            message = self._next("comes to no check")
            if message["kind"] == "finished":
                return None
            self.ready, self._decided = _ready(expect(message, "ready")), False
        return self.ready

    def window(self, run: int) -> Window:
        """Buy one window of a run of the check at hand."""
        before = self._calls.ended
        self._send("window", run=run)
        message = expect(self._next("does not end its window"), "window")
        if self._calls.ended == before:
            raise EnergyError(
                f"the {self.place.name}'s run meters itself, so its windows cannot be compared; "
                f"make it with `energy.meter`, as `finetune` does"
            )
        return from_json(Window, message["window"])

    def answer(self, record: VerdictRecord) -> None:
        """End the check at hand with its verdict."""
        self._decided = True
        self._send("done", record=as_json(record))

    def dismiss(self) -> None:
        """Let the process know that it may end."""
        self._channel.close()

    def stop(self) -> None:
        """End the process, in order where it follows; a second call does nothing."""
        self.dismiss()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
        finally:
            self._signal(signal.SIGKILL)  # what it has started and left behind, too
            self._process.wait()
            self._folder.cleanup()

    def _started(self, meter: Meter) -> tuple[Channel, subprocess.Popen[bytes]]:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        command = [self.place.python, "-m", "pytest_energy.plugin.ab_side"]
        try:
            with self._output.open("wb") as output:
                process = subprocess.Popen(
                    [*command, str(theirs_in), str(theirs_out)],
                    cwd=self.place.root,
                    env=self.place.variables(meter.method),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs_in, theirs_out),
                    start_new_session=True,
                )
        except OSError as error:
            fault = self._fault("start", str(error))
            self._folder.cleanup()
            _close(ours_in, ours_out)
            raise fault from None
        finally:
            _close(theirs_in, theirs_out)
        return Channel(ours_in, ours_out), process

    def _own_cache(self, arguments: Sequence[str]) -> list[str]:
        """What pytest keeps between runs is the user's; a side has a folder of its own."""
        if "no:cacheprovider" in arguments:
            return []
        return ["-o", f"cache_dir={self._folder.name}/cache"]

    def _send(self, kind: str, **fields: Any) -> None:
        try:
            self._channel.send(kind, **fields)
        except ClosedError:
            raise self._ended() from None

    def _next(self, hanging: str) -> Message:
        """The next message that is not for the meter."""
        give_up = time.monotonic() + self._timeout
        while time.monotonic() < give_up:
            try:
                message = self._channel.receive(POLL_SECONDS)
            except ClosedError:
                raise self._ended() from None
            if message is None:
                # Its pipe may be held open by a process that it has left behind.
                if self._process.poll() is not None:
                    raise self._ended()
            elif message["kind"] == "fault":
                raise self._reported(message)
            elif message["kind"] in CALLS:
                self._calls.answer(message)
            else:
                return message
        self._signal(signal.SIGKILL)
        raise self._fault(
            "hung", f"it {hanging} within {self._timeout:g} s (`--energy-side-timeout`)"
        )

    def _reported(self, message: Message) -> SideFaultError:
        """The fault that the side itself has named, once it has printed all that it will."""
        text = str(message["text"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._channel.close()
            self._process.wait(GRACE_SECONDS)
        if message["fault"] == "start":
            text = last_error(tail_of(self._output)) or text
        return self._fault(message["fault"], text)

    def _ended(self) -> SideFaultError:
        try:
            kind, text = ending(self._process.wait(GRACE_SECONDS))
        except subprocess.TimeoutExpired:
            kind, text = "died", "it closed its pipes"
        tail = tail_of(self._output)
        said = last_error(tail)
        return self._fault(kind, f"{text} ({said})" if said else text)

    def _fault(self, kind: Any, text: str) -> SideFaultError:
        place = self.place
        return SideFaultError(place.name, place.reference, kind, text, tail_of(self._output))

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _ready(message: Mapping[str, Any]) -> Ready:
    runs = tuple(RunFacts.from_message(row) for row in message["runs"])
    return Ready(message["check"], message["metric"], runs, message["environment"])
