"""One holder a device, so that two runs never meter one GPU at once.

A lock is a name in the kernel's namespace of abstract sockets, the same for all users and whatever
`TMPDIR` says. There is no file that anybody could plant, read or remove, and the kernel frees the
name when its holder dies. Containers with networks of their own do not see each other's names;
those share a folder, `PYTEST_ENERGY_LOCKS`, in which a file a device is locked as well.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.text import decoded, masked, one_line

FOLDER_VARIABLE = "PYTEST_ENERGY_LOCKS"
HELD_VARIABLE = "PYTEST_ENERGY_LOCKS_HELD"
"""Devices, separated by newlines, whose locks the process that started this one holds for it."""
POLL_SECONDS = 0.1
LONGEST = 100
"""Characters of a device's name that are part of its file's."""
SHOWN = 200
"""Characters of a holder's command line that are shown."""

_NEW = os.O_CREAT | os.O_EXCL
_SAFELY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREDENTIALS = "3i"  # a `ucred`: process, user and group

_guard = threading.Lock()
_locks: dict[bytes, _Held] = {}
"""What is held, by the name of its socket."""


@dataclass
class _Held:
    """A device, what its lock is made of, who holds it, and how often they entered.

    In a forked process that is the one that it was forked from, which holds it for both.
    """

    uuid: str
    kept: ExitStack
    pid: int
    entered: int = 0


@contextmanager
def device_lock(
    uuids: Sequence[str], timeout_seconds: float, on_wait: Callable[[str], None]
) -> Iterator[None]:
    """Hold every device's lock for the block; entering again in the same process is free.

    `on_wait` is told once a device whom it waits for. Raises `EnergyError` where a device is
    still held after `timeout_seconds` in all. The kernel frees the locks of a process that dies.
    """
    give_up = real_time.monotonic() + timeout_seconds
    folder = _folder()
    ours = set(uuids) - set(os.environ.get(HELD_VARIABLE, "").splitlines())
    with ExitStack() as held:
        # One order for everybody, or two runs on two GPUs could wait for each other forever.
        for uuid in sorted(ours):
            name = _name(folder, uuid)
            told = False
            while not _taken(name, folder, uuid):
                most = f"{timeout_seconds:g} s"
                if real_time.monotonic() >= give_up:
                    raise EnergyError(
                        f"device `{uuid}` is being metered by {_who(name)}: waited {most}; run "
                        "again when it has ended, stop it, or wait longer (`--energy-lock-timeout`)"
                    )
                if not told:  # the holder's queue has room for some thousand questions in all
                    told = True
                    on_wait(
                        f"device `{uuid}`: waiting for {_who(name)} to stop metering it, "
                        f"{most} at most"
                    )
                real_time.sleep(max(0.0, min(POLL_SECONDS, give_up - real_time.monotonic())))
            held.callback(_let_go, name)
        yield


def held_devices() -> tuple[str, ...]:
    """Devices whose locks this process holds, or has been told are held for it."""
    told = os.environ.get(HELD_VARIABLE, "").splitlines()
    with _guard:
        return tuple(sorted({*told, *(held.uuid for held in _locks.values())}))


def lock_place() -> str:
    """Where locks are, for a person; `EnergyError` if the folder chosen for them is of no use."""
    folder = _folder()
    if folder is None:
        return (
            "names that the kernel keeps (abstract sockets), for all users of this machine; "
            f"containers share a folder that `{FOLDER_VARIABLE}` names"
        )
    return f"in `{folder}`, for those with the same `{FOLDER_VARIABLE}`"


def _taken(name: bytes, folder: Path | None, uuid: str) -> bool:
    """Whether this process holds the device's lock now, once more if it held it already."""
    with _guard:
        held = _locks.get(name)
        if held is None:
            kept = _locked(name, folder, uuid)
            if kept is None:
                return False
            held = _locks[name] = _Held(uuid, kept, os.getpid())
        held.entered += 1
    return True


