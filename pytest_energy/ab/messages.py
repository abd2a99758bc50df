"""What may go wrong with a side, by name, with the end of what it printed."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pytest_energy.errors import EnergyError

Kind = Literal[
    "absent", "died", "failed", "hung", "import", "memory", "mixed", "other", "skipped", "start",
    "version",
]  # fmt: skip

TAIL_LINES = 25
_WORDS: dict[Kind, str] = {
    "absent": "does not have this test",
    "died": "died",
    "failed": "fails outside its check",
    "hung": "hangs",
    "import": "cannot be imported",
    "memory": "ran out of memory",
    "mixed": "runs code of the other side",
    "other": "does other work",
    "skipped": "skips this test",
    "start": "does not start",
    "version": "speaks another version of the protocol",
}


class SideFaultError(EnergyError):
    """A side that cannot be measured; `tail` is the end of what it printed, pytest's report too."""

    def __init__(self, side: str, reference: str, kind: Kind, text: str, tail: str = "") -> None:
        super().__init__(f"the {side} (`{reference}`) {_WORDS[kind]}: {text}")
        self.side = side
        self.kind = kind
        self.text = text
        self.tail = tail


def tail_of(path: Path) -> str:
    """The last lines of a file, without what cannot be decoded."""
    try:
        lines = path.read_bytes()[-20_000:].decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line.rstrip() for line in lines[-TAIL_LINES:]).strip()


def last_error(text: str) -> str | None:
    """The last line of a report that names an error."""
    lines = [line.removeprefix("E ").strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if "Error" in line or "ERROR" in line), None)


def ending(code: int) -> tuple[Kind, str]:
    """What a process's exit code says; the kernel kills by SIGKILL where memory runs out."""
    if code >= 0:
        return "died", f"its process ended with code {code}"
    name = signal.Signals(-code).name
    if -code == signal.SIGKILL:
        return "memory", f"its process was killed ({name}), as the kernel does to free memory"
    return "died", f"its process was ended by {name}"


def is_memory(error: BaseException | None) -> bool:
    """Whether an exception, or what it came from, says that memory ran out."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


VERSION = 1
"""To be raised whenever a message changes; sides of another version are refused by name."""

POLL_SECONDS = 0.5
_CHUNK = 1 << 16

Message = dict[str, Any]


class ClosedError(EnergyError):
    """The other end is gone."""


class Channel:
    """One end of the two pipes; it owns both descriptors."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._received = b""
        self._closed = False
        for descriptor in (incoming, outgoing):
            os.set_inheritable(descriptor, False)

    def send(self, kind: str, **fields: Any) -> None:
        """Send one message; raises `ClosedError` where nobody reads any more."""
        line = json.dumps({"kind": kind, **fields}, separators=(",", ":")) + "\n"
        data = memoryview(line.encode())
        try:
            while data:
                data = data[os.write(self._outgoing, data) :]
        except OSError:
            raise ClosedError("the other process does not listen any more") from None

    def receive(self, timeout_seconds: float | None = None) -> Message | None:
        """The next message; None after the timeout, `ClosedError` at the end of the pipe."""
        until = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while b"\n" not in self._received:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._incoming], [], [], left)[0]:
                return None
            chunk = os.read(self._incoming, _CHUNK)
            if not chunk:
                raise ClosedError("the other process has ended")
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return _message(line)

    def close(self) -> None:
        """Close both pipes; a second call does nothing."""
        if not self._closed:
            self._closed = True
            os.close(self._incoming)
            os.close(self._outgoing)


def expect(message: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The message, if it is of a kind; raises `EnergyError` otherwise."""
    if message["kind"] != kind:
        raise EnergyError(
            f"a side sent `{message['kind']}` where `{kind}` was due; both sides need a "
            f"pytest-energy that speaks version {VERSION} of the protocol"
        )
    return message


def _message(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict) or "kind" not in message:
        raise EnergyError("a side sent what is no message; does its code write to our pipe?")
    return message
