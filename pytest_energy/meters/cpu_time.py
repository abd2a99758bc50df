"""CPU time of a process tree, and how long its threads waited for a core; both only grow."""

from __future__ import annotations

import math
import os
import resource
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from operator import add, sub
from pathlib import Path
from typing import Any, NamedTuple

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.meters.process_tree import ROOT_VARIABLE
from pytest_energy.meters.protocol import UNSEEN_WORK, fault

UNSEEN_SECONDS = 0.03
UNSEEN_SHARE = 0.01
"""CPU time that may go unseen in a stretch: the larger of so much, and of this share of ours."""

MOST_SHARE = 0.1
"""Share of all CPUs that processes other than ours may use before it is told."""


class Seen(NamedTuple):
    """A process at one look: CPU seconds of its own, and of children that it waited for.

    `adopts`: it is handed processes whose parent has ended. `group`: its process group, which
    those keep; 0 if it is not known. `resident_bytes`: the memory that it holds.
    """

    born: float = 0.0
    parent: int = 0
    seconds: float = 0.0
    ended_seconds: float = 0.0
    adopts: bool = False
    group: int = 0
    resident_bytes: int = 0


class CpuTime:
    """CPU seconds of a process and all that is descended from it, from the first look on.

    A process that ends hands its time to the parent that waits for it, looked at or not. One that
    loses its parent is followed on; if it ends, and who was handed its time cannot be told, that is
    a fault. `orphans_seconds` is what processes without a parent, whose they may be, were seen to
    have used when they ended in the last stretch (s).
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._seconds = self.orphans_seconds = 0.0
        self._cost, self._began = 0.0, real_time.thread_seconds()
        self._ours: set[int] = set()
        self._seen = self._look()
        self._ours = self._tree(self._seen, self._seen)

    @property
    def pids(self) -> frozenset[int]:
        """The processes of the tree at the last look."""
        return frozenset(self._ours)

    @property
    def resident_bytes(self) -> int:
        """The memory that the tree held at the last look; pages in common count for each holder."""
        return sum(self._seen[pid].resident_bytes for pid in self._ours)

    def read(self) -> tuple[float, tuple[str, ...]]:
        """CPU seconds so far (s), and what of the stretch since the last call is unknown."""
        self._began = real_time.thread_seconds()
        before, now = self._seen, self._look()
        tree = self._tree(now, before)
        gone = [pid for pid, process in before.items() if not _is_same(process, now.get(pid))]
        heirs = {pid: _heir(pid, before, gone) for pid in gone}
        handed = dict.fromkeys(now, 0.0)
        for pid, heir in heirs.items():
            if heir in handed:
                handed[heir] += before[pid].seconds + before[pid].ended_seconds
        further, unseen = 0.0, {}
        for pid, process in now.items():
            old = Seen() if pid in gone else before.get(pid, Seen())
            # Of children that it was handed: what they spent after they were looked at last.
            unseen[pid] = process.ended_seconds - old.ended_seconds - handed[pid]
            if pid in tree:
                further += max(0.0, process.seconds - old.seconds) + max(0.0, unseen[pid])
        of_ours = {heirs[pid] for pid in self._ours if pid in heirs}
        most = max(UNSEEN_SECONDS, UNSEEN_SHARE * further)
        faults = *self._ignored(of_ours & tree), *_unknown(of_ours, tree, unseen, most)
        adopting = {pid for pid, process in now.items() if process.adopts} - tree
        orphans = sum(max(0.0, unseen[pid]) for pid in adopting - of_ours)
        for pid, process in now.items():
            if process.parent in adopting and pid not in tree and pid not in before:
                orphans += process.seconds + process.ended_seconds
        self.orphans_seconds = orphans if orphans > most else 0.0
        self._seen, self._ours = now, tree
        self._seconds += further
        self._cost += real_time.thread_seconds() - self._began
        return self._seconds, faults

    def _ignored(self, parents: Iterable[int]) -> Iterator[str]:
        for pid in {self._root, *parents}:
            if _ignores_children(pid):
                yield fault(
                    UNSEEN_WORK,
                    f"process {pid} ignores `SIGCHLD`, so that the CPU time of its children is "
                    "lost when they end; set that signal to its default",
                )

    def _tree(self, now: Mapping[int, Seen], before: Mapping[int, Seen]) -> set[int]:
        """The root, what was ours and still lives, and what is descended from them."""
        known = {pid for pid in self._ours if _is_same(before[pid], now.get(pid))}
        tree = _with_descendants(known | {self._root}, now)
        groups = {now[pid].group for pid in tree} - {0}
        adopting = {pid for pid, process in now.items() if process.adopts} - tree
        orphans = {
            pid
            for pid, process in now.items()
            if process.parent in adopting
            and process.group in groups
            and not (pid in before and _is_same(before[pid], process))
        }
        return _with_descendants(tree | orphans, now)

    def _look(self) -> dict[int, Seen]:
        found = _processes()
        if self._root not in found:
            raise EnergyError(
                f"`{ROOT_VARIABLE}={self._root}` is no process that runs here: name one that does, "
                "or unset it to mean the process that meters"
            )
        if self._root == os.getpid():  # of itself a process knows more digits
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            looking = self._cost + real_time.thread_seconds() - self._began
            found[self._root] = found[self._root]._replace(
                seconds=real_time.process_seconds() - looking,
                ended_seconds=ended.ru_utime + ended.ru_stime,
            )
        return found


def _unknown(
    heirs: Iterable[int], tree: set[int], unseen: Mapping[int, float], most: float
) -> Iterator[str]:
    """Of ended processes of ours: that an heir was not handed what was seen of them, or more.

    More is of ours as well if the heir is.
    """
    for pid in heirs:
        seconds = unseen.get(pid, -math.inf)
        if seconds < -most or (seconds > most and pid not in tree):
            yield fault(
                UNSEEN_WORK,
                "a process of ours ended, and nobody of ours was told its CPU time; let each "
                "process wait for those that it starts",
            )


def _with_descendants(pids: set[int], processes: Mapping[int, Seen]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found, left = set(pids), list(pids)
    while left:
        born = [pid for pid in children.get(left.pop(), ()) if pid not in found]
        found.update(born)
        left += born
    return found


def _is_same(process: Seen, later: Seen | None) -> bool:
    return later is not None and later.born == process.born


def _heir(pid: int, before: Mapping[int, Seen], gone: Iterable[int]) -> int:
    """Who was handed the time of a process that ended, if its parents waited; 0: nobody."""
    ended = set(gone)
    while pid in ended:
        pid = before[pid].parent
    return pid


def _processes() -> dict[int, Seen]:
    """All processes by id, from the kernel's own files if there are some, which is faster."""
    import psutil

    found = {}
    if Path(psutil_path := getattr(psutil, "PROCFS_PATH", "/proc"), "self", "stat").is_file():
        for name in os.listdir(psutil_path):
            if name.isdecimal():
                with suppress(OSError):
                    found[int(name)] = _of_stat(int(name), f"{psutil_path}/{name}/stat")
        return found
    for process in psutil.process_iter(["ppid", "cpu_times", "create_time", "memory_info"]):
        info: Any = process.info
        if times := info["cpu_times"]:
            user, system, *ended = times[:4]
            seen = Seen(info["create_time"], info["ppid"] or 0, user + system, sum(ended))
            resident = info["memory_info"].rss if info["memory_info"] else 0
            found[process.pid] = seen._replace(adopts=process.pid == 1, resident_bytes=resident)
    return found