def _let_go(name: bytes) -> None:
    with _guard:
        held = _locks[name]
        held.entered -= 1
        if held.entered == 0 and held.pid == os.getpid():
            del _locks[name]
            held.kept.close()


def _leave_to_the_parent() -> None:
    """Close a forked process's copies, which would keep locks after their holder's end."""
    for held in _locks.values():
        held.kept.close()
    _guard.release()


os.register_at_fork(
    before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_leave_to_the_parent
)


def _locked(name: bytes, folder: Path | None, uuid: str) -> ExitStack | None:
    """What holds the device's lock until it is closed; None if somebody else has it."""
    with ExitStack() as taking:
        try:
            own = taking.enter_context(socket.socket(socket.AF_UNIX))
            own.bind(name)
            own.listen(socket.SOMAXCONN)  # who asks is told by the kernel whose it is
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return None
            raise EnergyError(
                f"device `{uuid}` cannot be locked ({error.strerror}): let this process open Unix "
                "sockets (`ulimit -n` says how many files it may have; a sandbox may forbid them)"
            ) from None
        if folder is not None:
            path = _file(folder, uuid)
            file = taking.enter_context(os.fdopen(_opened(path), "rb"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            except OSError as error:
                raise _unusable(f"`{path}` cannot be locked ({error.strerror})") from None
        return taking.pop_all()
    return None


def _opened(path: Path) -> int:
    """A descriptor of a lock's file, made if need be; no link is followed, no pipe waited for."""
    while True:
        try:
            # Never made and opened at once: the kernel may refuse that of another user's file.
            with suppress(FileNotFoundError):
                handle = os.open(path, _SAFELY)
                break
            with suppress(FileExistsError):
                handle = os.open(path, _SAFELY | _NEW)
                os.fchmod(handle, 0o644)  # others may lock it, whatever the umask
                break
        except OSError as error:
            raise _unusable(f"lock file `{path}` cannot be used ({error.strerror})") from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(handle)
        raise _unusable(f"lock file `{path}` is no regular file of its own: remove it")
    return handle


def _folder() -> Path | None:
    """The folder chosen for lock files, made if need be; None if none is chosen."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if not chosen:
        return None
    folder = Path(os.path.abspath(chosen))
    try:
        folder.mkdir(exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise _unusable(f"lock folder `{folder}` cannot be made ({error.strerror})") from None
    if not stat.S_ISDIR(found.st_mode):
        raise _unusable(f"lock folder `{folder}` is a link")
    if found.st_uid not in (0, os.geteuid()):
        raise _unusable(f"lock folder `{folder}` belongs to another user")
    return folder


def _unusable(what: str) -> EnergyError:
    return EnergyError(
        f"{what}: set `{FOLDER_VARIABLE}` to a folder of your own or of root's, or unset it"
    )


def _file(folder: Path, uuid: str) -> Path:
    """A device's file, its own whatever the device is called."""
    plain = re.sub(r"[^\w.-]", "_", uuid, flags=re.ASCII)[:LONGEST]
    return folder / (f"{plain}.lock" if plain == uuid else f"{plain}-{_digest(uuid)}.lock")


def _name(folder: Path | None, uuid: str) -> bytes:
    """The abstract name of a device's socket, whose length the kernel limits."""
    return f"\0pytest-energy-lock-{_digest(f'{folder}/{uuid}')}".encode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _who(name: bytes) -> str:
    """Who holds a name, by what the kernel knows of them."""
    import psutil

    with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        asking.connect(name)
        size = struct.calcsize(_CREDENTIALS)
        told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, user, _ = struct.unpack(_CREDENTIALS, told)
        if pid:  # else it is out of sight, in another container
            with suppress(psutil.Error):
                program, *arguments = psutil.Process(pid).cmdline() or [""]
                command = masked(" ".join([Path(program).name, *arguments]))
                return f"process {pid} ({one_line(command, SHOWN)})"
            return f"process {pid} of user {user}"
    socket_name = decoded(name).replace("\0", "@")
    return f"another process (as root, `ss -xlp` may say which: it holds `{socket_name}`)"
