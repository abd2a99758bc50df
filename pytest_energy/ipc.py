"""Messages between processes of ours: JSON over connections of `multiprocessing`, never pickle.

Sides run code that is not ours, and to unpickle what they send would be to run it here.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import tempfile
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError

ADDRESS_VARIABLE = "PYTEST_ENERGY_CHANNEL"
"""Path of the socket at which a process finds the one that it was started by."""

MAX_BYTES = 1 << 26
"""A longer message is none: its length was read from bytes that mean something else."""
STALL_SECONDS = 10.0

Message = dict[str, Any]


class ClosedError(EnergyError):
    """The other end is gone."""


class Channel:
    """One end of a conversation over a socket, which it owns and no child inherits.

    `stall_seconds` is how long the other end may take to go on with a message, to send or read it,
    once that has begun; a `Connection` alone would wait for ever.
    """

    def __init__(self, connection: Connection, stall_seconds: float = STALL_SECONDS) -> None:
        self._connection = connection
        os.set_inheritable(connection.fileno(), False)
        stall = struct.pack("ll", *divmod(int(1e6 * stall_seconds), 1_000_000))  # a `timeval`
        with socket.socket(fileno=os.dup(connection.fileno())) as options:
            options.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, stall)
            options.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stall)

    def send(self, kind: str, **fields: Any) -> None:
        """Send one message; raises `ClosedError` if nobody reads any more."""
        try:
            self._connection.send_bytes(json.dumps({"kind": kind, **fields}).encode())
        except OSError:
            raise ClosedError("the other process does not listen any more") from None

    def receive(self, timeout_seconds: float | None = None) -> Message | None:
        """The next message; None after the timeout (None: however long that takes).

        Raises `ClosedError` if the other end is gone, `EnergyError` for what is no message.
        """
        try:
            if not self._connection.poll(timeout_seconds):
                return None
            return _message(self._connection.recv_bytes(MAX_BYTES))
        except BlockingIOError:
            raise _no_message() from None
        except (EOFError, OSError):
            if not (self._connection.closed or self._connection.readable):
                raise _no_message() from None  # its length was out of bounds
            raise ClosedError("the other process has ended") from None

    def close(self) -> None:
        """Close this end; a second call does nothing."""
        self._connection.close()


class Listener:
    """Where another process is to connect: a socket in a folder that only this user can enter."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pytest-energy-"))
        self.address = str(self._folder / "socket")
        # That of `multiprocessing` waits for ever, even if who was to connect has died.
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.address)
        self._socket.listen(1)

    def accept(self, timeout_seconds: float) -> Channel | None:
        """The channel to whoever has connected; None after the timeout."""
        self._socket.settimeout(timeout_seconds)
        try:
            accepted = self._socket.accept()[0]
        except TimeoutError:
            return None
        accepted.setblocking(True)
        return Channel(Connection(accepted.detach()))

    def close(self) -> None:
        """Stop listening; channels stay open."""
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def connect() -> Channel | None:
    """The channel to the process that started this one; None if there is none, or it is gone."""
    address = os.environ.get(ADDRESS_VARIABLE)
    try:
        return Channel(Client(address, "AF_UNIX")) if address else None
    except OSError:
        return None


def _message(data: bytes) -> Message:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or "kind" not in message:
        raise _no_message()
    return message


def _no_message() -> EnergyError:
    return EnergyError("a side sent what is no message; does its code write to our pipe?")
