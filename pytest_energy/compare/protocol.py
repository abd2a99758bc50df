"""Messages between the metering process and a side: one JSON object a line, over two pipes.

docs/comparing.md lists the messages. Pipes of their own, so that what a side prints is harmless.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Mapping
from typing import Any

from pytest_energy.errors import EnergyError

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
