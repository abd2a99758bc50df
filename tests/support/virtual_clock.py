"""Simulated seconds: time passes only when every thread waits, then it jumps to who wakes first.

One thread runs at a time. When it sleeps, waits for an event or a lock, joins a thread, or calls
the simulated driver for longer than until the next thread wakes, the clock moves on to the thread
that is due first, and only that one runs. So a run with threads in it is the same each time, and
seconds of it cost as much as the Python in them.

What a real machine adds is there, too: each look at the clock takes `LOOK_SECONDS`, and a sleep
ends late by up to `LATEST_SECONDS`, drawn from the seed. On a busy `Host` some end much later.
Python between looks takes no time.

`real_time` follows this clock, and `threading.Lock`, `Event` and `Thread` are exchanged for ones
that wait by it. A thread takes part if its target's module knows `real_time`; all others, and what
was made before, go on by real seconds.
"""

from __future__ import annotations

import ctypes
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from threading import get_ident
from typing import Any
from unittest import mock

from pytest_energy.clocks import real_time

START_SECONDS = 1000.0
LOOK_SECONDS = 1e-6
SOONEST_SECONDS, LATEST_SECONDS = 50e-6, 150e-6
"""How late a sleep ends: Linux lets timers come 50 us late, and then a thread has to be run."""
STUCK_SECONDS = 2.0
"""Real seconds after which nothing that all wait for will happen any more."""

_real_lock = threading.Lock


@dataclass(frozen=True)
class Host:
    """How busy the machine is: a share of all sleeps ends late by up to so much more (s)."""

    late_share: float = 0.0
    late_seconds: float = 0.0


def _closed_lock() -> Any:
    lock = _real_lock()
    lock.acquire()
    return lock


@dataclass(eq=False)
class _Waiter:
    """A thread that waits until `wake` (s), or until `ready` says so."""

    wake: float
    ready: Callable[[], bool] | None = None
    turn: Any = field(default_factory=_closed_lock)
    """Released when it is this thread's turn."""

    def due(self, now: float) -> float:
        """When it is to run (s)."""
        return now if self.ready is not None and self.ready() else self.wake


