"""What is being measured now: a live line where the terminal can, else plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable


class Progress:
    """Shows windows as they are bought; `write` reaches the person past pytest's capturing.

    `live` overwrites one line in place; else one plain line is written for each finished figure.
    """

    def __init__(self, write: Callable[[str], None] | None = None, *, live: bool = False) -> None:
        self._write = write
        self._live = live
        self._started = time.monotonic()
        self._done = 0
        self._total = 0
        self._shown = False

    def expect(self, total: int) -> None:
        """Say how many figures the run will measure, for the time left."""
        self._total = total
        self._started = time.monotonic()

    def window(self, identifier: str, number: int, text: str) -> None:
        """Show one more window of a figure; number 0 is warm-up."""
        if self._live and self._write:
            self._shown = True
            what = f"window {number}" if number else "warm-up"
            self._write(f"\r\x1b[2K{identifier}  {what}  {text}{self._remaining()}")

    def done(self, identifier: str, text: str) -> None:
        """Say that a figure is finished."""
        self._done += 1
        self.clear()
        if not self._live and self._write:
            self._write(f"\n{identifier}  {text}{self._remaining()}\n")

    def note(self, text: str) -> None:
        """Say something a person must know now, such as whom the run waits for."""
        self.clear()
        if self._write:
            self._write(f"\n{text}\n")

    def clear(self) -> None:
        """Take the live line away."""
        if self._shown and self._write:
            self._write("\r\x1b[2K")
            self._shown = False

    def _remaining(self) -> str:
        left = self._total - self._done
        if not self._done or left <= 0:
            return ""
        seconds = (time.monotonic() - self._started) / self._done * left
        return f"  ETA {seconds / 60:.0f} min" if seconds >= 60 else f"  ETA {seconds:.0f} s"
