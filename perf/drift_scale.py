"""Seconds and memory of `pytest-energy drift` over 1,000, 10,000 and 100,000 sessions.

Each history is read twice, as one JSON file a session and compacted to Parquet, by the command
itself in a process of its own. A session has one figure of four windows; a card has two years of
nightly sessions at most, so that more sessions are more cards. Needs /proc, so Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import planted
from pytest_energy.history.record import make_record
from pytest_energy.results import Origin

NIGHTS = 730
SIZES = (1_000, 10_000, 100_000)
# The process says what it used: what its parent is told of peak memory counts the parent's own.
_COMMAND = """
import pathlib, sys, time
from pytest_energy.cli import main

code = main()
status = pathlib.Path("/proc/self/status").read_text().split()
print(time.process_time(), int(status[status.index("VmHWM:") + 1]) / 1024, file=sys.stderr)
sys.exit(code)
"""


def main() -> None:
    """Print one row a size and form, and how fast the history was compacted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    print(f"{'sessions':>9} {'form':<9}{'on disk MB':>11}{'wall s':>9}{'CPU s':>8}{'peak MB':>9}")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), size)
            show(size, "JSON", Path(folder))
            used = run("history", "compact", folder)
            print(f"{size:>9,} {'compact':<9}{'':>11} {used}", flush=True)
            (Path(folder) / "h200").rename(Path(folder) / ".h200")  # hidden, so that it is not read
            show(size, "Parquet", Path(folder))


def write(folder: Path, size: int) -> None:
    """Write a history of so many sessions; nothing is planted in it."""
    for number in range(size):
        card, night = divmod(number, NIGHTS)
        if night == 0:
            noise = planted.days(NIGHTS, seed=card)
        document = planted.document(replace(noise[night], device=f"GPU-{card}"))
        record = make_record(
            document,
            Origin(uuid.UUID(int=number).hex, "main", False, "host", "runner"),
            # All of it past: sessions that are still to come are left out.
            now=planted.START + timedelta(days=night - NIGHTS, seconds=card),
        )
        path = folder / record.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.text)


def show(size: int, form: str, folder: Path) -> None:
    """Run the command over a history, and print what it took."""
    files = (path for part in folder.glob("[!.]*") for path in part.rglob("*.*"))
    disk = sum(path.stat().st_size for path in files)
    used = run("drift", "--history", str(folder))
    print(f"{size:>9,} {form:<9}{disk / 1e6:>11.1f} {used}", flush=True)


def run(*arguments: str) -> str:
    """Run `pytest-energy` in a process of its own; wall and CPU seconds, peak memory in MB."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments], capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - started
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    cpu, peak = (float(word) for word in done.stderr.split()[-2:])
    return f"{took:>8.1f}{cpu:>8.1f}{peak:>9.0f}"


if __name__ == "__main__":
    main()
