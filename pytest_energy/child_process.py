"""A child process: started in a session of its own, read when it fails, and ended for good."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

TAIL_LINES = 25
TAIL_BYTES = 20_000
KILL_SECONDS = 5.0
"""How long processes may take to be gone once they are killed."""


class ChildProcess:
    """A command at work, which reads nothing; `output` is the file that it prints to.

    `folder` is private to it and removed when it is stopped. Raises `OSError` if it does not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str],
        working_folder: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.output = folder / "output"
        try:
            with self.output.open("wb") as output:
                self._process = subprocess.Popen(
                    command,
                    cwd=working_folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=pass_fds,
                    # Ctrl-C is for us: we end the child, and say so once.
                    start_new_session=True,
                )
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def wait(self, seconds: float = 0.0) -> int | None:
        """Its exit code; None if it has not ended by itself within `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Kill its whole session at once, so that a later `stop` need not wait for it."""
        self._signal(signal.SIGKILL)

    def stop(self, grace_seconds: float = 0.0) -> None:
        """End it and all that it started, by force if it does not follow; again does nothing.

        It has `grace_seconds` to end by itself, and as long again after SIGTERM.
        """
        if not self.folder.exists():
            return
        started = self._descendants()
        try:
            if self.wait(grace_seconds) is None and grace_seconds:
                self._signal(signal.SIGTERM)
                self.wait(grace_seconds)
        finally:
            started |= self._descendants()
            self.kill()
            self._process.wait()
            _kill(started)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _descendants(self) -> set[psutil.Process]:
        """What it has started that runs now, in sessions of their own, too."""
        import psutil

        with suppress(psutil.Error):
            return set(psutil.Process(self._process.pid).children(recursive=True))
        return set()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def signal_name(exit_code: int) -> str | None:
    """The signal that ended a process, such as `SIGKILL`; None if none did."""
    if exit_code >= 0:
        return None
    with suppress(ValueError):
        return signal.Signals(-exit_code).name
    return f"signal {-exit_code}"


def tail_of(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a file, without what cannot be decoded; empty if there is no file."""
    try:
        text = path.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return "\n".join(line.rstrip() for line in text.splitlines()[-lines:])


def _kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes, which are known again by when they began, and wait until they are gone."""
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    give_up = time.monotonic() + KILL_SECONDS
    while any(map(_is_alive, processes)) and time.monotonic() < give_up:
        time.sleep(0.02)


def _is_alive(process: psutil.Process) -> bool:
    import psutil

    with suppress(psutil.Error):
        # One that nobody waits for stays as a zombie.
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
