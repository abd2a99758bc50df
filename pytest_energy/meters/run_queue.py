"""How long the threads of processes waited for a core, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
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

    @property
    def ready_seconds(self) -> float:
        """The time that the threads were ready to run (s), with a core or without."""
        return self.ran_seconds + self.waited_seconds

    @property
    def share(self) -> float:
        """The share of the time ready to run that was spent without a core, 0 if unknown."""
        return self.waited_seconds / self.ready_seconds if self.ready_seconds > 0 else 0.0


class RunQueue:
    """The threads' time on a core and without one, which only grows.

    A thread that begins and ends between two looks is not seen. `is_known` is false where the
    kernel does not tell, as outside Linux: nothing counts as waiting there.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._total = Waited()
        self._seen = dict(_threads(pids))
        self.is_known = any(one.ran_seconds > 0 for one in self._seen.values())

    def read(self, pids: Iterable[int]) -> Waited:
        """The sum so far over the threads of these processes."""
        seen = dict(_threads(pids))
        ran, waited = self._total
        for thread, now in seen.items():
            before = self._seen.get(thread, Waited())
            # A number that was given again begins at nothing.
            further = now.since(before) if now.ran_seconds >= before.ran_seconds else now
            ran += further.ran_seconds
            waited += max(0.0, further.waited_seconds)
        self._seen = seen
        self._total = Waited(ran, waited)
        return self._total


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