class VirtualClock:
    """The clock and who waits for it; the simulated library shares the time through `nvmlSimNow`.

    To be made and closed by the thread that works.
    """

    def __init__(self, library: ctypes.CDLL, seed: int = 1, host: Host = Host()) -> None:
        self._library, self._host = library, host
        self._chance = random.Random(seed)
        self._now = ctypes.c_double.in_dll(library, "nvmlSimNow")
        self._next_wake = ctypes.c_double.in_dll(library, "nvmlSimNextWake")
        self._waiting: list[_Waiter] = []
        self._members = {get_ident()}
        self._call_back = ctypes.CFUNCTYPE(None, ctypes.c_double)(self.sleep_until)
        library.nvmlSimUseClock(self._call_back, ctypes.c_double(START_SECONDS))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let `real_time` and the threads that are made meanwhile go by this clock."""
        with (
            real_time.simulated(self.monotonic, self.sleep),
            mock.patch.multiple(threading, **_threads_of(self)),
        ):
            yield

    def close(self) -> None:
        """Let the library go by real seconds again."""
        self._library.nvmlSimUseClock(None, ctypes.c_double(0))

    @property
    def now(self) -> float:
        """The time (s), without taking any."""
        return self._now.value

    def monotonic(self) -> float:
        """The time (s), as a program sees it."""
        if not self.has_me():
            return self._now.value
        after = self._now.value + LOOK_SECONDS
        if after < self._next_wake.value:
            self._now.value = after
        else:
            self.sleep_until(after)
        return self._now.value

    def sleep(self, seconds: float) -> None:
        """Let others run for so long and a little longer (s)."""
        if not self.has_me():
            return time.sleep(seconds)
        return self.sleep_until(self._now.value + max(0.0, seconds) + self._late())

    def sleep_until(self, wake: float, ready: Callable[[], bool] | None = None) -> None:
        """Let others run until then (s), or until `ready` says so."""
        if not self.has_me():
            return
        if ready is None and wake < self._next_wake.value:
            self._now.value = max(wake, self._now.value)
            return
        waiter = _Waiter(wake, ready)
        self._waiting.append(waiter)
        self._run_next()
        waiter.turn.acquire()

    def wait(self, ready: Callable[[], bool], seconds: float | None) -> bool:
        """Let others run until `ready`; False if it is not after so long (s)."""
        until = inf if seconds is None else self._now.value + max(0.0, seconds)
        late = self._late()
        while not ready() and self._now.value < until:
            self.sleep_until(until + late, ready)
        return ready()

    def has_me(self) -> bool:
        """Whether the thread that asks goes by this clock."""
        return get_ident() in self._members

    def something_happened(self) -> None:
        """See whether one that waits is due now."""
        if self._waiting:
            now = self._now.value
            self._next_wake.value = min(waiter.due(now) for waiter in self._waiting)

    def expect(self) -> _Waiter:
        """A place for a thread that is about to start."""
        waiter = _Waiter(self._now.value)
        self._waiting.append(waiter)
        self.something_happened()
        return waiter

    def enter(self, waiter: _Waiter) -> None:
        """Join those that go by this clock; returns when it is this thread's turn."""
        self._members.add(get_ident())
        waiter.turn.acquire()

    def leave(self) -> None:
        """Let the others go on without this thread."""
        self._members.discard(get_ident())
        if self._waiting:
            self._run_next()

    def _late(self) -> float:
        late = self._chance.uniform(SOONEST_SECONDS, LATEST_SECONDS)
        if self._chance.random() < self._host.late_share:
            late += self._chance.uniform(0.0, self._host.late_seconds)
        return late

    def _run_next(self) -> None:
        now = self._now.value
        give_up = time.monotonic() + STUCK_SECONDS
        while (due := min(waiter.due(now) for waiter in self._waiting)) == inf:
            # A thread of others may hold what is waited for.
            if time.monotonic() > give_up:
                raise RuntimeError("every simulated thread waits for another one")
            time.sleep(0.001)
        chosen = next(waiter for waiter in self._waiting if waiter.due(now) <= due)
        self._waiting.remove(chosen)
        self._now.value = max(now, due)
        self._next_wake.value = min((w.due(due) for w in self._waiting), default=inf)
        chosen.turn.release()


def _threads_of(clock: VirtualClock) -> dict[str, Any]:
    """What stands for `threading.Lock`, `Event` and `Thread` while the clock is installed."""

    class Lock:
        def __init__(self) -> None:
            self._lock: Any = _real_lock()

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if self._lock.acquire(False):
                return True
            if not blocking or not clock.has_me():
                return bool(self._lock.acquire(blocking, timeout))
            until = inf if timeout < 0 else clock.now + timeout
            while not self._lock.acquire(False):
                if clock.now >= until:
                    return False
                clock.sleep_until(until, self._is_free)
            return True

        def release(self) -> None:
            self._lock.release()
            clock.something_happened()

        def locked(self) -> bool:
            return bool(self._lock.locked())

        def __enter__(self) -> bool:
            return self.acquire()

        def __exit__(self, *_: object) -> None:
            self.release()

        def _is_free(self) -> bool:
            return not self._lock.locked()

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout is None or not clock.has_me():
                return super().wait(timeout)
            return clock.wait(self.is_set, timeout)

    class Thread(threading.Thread):
        _place: _Waiter | None = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            target = kwargs.get("target")
            self._takes_part = "real_time" in getattr(target, "__globals__", {})
            self._has_left = False

        def start(self) -> None:
            if self._takes_part:
                self._place = clock.expect()
            super().start()

        def run(self) -> None:
            if self._place is None:
                return super().run()
            clock.enter(self._place)
            try:
                return super().run()
            finally:
                self._has_left = True
                clock.leave()

        def join(self, timeout: float | None = None) -> None:
            if self._takes_part and clock.has_me():
                if not clock.wait(lambda: self._has_left, timeout):
                    return
                timeout = None
            super().join(timeout)

    return {"Lock": Lock, "Event": Event, "Thread": Thread}
