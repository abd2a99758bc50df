"""What is being measured now: a live line where the terminal can, else plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pytest_energy.text import safe_line, safe_lines


class Progress:
    """Shows windows as they are measured; `write` reaches the person past pytest's capturing.

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
        """Say how many tests the run will meter, for the time left."""
        self._total = total
        self._started = time.monotonic()

    def window(self, identifier: str, number: int, text: str) -> None:
        """Show one more window of a figure; number 0 is warm-up."""
        if self._live and self._write:
            self._shown = True
            what = f"window {number}" if number else "warm-up"
            self._write(f"\r\x1b[2K{safe_line(identifier)}  {what}  {text}{self._remaining()}")

    def done(self, identifier: str, text: str) -> None:
        """Say that a figure is finished."""
        self.clear()
        if not self._live and self._write:
            self._write(f"\n{safe_line(identifier)}  {text}{self._remaining(finishing=1)}\n")

    def reported(self, when: str, *, skipped: bool) -> None:
        """Count a phase of a metered test: one that is skipped takes no time, nor does it tell."""
        if skipped:
            self._total -= 1
        elif when == "call":
            self._done += 1

    def note(self, text: str) -> None:
        """Say something a person must know now, such as whom the run waits for."""
        self.clear()
        if self._write:
            self._write(f"\n{safe_lines(text)}\n")

    def waited(self, seconds: float) -> None:
        """Leave time that was no work out of the estimate of what is left."""
        self._started += seconds

    def clear(self) -> None:
        """Take the live line away."""
        if self._shown and self._write:
            self._write("\r\x1b[2K")
            self._shown = False

    def _remaining(self, finishing: int = 0) -> str:
        done = self._done + finishing
        left = self._total - done
        if not done or left <= 0:
            return ""
        seconds = (time.monotonic() - self._started) / done * left
        return f"  ETA {seconds / 60:.0f} min" if seconds >= 60 else f"  ETA {seconds:.0f} s"


def progress_of(config: pytest.Config) -> Progress:
    """What shows progress in a run: silent with `-q` or without a terminal reporter."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    if reporter is None or config.getoption("verbose") < 0:
        return Progress()

    def write(text: str) -> None:
        if capture is None:
            reporter.write(text, flush=True)
            return
        with capture.global_and_fixture_disabled():
            reporter.write(text, flush=True)

    return Progress(write, live=reporter.isatty)
