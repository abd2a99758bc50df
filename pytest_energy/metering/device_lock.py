"""A kernel lock a device, so that two runs never meter one GPU at once."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pytest_energy.errors import EnergyError

FOLDER_VARIABLE = "PYTEST_ENERGY_LOCKS"
HELD_VARIABLE = "PYTEST_ENERGY_LOCKS_HELD"
"""Devices, separated by newlines, whose locks the process that started this one holds for it."""
POLL_SECONDS = 0.1

_registry = threading.Lock()
_depth: dict[Path, int] = {}
_held: dict[Path, str] = {}


@contextmanager
def device_lock(
    uuids: Sequence[str], timeout_seconds: float, on_wait: Callable[[str], None]
) -> Iterator[None]:
    """Hold every device's lock for the block; entering again in the same process is free.

    `on_wait` is told once a device whom it waits for. Raises `EnergyError` where a device is
    still held after `timeout_seconds` in all. The kernel frees the locks of a process that dies.
    """
    give_up = time.monotonic() + timeout_seconds
    folder = _folder()
    ours = set(uuids) - set(os.environ.get(HELD_VARIABLE, "").splitlines())
    with ExitStack() as held:
        # One order for everybody, or two runs on two GPUs could wait for each other forever.
        for uuid in sorted(ours):
            held.enter_context(_one_lock(folder, uuid, give_up, timeout_seconds, on_wait))
        yield


def held_devices() -> tuple[str, ...]:
    """Devices whose locks this process holds, or has been told are held for it."""
    told = os.environ.get(HELD_VARIABLE, "").splitlines()
    with _registry:
        return tuple(sorted({*told, *_held.values()}))


@contextmanager
def _one_lock(
    folder: Path,
    uuid: str,
    give_up: float,
    timeout_seconds: float,
    on_wait: Callable[[str], None],
) -> Iterator[None]:
    path = folder / (re.sub(r"[^\w.-]", "_", uuid) + ".lock")
    with _registry:
        if nested := path in _depth:
            _depth[path] += 1
    if nested:
        try:
            yield
        finally:
            with _registry:
                _depth[path] -= 1
        return
    with _kernel_lock(path, uuid, give_up, timeout_seconds, on_wait):
        with _registry:
            _depth[path] = 1
            _held[path] = uuid
        try:
            yield
        finally:
            with _registry:
                del _depth[path]
                del _held[path]


@contextmanager
def _kernel_lock(
    path: Path,
    uuid: str,
    give_up: float,
    timeout_seconds: float,
    on_wait: Callable[[str], None],
) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=0o666, thread_local=False)
    holder = path.with_suffix(".holder")
    told = False
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            who = _who(holder)
            if time.monotonic() >= give_up:
                raise EnergyError(
                    f"device `{uuid}` is being metered by {who}: waited {timeout_seconds:g} s; "
                    "run again when it has ended, stop it, or wait longer (`--energy-lock-timeout`)"
                ) from None
            if not told:
                on_wait(
                    f"device `{uuid}`: waiting for {who} to stop metering it, "
                    f"{timeout_seconds:g} s at most"
                )
                told = True
            time.sleep(max(0.0, min(POLL_SECONDS, give_up - time.monotonic())))
        except OSError as error:
            raise EnergyError(
                f"lock file `{path}` cannot be used ({error.strerror}): "
                f"set `{FOLDER_VARIABLE}` to a folder that everyone may write to"
            ) from None
    try:
        _sign(holder)
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _folder() -> Path:
    """The folder of all users' locks; without the sticky bit, which would keep others out."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / "pytest-energy-locks"
    try:
        folder.mkdir(mode=0o777, exist_ok=True)
    except OSError as error:
        raise EnergyError(
            f"lock folder `{folder}` cannot be made ({error.strerror}): "
            f"set `{FOLDER_VARIABLE}` to a folder that everyone may write to"
        ) from None
    with contextlib.suppress(PermissionError):
        folder.chmod(0o777)
    return folder


def _sign(holder: Path) -> None:
    command = " ".join(Path(part).name if i == 0 else part for i, part in enumerate(sys.orig_argv))
    draft = holder.with_suffix(f".{os.getpid()}")
    # Only a courtesy to those who wait; the lock itself is the kernel's.
    with contextlib.suppress(OSError):
        draft.write_text(f"process {os.getpid()} ({command[:200]})", encoding="utf-8")
        draft.replace(holder)


def _who(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8")
    except OSError:
        return "another process"
