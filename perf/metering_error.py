"""How far windows are off, on a simulated NVML whose true energy is known exactly.

Run `python perf/metering_error.py`: a line for each load and length of window, with the error of
the joules (%), how often the stated uncertainty covers it, and the CPU time of begin and end.
The load is a sleep, so that power does not depend on the process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from sim import SimulatedGpu, environment  # noqa: E402

CONSTANT = "constant 300"
SQUARE = "square 100 400 0.7 0.5"
MEASURE = """
import json, random, sys, time
import sim
from pytest_energy import open_meter, window

windows, seconds = int(sys.argv[1]), float(sys.argv[2])
chance = random.Random(1)
meter = open_meter("nvml")
for _ in range(windows):
    time.sleep(chance.uniform(0, 0.15))
    open_window = window(meter, "work")
    cpu = time.thread_time()
    open_window.__enter__()
    cpu = time.thread_time() - cpu
    begin = time.monotonic()
    time.sleep(seconds * chance.uniform(0.9, 1.1))
    end = time.monotonic()
    cpu -= time.thread_time()
    open_window.__exit__(None, None, None)
    cpu += time.thread_time()
    waited = time.monotonic() - end
    record = open_window.record
    true = sum(sim.energy_between(begin, end, gpu) for gpu in range(len(meter.devices)))
    error = record.joules / true - 1
    stated = record.uncertainty_joules / true
    print(json.dumps([error, stated, cpu, waited, record.invalid_reason]), flush=True)
meter.close()
"""


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    seconds: float
    gpus: tuple[SimulatedGpu, ...]


def cases() -> list[Case]:
    """The loads and lengths that the table shows."""
    return [
        *(Case("constant 300 W", s, (SimulatedGpu(CONSTANT),)) for s in (0.5, 2, 10)),
        *(Case("square 100/400 W", s, (SimulatedGpu(SQUARE),)) for s in (0.5, 2, 10)),
        Case("square, no instant power", 2, (SimulatedGpu(SQUARE, instant=None),)),
        Case("square, 20 ms ticks", 2, (SimulatedGpu(SQUARE, tick_seconds=0.02),)),
        Case("square, jitter 5 ms", 2, (SimulatedGpu(SQUARE, lines=("jitter 0.005",)),)),
        Case("sine 100..400 W, 1 s", 2, (SimulatedGpu("sine 250 150 1"),)),
        Case(
            "two GPUs, constant",
            2,
            (SimulatedGpu(CONSTANT), SimulatedGpu("constant 150", phase_seconds=0.04)),
        ),
        *(Case("no counter, constant", s, (SimulatedGpu(CONSTANT, None),)) for s in (0.5, 2)),
        *(Case("no counter, square", s, (SimulatedGpu(SQUARE, None),)) for s in (0.5, 2)),
        Case(
            "no counter, 10 % duty",
            2,
            (SimulatedGpu("square 50 400 0.7 0.1", None),),
        ),
    ]


def measure(case: Case, windows: int) -> str:
    """Meter a case in a process of its own; its line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(windows), str(case.seconds)],
            env=environment(case.gpus, Path(folder)),
            capture_output=True,
            text=True,
            check=True,
        )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    errors = sorted(100 * abs(row[0]) for row in rows)
    covered = sum(abs(row[0]) <= row[1] for row in rows) / len(rows)
    invalid = sum(row[4] is not None for row in rows)
    return (
        f"{case.name:26s} {case.seconds:5.1f} {len(rows):5d} {quantile(errors, 0.5):8.4f} "
        f"{quantile(errors, 0.95):8.4f} {errors[-1]:8.4f} {100 * covered:7.1f} "
        f"{100 * median(row[1] for row in rows):8.4f} {1e6 * median(row[2] for row in rows):7.0f} "
        f"{1e3 * median(row[3] for row in rows):7.0f} {invalid:5d}"
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered values lies."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=200, help="windows a line")
    parser.add_argument("--longest", type=float, default=2.0, help="longest window (s)")
    parser.add_argument("--match", default="", help="only the cases whose name contains this")
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1, help="cases at once")
    options = parser.parse_args()
    chosen = [c for c in cases() if options.match in c.name and c.seconds <= options.longest]
    print(
        f"{'load':26s} {'s':>5s} {'n':>5s} {'median %':>8s} {'95 % at':>8s} {'max %':>8s} "
        f"{'cover %':>7s} {'stated %':>8s} {'CPU us':>7s} {'wait ms':>7s} {'inval':>5s}"
    )
    with ThreadPoolExecutor(options.parallel) as pool:
        for line in pool.map(lambda case: measure(case, options.windows), chosen):
            print(line, flush=True)


if __name__ == "__main__":
    main()
