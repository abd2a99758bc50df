"""Whose processes use a device: ours (our tree's) or foreign."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pytest_energy.errors import EnergyError

ROOT_VARIABLE = "PYTEST_ENERGY_PROCESS_ROOT"
"""Process id whose tree counts as ours, where the meter runs in one of several workers."""
INITIAL_PID_NAMESPACE = "pid:[4026531836]"
CUDA_DEVICE = "/dev/nvidia-uvm"
MOST_ANCESTORS = 64


def tree_root() -> int:
    """The process whose tree is ours: this one, unless `PYTEST_ENERGY_PROCESS_ROOT` names another.

    `EnergyError` where that is no process id.
    """
    named = os.environ.get(ROOT_VARIABLE)
    if not named:
        return os.getpid()
    if not named.isdecimal():
        raise EnergyError(
            f"`{ROOT_VARIABLE}={named}` is no process id: give one, or unset it to mean the "
            "process that meters"
        )
    return int(named)


class ProcessTree:
    """This process, what it is descended from, and what is descended from it or from `root`."""

    def __init__(
        self, proc: Path = Path("/proc"), own: int | None = None, root: int | None = None
    ) -> None:
        self._proc = proc
        self._own = os.getpid() if own is None else own
        self._root = root or (tree_root() if os.environ.get(ROOT_VARIABLE) else self._own)
        self._ours = {self._own, self._root, *self._ancestors(self._own)}

    def foreign(self, pids: Iterable[int]) -> tuple[int, ...]:
        """Those of the processes that are not ours.

        In a container with process ids of its own, a driver may give the host's. Such numbers
        name nobody here; as many of them as processes of ours use CUDA are taken for ours.
        """
        strangers = [pid for pid in pids if pid not in self._ours and not self._is_descendant(pid)]
        nameless = [pid for pid in strangers if not (self._proc / str(pid)).exists()]
        if not nameless or not self._has_own_pid_namespace():
            return tuple(strangers)
        excused = set(nameless[: self._cuda_processes()])
        return tuple(pid for pid in strangers if pid not in excused)

    def _is_descendant(self, pid: int) -> bool:
        if self._root not in self._ancestors(pid):
            return False
        # Kept, because a driver may list it for a moment longer than it lives.
        self._ours.add(pid)
        return True

    def _ancestors(self, pid: int) -> list[int]:
        found: list[int] = []
        while pid > 1 and len(found) < MOST_ANCESTORS:
            pid = self._parent(pid)
            found.append(pid)
        return [each for each in found if each > 1]

    def _parent(self, pid: int) -> int:
        try:
            stat = (self._proc / str(pid) / "stat").read_text()
        except OSError:
            return 0
        # The command in parentheses may itself hold spaces and parentheses.
        return int(stat.rpartition(")")[2].split()[1])

    def _has_own_pid_namespace(self) -> bool:
        try:
            return os.readlink(self._proc / str(self._own) / "ns" / "pid") != INITIAL_PID_NAMESPACE
        except OSError:
            return False

    def _cuda_processes(self) -> int:
        pids = [int(path.name) for path in self._proc.iterdir() if path.name.isdecimal()]
        ours = [pid for pid in pids if pid == self._own or self._is_descendant(pid)]
        return sum(1 for pid in ours if self._uses_cuda(pid))

    def _uses_cuda(self, pid: int) -> bool:
        try:
            files = list((self._proc / str(pid) / "fd").iterdir())
            return any(str(file.readlink()) == CUDA_DEVICE for file in files)
        except OSError:
            return False