def machine_seconds() -> tuple[float, float] | None:
    """CPU seconds of the machine since it started (s): that there were, and that were used.

    None if the kernel does not tell.
    """
    import psutil

    with suppress(OSError, ValueError, RuntimeError, psutil.Error):
        # Guests' time is in that of their users already.
        times = psutil.cpu_times()._replace(guest=0.0, guest_nice=0.0)
        return sum(times), sum(times) - times.idle - times.iowait - times.steal
    return None


_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STAT_BYTES = 4096


def _of_stat(pid: int, path: str) -> Seen:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The name may hold anything, parentheses and blanks included.
        begin, _, rest = os.read(handle, _STAT_BYTES).rpartition(b")")
    finally:
        os.close(handle)
    fields = rest.split(None, 22)
    own, ended = (sum(map(int, fields[i : i + 2])) / _TICKS for i in (11, 13))
    adopts = pid == 1 or begin.partition(b"(")[2] == b"systemd"
    resident = int(fields[21]) * _PAGE_BYTES
    return Seen(float(fields[19]), int(fields[1]), own, ended, adopts, int(fields[2]), resident)


def _ignores_children(pid: int) -> bool:
    """Whether the kernel throws the CPU time of its children away when they end."""
    if pid == os.getpid():
        return signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    with suppress(OSError, ValueError, IndexError):
        status = Path(f"/proc/{pid}/status").read_bytes()
        mask = int(status.partition(b"SigIgn:")[2].split()[0], 16)
        return bool(mask >> (signal.SIGCHLD - 1) & 1)
    return False


