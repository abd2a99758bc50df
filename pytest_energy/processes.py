"""Processes of ours: started in a session of their own, talked to, and ended for good.

Messages are JSON over connections of `multiprocessing`, never pickle: sides run code that is not
ours, and to unpickle what they send would be to run it here.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.private_folders import PrivateFolder
from pytest_energy.text import decoded

if TYPE_CHECKING:
    import psutil

ADDRESS_VARIABLE = "PYTEST_ENERGY_CHANNEL"
"""Path of the socket at which a process finds the one that it was started by."""

MAX_BYTES = 1 << 26
"""A longer message is none: its length was read from bytes that mean something else."""
CHUNK_BYTES = 1 << 15
STALL_SECONDS = 10.0
_LENGTH = struct.Struct("!i")  # as connections of `multiprocessing` send it

TAIL_LINES = 25
TAIL_BYTES = 20_000
MOST_PRINTED_BYTES = 1 << 28
FLOODS = f"it printed more than {MOST_PRINTED_BYTES >> 20} MiB, so it was ended"
KILL_SECONDS = 5.0
"""How long processes may take to be gone once they are killed."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_SECONDS = 0.02
"""Between two looks at whether a process has ended."""

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


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back what signals do here until the block is over, such as one that starts a process.

    Else that could run while nobody has noted it yet. What it starts has the signals as ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    held: list[int] = []
    for number in ours:
        signal.signal(number, lambda came, _: held.append(came))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for came in held:
            signal.raise_signal(came)


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
        self._stopped = False
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
        give_up = real_time.monotonic() + seconds
        # Not by the process's own `wait`, whose deadline goes by a clock that tests may stop.
        while (exit_code := self._process.poll()) is None and real_time.monotonic() < give_up:
            real_time.sleep(LOOK_SECONDS)
        return exit_code

    @property
    def floods(self) -> bool:
        """Whether it has printed more than anybody will read, `MOST_PRINTED_BYTES`."""
        with suppress(OSError):
            return self.output.stat().st_size > MOST_PRINTED_BYTES
        return False

    def kill(self) -> None:
        """Kill its whole session at once, so that a later `stop` need not wait for it."""
        self._signal(signal.SIGKILL)

    def stop(self, grace_seconds: float = 0.0) -> None:
        """End it and all that it started, as `stop_all` does."""
        stop_all([self], grace_seconds, grace_seconds / 2)

    def _descendants(self) -> set[psutil.Process]:
        """What it has started that runs now, in sessions of their own, too."""
        import psutil

        with suppress(psutil.Error):
            return set(psutil.Process(self._process.pid).children(recursive=True))
        return set()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def stop_all(
    children: Iterable[ChildProcess], grace_seconds: float = 0.0, ending_seconds: float = 0.0
) -> None:
    """End processes and all that they started, by force if they do not follow.

    Together they have `grace_seconds` to end by themselves, and `ending_seconds` more after
    SIGTERM. Those that were stopped already are left alone.
    """
    live = [child for child in children if not child._stopped]
    started = {each for child in live for each in child._descendants()}
    try:
        if ending_seconds and not _end_within(grace_seconds, live):
            for child in live:
                child._signal(signal.SIGTERM)
            _end_within(ending_seconds, live)
    finally:
        started |= {each for child in live for each in child._descendants()}
        for child in live:
            child.kill()
        for child in live:
            child._process.wait()
        _kill(started)
        for child in live:
            shutil.rmtree(child.folder, ignore_errors=True)
            child._stopped = True


def _end_within(seconds: float, children: Iterable[ChildProcess]) -> bool:
    """Whether all end by themselves."""
    give_up = real_time.monotonic() + seconds
    return all(
        child.wait(max(0.0, give_up - real_time.monotonic())) is not None for child in children
    )


def signal_name(exit_code: int) -> str | None:
    """The signal that ended a process, such as `SIGKILL`; None if none did."""
    if exit_code >= 0:
        return None
    with suppress(ValueError):
        return signal.Signals(-exit_code).name
    return f"signal {-exit_code}"


def tail_of(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a file, what is not UTF-8 replaced; empty if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            text = decoded(file.read(TAIL_BYTES)).strip()
    except OSError:
        return ""
    return "\n".join(line.rstrip() for line in text.splitlines()[-lines:])


def _kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, which are known again by when they began, and wait until they are gone."""
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    give_up = real_time.monotonic() + KILL_SECONDS
    while any(map(_is_alive, processes)) and real_time.monotonic() < give_up:
        real_time.sleep(LOOK_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    import psutil

    with suppress(psutil.Error):
        # One that nobody waits for stays as a zombie.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
