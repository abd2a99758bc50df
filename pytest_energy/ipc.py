"""Between a test's process and rank 0 of its run: one JSON object a line, over a Unix socket."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

ADDRESS_VARIABLE = "PYTEST_ENERGY_LAUNCHER"
"""Path of the socket at which rank 0 finds the process that launched it."""

Message = dict[str, Any]


class ClosedError(Exception):
    """The other end is gone."""


class Channel:
    """One end of the conversation."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pending = b""

    def send(self, message: Message) -> None:
        """Send a message; `ClosedError` where nobody is left to read it."""
        self._connection.settimeout(None)
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise ClosedError(str(error)) from None

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message; None where there is none within `seconds` (None: however long).

        `ClosedError` where the other end is gone.
        """
        give_up = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._pending:
            left = None if give_up is None else max(0.001, give_up - time.monotonic())
            self._connection.settimeout(left)
            try:
                received = self._connection.recv(65536)
            except TimeoutError:
                return None
            except OSError as error:
                raise ClosedError(str(error)) from None
            if not received:
                raise ClosedError("the other end was closed")
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        message: Message = json.loads(line)
        return message

    def close(self) -> None:
        """Hang up; a second call does nothing."""
        self._connection.close()


class Listener:
    """Where rank 0 is to report: a socket that only this user can reach."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pytest-energy-"))
        self.address = str(self._folder / "launcher")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.address)
        self._socket.listen(1)

    def accept(self, seconds: float) -> Channel | None:
        """The channel to whoever has connected; None where nobody has within `seconds`."""
        self._socket.settimeout(seconds)
        try:
            return Channel(self._socket.accept()[0])
        except TimeoutError:
            return None

    def close(self) -> None:
        """Stop listening; channels stay open."""
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def to_launcher() -> Channel | None:
    """The channel to the process that launched this one; None where none did, or it is gone."""
    address = os.environ.get(ADDRESS_VARIABLE)
    if not address:
        return None
    connection = socket.socket(socket.AF_UNIX)
    with suppress(OSError):
        connection.connect(address)
        return Channel(connection)
    connection.close()
    return None
