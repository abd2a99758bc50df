"""Meter a block of code against simulated cards, in a process of its own.

Seconds are simulated (`virtual_clock.py`), so that a window is the same each time and costs what
the Python in it does. `clock="real"`: for threads that are ended from outside, and for a few tests
that both agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any, Literal

from sim import SimulatedGpu, environment, run_python

_SCRIPT = """
import json, os, subprocess, sys
import sim
{clock}
from pytest_energy import open_meter, window
from pytest_energy.errors import EnergyError

try:
    meter = open_meter({meter!r})
except EnergyError as error:
    print(json.dumps({{"unavailable": str(error)}}))
    raise SystemExit

results = []
for _ in range({windows}):
{before}
    with window(meter, "work") as w:
        begin = time.monotonic()
{block}
        end = time.monotonic()
    record = w.record
    indices = [int(device.domain.split(":")[1]) for device in meter.devices]
    results.append(
        {{
            "joules": record.joules,
            "seconds": end - begin,
            "true_joules": sum(sim.energy_between(begin, end, i) for i in indices),
            "joules_by_domain": dict(record.joules_by_domain),
            "uncertainty_joules": record.uncertainty_joules,
            "invalid_reason": record.invalid_reason,
            "method": record.method,
            "notes": dict(record.notes),
        }}
    )
print(json.dumps({{"windows": results, "remarks": meter.remarks}}))
meter.close()
"""


Clock = Literal["virtual", "real"]
_CLOCKS = {"virtual": "time = sim.simulated_seconds()", "real": "import time"}


@dataclass(frozen=True)
class MeteredWindow:
    """What a window said, and the exact joules and seconds of the same block."""

    joules: float
    seconds: float
    true_joules: float
    joules_by_domain: dict[str, float]
    uncertainty_joules: float
    invalid_reason: str | None
    method: str
    notes: dict[str, float]
    remarks: tuple[str, ...]
    """What the meter said of itself after the last window."""

    @property
    def error(self) -> float:
        """Relative error of the joules."""
        return self.joules / self.true_joules - 1

    @property
    def covered(self) -> bool:
        """Whether the stated uncertainty covers the error."""
        return abs(self.joules - self.true_joules) <= self.uncertainty_joules


def metered(
    gpus: Sequence[SimulatedGpu],
    directory: Path,
    block: str = "time.sleep(0.3)",
    *,
    windows: int = 1,
    variables: dict[str, str] | None = None,
    before: str = "pass",
    clock: Clock = "virtual",
) -> list[MeteredWindow]:
    """The windows around a block of code, which may call `sim.command`.

    `before` runs ahead of each; `results` are those of the windows so far.
    """
    found = _run(gpus, directory, block, windows, variables or {}, before=before, clock=clock)
    assert "unavailable" not in found, found
    remarks = tuple(found["remarks"])
    return [MeteredWindow(**each, remarks=remarks) for each in found["windows"]]


def unavailable(
    gpus: Sequence[SimulatedGpu],
    directory: Path,
    *,
    variables: dict[str, str] | None = None,
    library_lines: Sequence[str] = (),
    meter: str = "nvml",
) -> str:
    """Why the meter does not open."""
    found = _run(gpus, directory, "pass", 1, variables or {}, library_lines, meter)
    assert "windows" not in found, found
    return str(found["unavailable"])


def _run(
    gpus: Sequence[SimulatedGpu],
    directory: Path,
    block: str,
    windows: int,
    variables: dict[str, str],
    library_lines: Sequence[str] = (),
    meter: str = "nvml",
    before: str = "pass",
    clock: Clock = "virtual",
) -> Any:
    body = indent(dedent(block).strip("\n"), " " * 8)
    ahead = indent(dedent(before).strip("\n"), " " * 4)
    code = _SCRIPT.format(
        windows=windows, block=body, meter=meter, before=ahead, clock=_CLOCKS[clock]
    )
    process = environment(gpus, directory, library_lines=library_lines)
    return json.loads(run_python(code, {**process, **variables}))
