"""The machine's clocks, as they are while a test has patched or frozen them. PYTEST_DONT_REWRITE.

All that waits, dates or counts seconds goes by `real_time`, since joules flow in real time. Tests
patch `time.monotonic`, and freezegun replaces the real functions in every module that holds them.
Neither looks into an object. The package time-machine changes the functions themselves, in some
releases `time.monotonic` too. It leaves the system's monotonic clock alone, and has a way out for
dates.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial


class Clock:
    """The functions as they were when this was imported, which pytest does when it starts."""

    process_seconds = staticmethod(time.process_time)
    """CPU seconds of this process."""
    thread_seconds = staticmethod(time.thread_time)
    """CPU seconds of this thread."""
    moment = datetime
    """The class itself, in place of a frozen one."""
    _unix_seconds = staticmethod(time.time)

    def __init__(self) -> None:
        self.monotonic: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
        """Seconds that pass evenly, from no particular moment; all windows are measured by it."""
        self.sleep: Callable[[float], None] = time.sleep

    @contextmanager
    def simulated(
        self, monotonic: Callable[[], float], sleep: Callable[[float], None]
    ) -> Iterator[None]:
        """Let the seconds of a simulated device pass in place of real ones; for simulators."""
        real = self.monotonic, self.sleep
        self.monotonic, self.sleep = monotonic, sleep
        try:
            yield
        finally:
            self.monotonic, self.sleep = real

    def unix_seconds(self) -> float:
        """Seconds since 1970 (UTC)."""
        way_out = getattr(sys.modules.get("time_machine"), "escape_hatch", None)
        if way_out is not None and way_out.is_travelling():
            return float(way_out.time.time())
        return self._unix_seconds()

    def utc(self) -> datetime:
        """The date and time now, in UTC."""
        return self.moment.fromtimestamp(self.unix_seconds(), timezone.utc)


real_time = Clock()
