"""Runs that one test leaves for the next ones of the same session: built once, and warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MOST_IDLE = 2
"""Runs that wait for another test: both sides of a comparison."""


class SharedRuns:
    """Runs that no test holds at the moment, by what they were asked for with, the latest last."""

    def __init__(self, most_idle: int = MOST_IDLE) -> None:
        self._most = most_idle
        self._idle: dict[str, Any] = {}

    def take(self, asked: str, build: Callable[[], Any]) -> Any:
        """The run that was asked for, which its test has to itself until it gives it back."""
        run = self._idle.pop(asked, None)
        if run is not None:
            return run
        self._keep(max(self._most - 1, 0))  # no more memory than without sharing
        return build()

    def give_back(self, asked: str, run: Any) -> None:
        """Keep a run for another test, unless its test has closed it or another is kept."""
        if not run.batches or asked in self._idle:
            run.close()
            return
        self._idle[asked] = run
        self._keep(self._most)

    def close(self) -> None:
        """Free the runs that wait, such as for a test that needs the memory."""
        self._keep(0)

    def _keep(self, most: int) -> None:
        while len(self._idle) > most:
            self._idle.pop(next(iter(self._idle))).close()
