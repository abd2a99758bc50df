"""Signals that would end a run at once end it in order, as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

import pytest

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def end_in_order_on_signals(config: pytest.Config) -> None:
    """Have processes, folders and worktrees of ours taken away if a job is cancelled.

    Handlers of others stay, and a second signal ends the run at once.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may
    ender = _Ender()
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, ender)
    config.add_cleanup(ender.leave)


class _Ender:
    """The handler of one process; in those that it forks, signals do what they always do."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __call__(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != self._pid:
            os.kill(os.getpid(), number)
            return
        pytest.exit(f"ended by {signal.Signals(number).name}", returncode=128 + number)

    def leave(self) -> None:
        """Let signals do again what they always do."""
        for number in _SIGNALS:
            if signal.getsignal(number) is self:
                signal.signal(number, signal.SIG_DFL)
