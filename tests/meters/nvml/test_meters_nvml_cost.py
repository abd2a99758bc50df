"""What a window asks of the driver: few calls at its ends, and none by a thread meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

from metered import metered
from sim import SimulatedGpu, environment, run_python

CALLS = """
import json
import sim
time = sim.simulated_seconds()
from pytest_energy import open_meter, window

meter = open_meter("nvml")
counted = []
for number in range(8):
    time.sleep(0.01 + 0.007 * number % 0.02)
    calls = [sim.calls()]
    opened = window(meter, "work")
    opened.__enter__()
    calls.append(sim.calls())
    time.sleep(0.03 + 0.011 * number % 0.02)
    calls.append(sim.calls())
    opened.__exit__(None, None, None)
    calls.append(sim.calls())
    counted.append([calls[1] - calls[0], calls[3] - calls[2]])
meter.close()
print(json.dumps(counted))
"""


def test_a_window_needs_two_calls_to_begin_and_four_to_end(tmp_path: Path) -> None:
    counted = json.loads(
        run_python(CALLS, environment([SimulatedGpu(tick_seconds=0.02)], tmp_path))
    )
    assert min(begin for begin, _ in counted) == 2, "the counter before and after a tick"
    assert min(end for _, end in counted) == 4, "the same, who computes, and throttling"


def test_more_processes_than_are_listed_at_once_are_seen(tmp_path: Path) -> None:
    commands = [f"sim.command('process {999_000 + n} now never')" for n in range(40)]
    block = "\n".join([*commands, "time.sleep(0.2)"])
    (found,) = metered([SimulatedGpu(tick_seconds=0.05)], tmp_path, block)
    assert "and 37 more on `gpu:0`" in str(found.invalid_reason)
    assert "foreign process: unknown program 999000, unknown program 999001" in str(
        found.invalid_reason
    )
