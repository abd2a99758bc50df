"""A kernel lock a device, so that two runs never meter one GPU at once."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError

if TYPE_CHECKING:
    from filelock import BaseFileLock

FOLDER_VARIABLE = "PYTEST_ENERGY_LOCKS"
HELD_VARIABLE = "PYTEST_ENERGY_LOCKS_HELD"
"""Devices, separated by newlines, whose locks the process that started this one holds for it."""
POLL_SECONDS = 0.1

_guard = threading.Lock()
_locks: dict[Path, _Held] = {}
"""What is held, by the lock's file."""


class _Held(NamedTuple):
    """A device and its lock, which counts how often it was entered, and the process that holds it.

    In a forked process that is the one that it was forked from, which holds it for both.
    """

    uuid: str
    lock: BaseFileLock
    pid: int


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
            path = folder / (re.sub(r"[^\w.-]", "_", uuid) + ".lock")
            told = False
            while not _taken(path, uuid):
                who, most = _who(path), f"{timeout_seconds:g} s"
                if real_time.monotonic() >= give_up:
                    raise EnergyError(
                        f"device `{uuid}` is being metered by {who}: waited {most}; run again when "
                        "it has ended, stop it, or wait longer (`--energy-lock-timeout`)"
                    )
                if not told:
                    on_wait(
                        f"device `{uuid}`: waiting for {who} to stop metering it, {most} at most"
                    )
                    told = True
                real_time.sleep(max(0.0, min(POLL_SECONDS, give_up - real_time.monotonic())))
            held.callback(_let_go, path)
        yield


def held_devices() -> tuple[str, ...]:
    """Devices whose locks this process holds, or has been told are held for it."""
    told = os.environ.get(HELD_VARIABLE, "").splitlines()
    with _guard:
        return tuple(sorted({*told, *(held.uuid for held in _locks.values())}))


def _taken(path: Path, uuid: str) -> bool:
    """Whether this process holds the device's lock now, once more if it held it already."""
    from filelock import FileLock, Timeout

    with _guard:
        held = _locks.get(path)
        if held is None:
            lock = FileLock(path, mode=0o666, thread_local=False)
            held = _Held(uuid, lock, os.getpid())
        if held.pid != os.getpid():
            return True
        try:
            held.lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise _unusable(f"lock file `{path}` cannot be used", error) from None
        if held.lock.lock_counter == 1:
            _locks[path] = held
            _sign(path)
    return True


def _let_go(path: Path) -> None:
    with _guard:
        held = _locks[path]
        if held.pid != os.getpid():
            return
        if held.lock.lock_counter == 1:
            del _locks[path]
            with suppress(OSError):
                _holder(path).unlink()
        held.lock.release()


def _folder() -> Path:
    """The folder of all users' locks; without the sticky bit, which would keep others out."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / "pytest-energy-locks"
    try:
        folder.mkdir(mode=0o777, exist_ok=True)
    except OSError as error:
        raise _unusable(f"lock folder `{folder}` cannot be made", error) from None
    with suppress(PermissionError):
        folder.chmod(0o777)
    return folder


def _unusable(what: str, error: OSError) -> EnergyError:
    mend = f"set `{FOLDER_VARIABLE}` to a folder that everyone may write to"
    return EnergyError(f"{what} ({error.strerror}): {mend}")


def _holder(path: Path) -> Path:
    """The file beside a lock's in which its holder says who it is."""
    return path.with_suffix(".holder")


def _sign(path: Path) -> None:
    command = " ".join(Path(part).name if i == 0 else part for i, part in enumerate(sys.orig_argv))
    draft = path.with_suffix(f".{os.getpid()}")
    # Only a courtesy to those who wait; the lock itself is the kernel's.
    with suppress(OSError):
        draft.write_text(f"process {os.getpid()} ({command[:200]})", encoding="utf-8")
        draft.replace(_holder(path))


def _who(path: Path) -> str:
    try:
        return _holder(path).read_text(encoding="utf-8")
    except OSError:
        return "another process"