NANOSECONDS = 1e-9


class Waited(NamedTuple):
    """Seconds since the first look, of all threads together: on a core, and ready without one."""

    ran_seconds: float = 0.0
    waited_seconds: float = 0.0

    def since(self, before: Waited) -> Waited:
        """What has come since an earlier look."""
        return Waited(*map(sub, self, before))

    def plus(self, further: Waited) -> Waited:
        """Both together."""
        return Waited(*map(add, self, further))

    @property
    def ready_seconds(self) -> float:
        """The time that the threads were ready to run (s), with a core or without."""
        return self.ran_seconds + self.waited_seconds

    @property
    def share(self) -> float:
        """The share of the time ready to run that was spent without a core, 0 if unknown."""
        return self.waited_seconds / self.ready_seconds if self.ready_seconds > 0 else 0.0


@dataclass(frozen=True)
class Waits:
    """What threads waited since the first look: of each process that lives, and of all together."""

    total: Waited = field(default_factory=Waited)
    by_process: Mapping[int, Waited] = field(default_factory=dict)

    def since(self, before: Waits) -> Waits:
        """What has come since an earlier look."""
        known, now = before.by_process, self.by_process
        by_process = {pid: waited.since(known.get(pid, Waited())) for pid, waited in now.items()}
        return Waits(self.total.since(before.total), by_process)


class RunQueue:
    """The threads' time on a core and without one, which only grows.

    A thread that begins and ends between two looks is not seen. `is_known` is false if the
    kernel does not tell, as outside Linux: nothing counts as waiting there.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._waits = Waits()
        self._seen = dict(_threads(pids))
        self.is_known = any(one.ran_seconds > 0 for one in self._seen.values())

    def read(self, pids: Iterable[int]) -> Waits:
        """What all threads of these processes waited so far."""
        seen = dict(_threads(pids))
        total, known = self._waits.total, self._waits.by_process
        by_process = {pid: known.get(pid, Waited()) for pid, _ in seen}
        for thread, now in seen.items():
            before = self._seen.get(thread, Waited())
            # A number that was given again begins at nothing.
            further = now.since(before) if now.ran_seconds >= before.ran_seconds else now
            total = total.plus(further)
            by_process[thread[0]] = by_process[thread[0]].plus(further)
        self._seen, self._waits = seen, Waits(total, by_process)
        return self._waits


def _threads(pids: Iterable[int]) -> Iterator[tuple[tuple[int, int], Waited]]:
    import psutil

    for pid in pids:
        folder = Path(getattr(psutil, "PROCFS_PATH", "/proc"), str(pid), "task")
        with suppress(OSError):
            for thread in os.listdir(folder):
                with suppress(OSError, ValueError):
                    ran, waited, _ = map(int, (folder / thread / "schedstat").read_bytes().split())
                    yield (pid, int(thread)), Waited(ran * NANOSECONDS, waited * NANOSECONDS)
