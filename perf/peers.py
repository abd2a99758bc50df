"""Windows beside Zeus's and CodeCarbon's: error against known joules, and what a window costs.

Each tool meters the same simulated card in a process of its own, round after round, so that what
disturbs the machine disturbs all of them. None of them synchronises, since nothing uses the card.
"Aligned read" is what beginning and ending on ticks costs if nothing else is done. Run it with the
interpreter of an environment that has `zeus` and `codecarbon`; `make perf` does. Nothing here
asserts: it prints.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import sim

TOOLS = ("pytest-energy", "plain read", "aligned read", "zeus", "codecarbon")
TICK_SECONDS = 0.1
LOADS = {
    "constant 300 W": "constant 300",
    "square 100/400 W, 0.7 s": "square 100 400 0.7 0.5",
}
LENGTHS = (0.5, 2.0)
LEARNING = 3

Meter = tuple[Callable[[], Any], Callable[[], float]]
Row = dict[str, float]


def main() -> None:
    """Run the rounds and print one table a length of window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--windows", type=int, default=5, help="windows of a tool in one round")
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        print(json.dumps(measure(options.tool, options.seconds, options.windows, options.seed)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for load, trace in LOADS.items():
            for seconds in LENGTHS:
                rows = compare(Path(folder), trace, seconds, options.rounds, options.windows)
                print(table(f"{load}, windows of {seconds:g} s", rows), flush=True)


def compare(
    folder: Path, trace: str, seconds: float, rounds: int, windows: int
) -> dict[str, list[Row]]:
    """Rows by tool; a round runs each tool once, in its own process, on the same card."""
    smi = folder / "bin" / "nvidia-smi"  # CodeCarbon takes its absence for the absence of a GPU
    smi.parent.mkdir(exist_ok=True)
    smi.write_text("#!/bin/sh\nexit 0\n")
    smi.chmod(0o755)
    variables = sim.environment(
        [sim.SimulatedGpu(trace, tick_seconds=TICK_SECONDS)], folder / "gpu"
    )
    variables["PATH"] = f"{smi.parent}:{variables['PATH']}"
    rows: dict[str, list[Row]] = {tool: [] for tool in TOOLS}
    for number in range(rounds):
        for tool in TOOLS:
            command = [sys.executable, __file__, f"--tool={tool}", f"--seconds={seconds}"]
            command += [f"--windows={windows}", f"--seed={number}"]
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(f"`{tool}` could not be run:\n{done.stderr}")
            rows[tool] += json.loads(done.stdout.splitlines()[-1])
    return rows


def measure(tool: str, seconds: float, windows: int, seed: int) -> list[Row]:
    """Windows of one tool around a sleep; joules, the true ones, and CPU and wall seconds."""
    begin, end = OPENERS[tool]()
    chance = random.Random(seed)
    rows = []
    for number in range(windows + LEARNING):
        time.sleep(chance.uniform(0, 0.3))
        cpu, wall = time.process_time(), time.monotonic()
        begin()
        started = time.monotonic()
        begin_cpu, begin_wall = time.process_time() - cpu, started - wall
        # Not a whole number of ticks, or errors of arbitrary edges would cancel.
        time.sleep(seconds * chance.uniform(0.9, 1.1))
        ended, cpu = time.monotonic(), time.process_time()
        joules = end()
        end_cpu, end_wall = time.process_time() - cpu, time.monotonic() - ended
        row = {
            "error": joules / sim.energy_between(started, ended) - 1,
            "begin_cpu": begin_cpu,
            "end_cpu": end_cpu,
            "begin_wall": begin_wall,
            "end_wall": end_wall,
        }
        if number >= LEARNING:  # the first pay for imports and for learning the ticks
            rows.append(row)
    return rows


def table(title: str, rows: dict[str, list[Row]]) -> str:
    """Errors in percent, CPU of begin and end together in ms and as a ratio to ours."""
    ours = _cost(rows[TOOLS[0]])
    lines = [
        f"\n{title} ({len(rows[TOOLS[0]])} windows a tool, counter ticking every 100 ms)",
        f"{'':<15}{'error: median':>15}{'[min, max]':>20}{'|error| median':>16}"
        f"{'begin+end CPU':>15}{'ratio':>7}{'begin / end wall':>20}",
    ]
    for tool, seen in rows.items():
        errors = sorted(100 * row["error"] for row in seen)
        walls = [1000 * median(row[name] for row in seen) for name in ("begin_wall", "end_wall")]
        lines.append(
            f"{tool:<15}{median(errors):>13.2f} %{f'[{errors[0]:.2f}, {errors[-1]:.2f}]':>20}"
            f"{median(map(abs, errors)):>14.3f} %{1000 * _cost(seen):>12.3f} ms"
            f"{_cost(seen) / ours:>7.2f}{f'{walls[0]:.1f} / {walls[1]:.1f} ms':>20}"
        )
    return "\n".join(lines)


def _cost(rows: list[Row]) -> float:
    return median(row["begin_cpu"] + row["end_cpu"] for row in rows)


def _open_ours() -> Meter:
    from pytest_energy import open_meter, window

    meter = open_meter("nvml")
    opened: list[Any] = []

    def begin() -> None:
        opened.append(window(meter, "window"))
        opened[-1].__enter__()

    def end() -> float:
        opened[-1].__exit__(None, None, None)
        return float(opened[-1].joules)

    return begin, end


def _open_plain() -> Meter:
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    before: list[float] = []

    def read() -> float:
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000

    return lambda: before.append(read()), lambda: read() - before[-1]


def _open_aligned() -> Meter:
    """Two reads around a sleep until the counter's next tick, at either end: the least it takes."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    first = 0.0

    def read() -> float:
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000

    def until_tick(now: float) -> float:
        delay = TICK_SECONDS - (now - seen) % TICK_SECONDS + 0.0003
        time.sleep(delay)
        return delay

    def begin() -> None:
        nonlocal first
        read()
        until_tick(time.monotonic())
        first = read()

    def end() -> float:
        before, wait = read(), until_tick(time.monotonic())
        last = read()
        return last - first - (last - before) * wait / TICK_SECONDS

    before = read()
    while read() == before:
        time.sleep(0.0002)
    seen = time.monotonic()
    return begin, end


def _open_zeus() -> Meter:
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[0])
    return (
        lambda: monitor.begin_window("window", sync_execution=False),
        lambda: float(monitor.end_window("window", sync_execution=False).total_energy),
    )


def _open_codecarbon() -> Meter:
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="USA", output_methods=[], log_level="critical", allow_multiple_runs=True
    )
    return (
        lambda: tracker.start_task("window"),
        lambda: 3.6e6 * float(tracker.stop_task("window").gpu_energy),
    )


OPENERS: dict[str, Callable[[], Meter]] = {
    "pytest-energy": _open_ours,
    "plain read": _open_plain,
    "aligned read": _open_aligned,
    "zeus": _open_zeus,
    "codecarbon": _open_codecarbon,
}


if __name__ == "__main__":
    main()
