"""What is being measured now: a live line where the terminal can, else a plain line now and then.

PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from pytest_energy.clocks import real_time
from pytest_energy.errors import informing
from pytest_energy.text import safe_line, safe_lines
from pytest_energy.units import duration

LINE_SECONDS = 30.0
"""Between two plain lines of windows; a figure that ends sooner has none."""
GOOD_SECONDS = 2.0
"""What a window should take: long for a meter, short for who waits."""
LONG_SECONDS = 8.0
"""A window that takes longer is worth a word."""
SHORT_SECONDS = (0.1, 0.5)
"""So is a shorter one, unless it is a simulation's."""


class Progress:
    """Shows windows as they are measured; `write` reaches the person past pytest's capturing.

    `live` overwrites one line in place. Else a plain line is written for each finished figure, and
    for the windows of one that takes long, at first and then every `LINE_SECONDS`.
    """

    def __init__(self, write: Callable[[str], None] | None = None, *, live: bool = False) -> None:
        self._write = write
        self._live = live
        self._started = real_time.monotonic()
        self._done = 0
        self._total = 0
        self._shown = False
        self._begins, self._windows, self._most_windows = True, 0, 0
        self._line_at = self._started
        self._proposed = False

    def expect(self, total: int) -> None:
        """Say how many tests the run will meter, for the time left."""
        self._total = total
        self._started = real_time.monotonic()

    def begin(self, most_windows: int, identifier: str = "", seconds: float | None = None) -> None:
        """Say how many windows the next figure takes at most, warm-up included.

        If it is known how long each takes, a figure that takes long says so before the first.
        """
        self._begins, self._windows, self._most_windows = True, 0, most_windows
        if seconds is None or most_windows * seconds < LINE_SECONDS:
            return
        self._begins, self._line_at = False, real_time.monotonic()
        line = f"{safe_line(identifier)}  at most {most_windows} windows of about "
        line += f"{duration(seconds)}, {duration(most_windows * seconds)} in all"
        self._shown = self._live
        self._say(f"\r\x1b[2K{line}" if self._live else f"\n{line}\n")

    def window(self, identifier: str, number: int, text: str, seconds: float | None = None) -> None:
        """Show one more window of a figure, which took so long; number 0 is warm-up.

        They are counted with those of the figure's other runs and of warm-up, if it is known how
        many that are at most.
        """
        is_first, self._begins = self._begins, False
        self._windows += 1
        left = 0.0
        if self._windows <= self._most_windows:
            what = f"window {self._windows} of at most {self._most_windows}"
            what += "" if number else " (warm-up)"
        else:
            what = f"window {number}" if number else "warm-up"
        line = f"{safe_line(identifier)}  {what}  {text}"
        if seconds is not None:
            left = max(0, self._most_windows - self._windows) * seconds
            line += f"  {duration(seconds)} per window"
            line += f", at most {duration(left)} left" if left else ""
        line += self._remaining()
        if self._live:
            self._shown = True
            self._say(f"\r\x1b[2K{line}")
            return
        now = real_time.monotonic()
        if now - self._line_at >= LINE_SECONDS or (is_first and left >= LINE_SECONDS):
            self._line_at = now
            self._say(f"\n{line}\n")

    def propose(self, tokens: int, seconds: float, task: str | None = None) -> None:
        """Say once which budget of tokens would do, if a window of so many is far from that.

        A `task` may have one of its own; a run of no task need not go by `--energy-tokens`.
        """
        least, few = SHORT_SECONDS
        if self._proposed or not (seconds >= LONG_SECONDS or least <= seconds < few):
            return
        self._proposed = True
        what = "are enough" if seconds >= LONG_SECONDS else "tell more"
        tokens_then = round(tokens * GOOD_SECONDS / seconds)
        advice = f"let a window of this run process {tokens_then:,}"
        if task:
            advice = (
                f"try `--energy-tokens={tokens_then}`, or `tokens_of_tasks.{task} = {tokens_then}` "
                "in the baseline file"
            )
        self.note(
            f"a window of {tokens:,} tokens takes {duration(seconds)} here, and {GOOD_SECONDS:g} s "
            f"{what}: {advice}"
        )

    def done(self, identifier: str, text: str) -> None:
        """Say that a figure is finished."""
        self.clear()
        self._begins, self._line_at = True, real_time.monotonic()
        if not self._live:
            self._say(f"\n{safe_line(identifier)}  {text}{self._remaining(finishing=1)}\n")

    def reported(self, *, skipped: bool) -> None:
        """Count a metered test: one that is skipped takes no time, nor does it tell."""
        if skipped:
            self._total -= 1
        else:
            self._done += 1

    def note(self, text: str) -> None:
        """Say something a person must know now, such as whom the run waits for."""
        self.clear()
        self._say(f"\n{safe_lines(text)}\n")

    def waited(self, seconds: float) -> None:
        """Leave time that was no work out of the estimate of what is left."""
        self._started += seconds

    def clear(self) -> None:
        """Take the live line away."""
        if self._shown:
            self._say("\r\x1b[2K")
            self._shown = False

    def _say(self, text: str) -> None:
        if self._write is not None:
            with informing("progress"):  # such as a terminal that has gone
                self._write(text)

    def _remaining(self, finishing: int = 0) -> str:
        done = self._done + finishing
        left = self._total - done
        if not done or left <= 0:
            return ""
        seconds = (real_time.monotonic() - self._started) / done * left
        return f"  ETA {duration(seconds)}"


def progress_of(config: pytest.Config) -> Progress:
    """What shows progress in a run: silent with `-q` or without a terminal reporter."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    if reporter is None or config.getoption("verbose") < 0:
        return Progress()

    def write(text: str) -> None:
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            # A line that pytest has begun is ended first, and pytest knows that it is: it begins
            # the next one with the file's name again.
            reporter.ensure_newline()
            reporter.write(text.removeprefix("\n"), flush=True)

    return Progress(write, live=reporter.isatty)
