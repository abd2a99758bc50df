"""Processes of ours: started in a session of their own, talked to, and ended for good.

Messages are JSON over connections of `multiprocessing`, never pickle: sides run code that is not
ours, and to unpickle what they send would be to run it here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError
from pytest_energy.text import decoded

if TYPE_CHECKING:
    import psutil

ADDRESS_VARIABLE = "PYTEST_ENERGY_CHANNEL"
"""Path of the socket at which a process finds the one that it was started by."""

MAX_BYTES = 1 << 26
"""A longer message is none: its length was read from bytes that mean something else."""
STALL_SECONDS = 10.0

TAIL_LINES = 25
TAIL_BYTES = 20_000
KILL_SECONDS = 5.0
"""How long processes may take to be gone once they are killed."""

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
        message = None
        try:
            if not self._connection.poll(timeout_seconds):
                return None
            message = json.loads(self._connection.recv_bytes(MAX_BYTES))
        except (BlockingIOError, ValueError, RecursionError):
            pass  # it did not go on, or is no JSON
        except (EOFError, OSError):
            if self._connection.closed or self._connection.readable:
                raise ClosedError("the other process has ended") from None
            # Else its length was out of bounds.
        if not isinstance(message, dict) or "kind" not in message:
            raise EnergyError("a side sent what is no message; does its code write to our pipe?")
        return message

    def close(self) -> None:
        """Close this end; a second call does nothing."""
        self._connection.close()


class Listener:
    """Where another process is to connect: a socket in a folder that only this user can enter."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pytest-energy-")
        self.address = os.path.join(self._folder.name, "socket")
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
        self._folder.cleanup()


def connect() -> Channel | None:
    """The channel to the process that started this one; None if there is none, or it is gone."""
    address = os.environ.get(ADDRESS_VARIABLE)
    try:
        return Channel(Client(address, "AF_UNIX")) if address else None
    except OSError:
        return None


class ChildProcess:
    """A command at work, which reads nothing; `output` is the file that it prints to.

    `folder` is private to it and removed when it is stopped. Raises `OSError` if it does not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str],
        working_folder: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.output = folder / "output"
        try:
            with self.output.open("wb") as output:
                self._process = subprocess.Popen(
                    command,
                    cwd=working_folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=pass_fds,
                    # Ctrl-C is for us: we end the child, and say so once.
                    start_new_session=True,
                )
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def wait(self, seconds: float = 0.0) -> int | None:
        """Its exit code; None if it has not ended by itself within `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill its whole session at once, so that a later `stop` need not wait for it."""
        self._signal(signal.SIGKILL)

    def stop(self, grace_seconds: float = 0.0) -> None:
        """End it and all that it started, by force if it does not follow; again does nothing.

        It has `grace_seconds` to end by itself, and as long again after SIGTERM.
        """
        if not self.folder.exists():
            return
        started = self._descendants()
        try:
            if self.wait(grace_seconds) is None and grace_seconds:
                self._signal(signal.SIGTERM)
                self.wait(grace_seconds)
        finally:
            started |= self._descendants()
            self.kill()
            self._process.wait()
            _kill(started)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _descendants(self) -> set[psutil.Process]:
        """What it has started that runs now, in sessions of their own, too."""
        import psutil

        with suppress(psutil.Error):
            return set(psutil.Process(self._process.pid).children(recursive=True))
        return set()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def signal_name(exit_code: int) -> str | None:
    """The signal that ended a process, such as `SIGKILL`; None if none did."""
    if exit_code >= 0:
        return None
    with suppress(ValueError):
        return signal.Signals(-exit_code).name
    return f"signal {-exit_code}"


def tail_of(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a file, without what cannot be decoded; empty if there is no file."""
    try:
        text = decoded(path.read_bytes()[-TAIL_BYTES:]).strip()
    except OSError:
        return ""
    return "\n".join(line.rstrip() for line in text.splitlines()[-lines:])


def _kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, which are known again by when they began, and wait until they are gone."""
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    give_up = time.monotonic() + KILL_SECONDS
    while any(map(_is_alive, processes)) and time.monotonic() < give_up:
        time.sleep(0.02)


def _is_alive(process: psutil.Process) -> bool:
    import psutil

    with suppress(psutil.Error):
        # One that nobody waits for stays as a zombie.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
