"""Whose processes use a device: ours (our tree's) or foreign."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pytest_energy.errors import EnergyError
from pytest_energy.text import encodable, one_line

ROOT_VARIABLE = "PYTEST_ENERGY_PROCESS_ROOT"
"""Process id whose tree counts as ours, if the meter runs in one of several workers."""
INITIAL_PID_NAMESPACE = "pid:[4026531836]"
CUDA_DEVICE = "/dev/nvidia-uvm"


def tree_root() -> int:
    """The process whose tree is ours: this one, unless `PYTEST_ENERGY_PROCESS_ROOT` names another.

    `EnergyError` if that is no process id.
    """
    named = os.environ.get(ROOT_VARIABLE)
    if not named:
        return os.getpid()
    if not re.fullmatch(r"[0-9]{1,10}", named):
        raise EnergyError(
            f"`{ROOT_VARIABLE}={one_line(named)}` is no process id: give one, or unset it to "
            "mean the process that meters"
        )
    return int(named)


class ProcessTree:
    """This process, what it is descended from, and what is descended from it or from `root`."""

    def __init__(self, own: int | None = None, root: int | None = None) -> None:
        self._own = own or os.getpid()
        self._root = root or (tree_root() if os.environ.get(ROOT_VARIABLE) else self._own)
        self._ours = {self._own, self._root, *_ancestors(self._own)}

    def foreign(self, pids: Iterable[int]) -> tuple[int, ...]:
        """Those of the processes that are not ours.

        In a container with process ids of its own, a driver may give the host's. Such numbers
        name nobody here; as many of them as processes of ours use CUDA are taken for ours.
        """
        import psutil

        strangers = [pid for pid in pids if not self._is_ours(pid)]
        if not strangers or not self._has_own_pid_namespace():
            return tuple(strangers)
        here = psutil.pids()
        excused = [pid for pid in strangers if pid not in here][: self.cuda_users()]
        return tuple(pid for pid in strangers if pid not in excused)

    def has_any(self, pids: Iterable[int]) -> bool:
        """Whether one of the processes is ours."""
        return any(map(self._is_ours, pids))

    def cuda_users(self) -> int:
        """How many processes of ours use CUDA, by whatever ids a driver lists them."""
        import psutil

        ours = [pid for pid in psutil.pids() if pid == self._own or self._is_descendant(pid)]
        return sum(map(_uses_cuda, ours))

    def _is_ours(self, pid: int) -> bool:
        return pid in self._ours or self._is_descendant(pid)

    def _is_descendant(self, pid: int) -> bool:
        if self._root not in _ancestors(pid):
            return False
        # Kept, because a driver may list it for a moment longer than it lives.
        self._ours.add(pid)
        return True

    def _has_own_pid_namespace(self) -> bool:
        import psutil

        with suppress(OSError):
            return os.readlink(f"{psutil.PROCFS_PATH}/{self._own}/ns/pid") != INITIAL_PID_NAMESPACE
        return False


def program_name(pid: int) -> str | None:
    """The name of a process's program, on one line; None if no process of that id is seen here."""
    import psutil

    # A name is any bytes, and an id that a driver gives need not be one.
    with suppress(psutil.Error, OSError, ValueError, OverflowError):
        return one_line(encodable(psutil.Process(pid).name())) or None
    return None


def _ancestors(pid: int) -> list[int]:
    """What the process is descended from, its parent first, without the first of all."""
    import psutil

    found: list[int] = []
    # Not psutil's `parents`, which leaves out those that are hidden from us.
    with suppress(psutil.Error, OverflowError):
        while (pid := psutil.Process(pid).ppid()) > 1:
            found.append(pid)
    return found


def _uses_cuda(pid: int) -> bool:
    import psutil

    # psutil's `open_files` leaves devices out.
    with suppress(OSError):
        files = list(Path(f"{psutil.PROCFS_PATH}/{pid}/fd").iterdir())
        return any(os.readlink(file) == CUDA_DEVICE for file in files)
    return False
