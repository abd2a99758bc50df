"""How long the threads of processes waited for a core, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

NANOSECONDS = 1e-9


class Waited(NamedTuple):
    """Seconds since the first look, of all threads together: on a core, and ready without one."""

    ran_seconds: float = 0.0
    waited_seconds: float = 0.0

    def since(self, before: Waited) -> Waited:
        """What has come since an earlier look."""
        return Waited(
            self.ran_seconds - before.ran_seconds, self.waited_seconds - before.waited_seconds
        )

    def plus(self, further: Waited) -> Waited:
        """Both together."""
        return Waited(
            self.ran_seconds + further.ran_seconds, self.waited_seconds + further.waited_seconds
        )

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
        by_process = {
            pid: waited.since(before.by_process.get(pid, Waited()))
            for pid, waited in self.by_process.items()
        }
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

    root = Path(getattr(psutil, "PROCFS_PATH", "/proc"))
    for pid in pids:
        with suppress(OSError):
            for thread in os.listdir(root / str(pid) / "task"):
                with suppress(OSError, ValueError):
                    text = (root / str(pid) / "task" / thread / "schedstat").read_bytes()
                    ran, waited, _ = text.split()
                    yield (
                        (pid, int(thread)),
                        Waited(int(ran) * NANOSECONDS, int(waited) * NANOSECONDS),
                    )
