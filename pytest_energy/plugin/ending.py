"""Signals that would end a run at once end it in order, as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import NoReturn

import pytest

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def end_in_order_on_signals(config: pytest.Config) -> None:
    """Have processes, folders and worktrees of ours taken away if a job is cancelled.

    Handlers of others stay, and a second signal ends the run at once. One that comes when the
    tests are over lets what is open be closed.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may
    taken = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _end)
    if taken:
        _received.clear()
        _over.clear()
        config.pluginmanager.register(_Ended())
        config.add_cleanup(_give_back)


_received: list[int] = []
"""The signal that ends the run, once it is there."""
_over = threading.Event()
"""The tests are over: what is left is to close what is open."""


class _Ended:
    """Ends the run whatever has caught the exception, and with the signal's own exit status."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        if _received:
            _interrupt(_received[0])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if _received:
            session.exitstatus = 128 + _received[0]
        _over.set()


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    _received.append(number)
    if not _over.is_set():
        _interrupt(number)


def _interrupt(number: int) -> NoReturn:
    # Not `pytest.exit`: that is an `Exception`, which what runs now may catch, and go on.
    raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")


def _give_back() -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)


class _Fork:
    """What a process forks is not the run: there the signals do what they always do.

    They wait meanwhile, since Python forgets those that reach a fork before it is ready.
    """

    def __init__(self) -> None:
        self._mask: set[signal.Signals | int] | None = None

    def before(self) -> None:
        if any(signal.getsignal(number) is _end for number in _SIGNALS):
            self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def after_in_parent(self) -> None:
        if self._mask is not None:
            mask, self._mask = self._mask, None
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def after_in_child(self) -> None:
        if self._mask is not None and threading.current_thread() is threading.main_thread():
            _give_back()
        self.after_in_parent()


_fork = _Fork()
os.register_at_fork(
    before=_fork.before, after_in_parent=_fork.after_in_parent, after_in_child=_fork.after_in_child
)
