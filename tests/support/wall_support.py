"""A logger as it runs beside a plug meter."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD = 0.02
"""Between readings (s)."""


@contextmanager
def logging_watts(path: Path, watts: Callable[[], float]) -> Iterator[threading.Event]:
    """Write a CSV of wall watts while the block runs, or until the event is set."""
    stop = threading.Event()
    path.write_text("timestamp,watts\n")

    def write() -> None:
        with path.open("a", buffering=1) as file:
            while not stop.wait(PERIOD):
                file.write(f"{time.time():.6f},{watts():.3f}\n")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()
