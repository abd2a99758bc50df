"""Messages between processes of ours.

They are JSON over connections of `multiprocessing`, never pickle: sides run code that is not ours,
and to unpickle what they send would be to run it here.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.processes import PrivateFolder

ADDRESS_VARIABLE = "PYTEST_ENERGY_CHANNEL"
"""Path of the socket at which a process finds the one that it was started by."""

MAX_BYTES = 1 << 26
"""A longer message is none: its length was read from bytes that mean something else."""
CHUNK_BYTES = 1 << 15
STALL_SECONDS = 10.0
_LENGTH = struct.Struct("!i")  # as connections of `multiprocessing` send it

Message = dict[str, Any]


class ClosedError(EnergyError):
    """The other end is gone."""


class Channel:
    """One end of a conversation over a socket, which it owns and no child inherits.

    `stall_seconds` is how long the other end may take for a whole message, to send or read it,
    once that has begun.
    """

    def __init__(self, connection: Connection, stall_seconds: float = STALL_SECONDS) -> None:
        self._connection, self._stall_seconds = connection, stall_seconds
        os.set_inheritable(connection.fileno(), False)
        # The kernel bounds each call, and a clock the calls for one message together.
        stall = struct.pack("ll", *divmod(int(1e6 * stall_seconds), 1_000_000))  # a `timeval`
        with socket.socket(fileno=os.dup(connection.fileno())) as options:
            options.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, stall)
            options.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stall)

    def send(self, kind: str, **fields: Any) -> None:
        """Send one message; raises `ClosedError` if nobody reads any more."""
        text = json.dumps({"kind": kind, **fields}).encode()
        left = memoryview(_LENGTH.pack(len(text)) + text)
        give_up = real_time.monotonic() + self._stall_seconds
        try:
            while left:
                left = left[os.write(self._connection.fileno(), left[:CHUNK_BYTES]) :]
                _check(give_up)
        except OSError:
            raise ClosedError("the other process does not listen any more") from None

    def receive(self, timeout_seconds: float | None = None) -> Message | None:
        """The next message; None after the timeout (None: however long that takes).

        Raises `ClosedError` if the other end is gone, `EnergyError` for what is no message.
        """
        message = None
        try:
            # Not by its own `poll`, whose deadline goes by a clock that a test may have stopped.
            waiting = select.poll()
            waiting.register(self._connection, select.POLLIN)
            if not waiting.poll(None if timeout_seconds is None else 1000 * timeout_seconds):
                return None
            give_up = real_time.monotonic() + self._stall_seconds
            (length,) = _LENGTH.unpack(self._bytes(_LENGTH.size, give_up))
            if 0 <= length <= MAX_BYTES:
                message = json.loads(self._bytes(length, give_up))
        except (BlockingIOError, TimeoutError, ValueError, RecursionError):
            pass  # it did not go on, or is no JSON
        except (EOFError, OSError):
            raise ClosedError("the other process has ended") from None
        if not isinstance(message, dict) or "kind" not in message:
            raise EnergyError("a side sent what is no message; does its code write to our pipe?")
        return message

    def close(self) -> None:
        """Close this end; a second call does nothing."""
        self._connection.close()

    def _bytes(self, count: int, give_up: float) -> bytearray:
        """The next bytes, all of them; `TimeoutError` if they are not there in time."""
        data = bytearray()
        while len(data) < count:
            part = os.read(self._connection.fileno(), min(count - len(data), CHUNK_BYTES))
            if not part:
                raise EOFError
            data += part
            _check(give_up)
        return data


def _check(give_up: float) -> None:
    """Raise `TimeoutError` after a moment: a byte now and then must not hold anybody up."""
    if real_time.monotonic() > give_up:
        raise TimeoutError


class Listener:
    """Where another process is to connect: a socket in a folder that only this user can enter."""

    def __init__(self) -> None:
        self._folder = PrivateFolder("channel")
        self.address = str(self._folder.path / "socket")
        # That of `multiprocessing` waits for ever, even if who was to connect has died.
        self._socket = socket.socket(socket.AF_UNIX)
        with _short(self.address) as address:
            self._socket.bind(address)
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
        self._folder.remove()


def connect() -> Channel | None:
    """The channel to the process that started this one; None if there is none, or it is gone."""
    path = os.environ.get(ADDRESS_VARIABLE)
    if not path:
        return None
    with suppress(OSError), socket.socket(socket.AF_UNIX) as calling, _short(path) as address:
        calling.connect(address)
        return Channel(Connection(calling.detach()))
    return None


@contextmanager
def _short(path: str) -> Iterator[str]:
    """The same file by a path that is short enough for the address of a socket (107 bytes)."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
