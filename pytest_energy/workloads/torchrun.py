"""torchrun as a process of its own: started, watched, read when it fails, and ended for good."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

TAIL_LINES = 15
GRACE_SECONDS = 5.0
"""How long ranks may take to be gone once they are killed."""
_ROOT_CAUSE = re.compile(
    r"Root Cause.*?rank\s*:\s*(?P<rank>\d+).*?exitcode\s*:\s*(?P<code>-?\d+)", re.DOTALL
)


@dataclass(frozen=True)
class Failure:
    """Which rank of this node ended first, how, and the last it wrote to stderr."""

    rank: int
    exit_code: int
    tail: str

    @property
    def how(self) -> str:
        """`exit code 3`, or the signal's name."""
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        with suppress(ValueError):
            return signal.Signals(-self.exit_code).name
        return f"signal {-self.exit_code}"


class Agent:
    """torchrun on this node; its ranks' output goes to files, which are kept until `close`."""

    def __init__(
        self, rendezvous: Sequence[str], program: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pytest-energy-torchrun-"))
        self._log = self._folder / "torchrun.log"
        command = [sys.executable, "-m", "torch.distributed.run", *rendezvous, "--max-restarts=0"]
        command += [f"--log-dir={self._folder / 'ranks'}", "--redirects=3", *program]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us: we end the ranks, and say so once.
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether torchrun has not ended."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> bool:
        """Wait until torchrun ends of itself; says whether it did."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def failure(self) -> Failure | None:
        """What torchrun says of the rank that failed first; None where it names none."""
        found = _ROOT_CAUSE.search(self._log.read_text(errors="replace"))
        if found is None:
            return None
        rank = int(found["rank"])
        return Failure(rank, int(found["code"]), self.tails().get(rank, ""))

    def last_words(self) -> str:
        """The last line of torchrun's own output, which names its error."""
        return _tail(self._log).rpartition("\n")[2]

    def tails(self) -> dict[int, str]:
        """The last lines that each rank of this node wrote to stderr, if it wrote any."""
        files = sorted(self._folder.rglob("stderr.log"))
        tails = {int(file.parent.name): _tail(file) for file in files}
        return {rank: tail for rank, tail in tails.items() if tail}

    def close(self) -> None:
        """End torchrun and all that it started at once; a second call does nothing."""
        # Ranks have sessions of their own, so no signal to torchrun's group would reach them.
        descendants = self._descendants()
        self._process.kill()
        self._process.wait()
        _kill(descendants)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _descendants(self) -> list[Any]:
        psutil: Any = import_module("psutil")
        try:
            found: list[Any] = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.Error:
            return []
        return found


def _kill(processes: Sequence[Any]) -> None:
    psutil: Any = import_module("psutil")
    for process in processes:
        with suppress(psutil.Error):  # psutil knows a process again by when it began
            process.kill()
    deadline = time.monotonic() + GRACE_SECONDS
    while any(_lives(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)


def _lives(process: Any) -> bool:
    psutil: Any = import_module("psutil")
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _tail(file: Path) -> str:
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-TAIL_LINES:])
