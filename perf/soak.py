"""Many windows in one process: what memory, descriptors and threads have grown by. Asserts nothing.

The card is simulated, so that every call of a real run is made; the CPU's meter is the modelled
one, with a tenth of the windows, since each waits for the kernel's clock of CPU time. The first
tenth warms up; what is printed is the change after it.
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import psutil

import sim

_CHILD = "PYTEST_ENERGY_SOAK_CHILD"
TICK_SECONDS = 0.01
WORK_SECONDS = 0.03


def main() -> None:
    """Measure each meter in a process of its own that sees the simulated card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=10_000)
    options = parser.parse_args()
    if _CHILD in os.environ:
        print(measure(os.environ[_CHILD], options.windows), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        for meter, share in (("nvml", 1), ("codecarbon", 10)):
            card = sim.SimulatedGpu(tick_seconds=TICK_SECONDS)
            variables = {**sim.environment([card], Path(folder)), _CHILD: meter}
            command = [sys.executable, __file__, f"--windows={options.windows // share}"]
            subprocess.run(command, env=variables, check=True)


def measure(name: str, windows: int) -> str:
    """Measure windows and hold the devices for each; what the process has grown by, in a line."""
    from pytest_energy import open_meter, window
    from pytest_energy.metering.device_lock import device_lock

    meter = open_meter(name)
    names = [device.uuid or device.domain for device in meter.devices]
    reasons: Counter[str] = Counter()
    before, started = held(), time.monotonic()
    for number in range(windows):
        if number == windows // 10:
            before, started = held(), time.monotonic()
        with device_lock(names, 0.0, print), window(meter, "soak") as opened:
            time.sleep(WORK_SECONDS)
        reasons[(opened.record.invalid_reason or "valid").partition(":")[0]] += 1
    seconds = time.monotonic() - started
    kib, descriptors, threads = (b - a for a, b in zip(before, held(), strict=True))
    meter.close()
    shown = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return (
        f"{name}: {windows} windows ({shown}), {windows - windows // 10} of them in "
        f"{seconds:.0f} s: memory {kib:+d} KiB (of {before[0]}), "
        f"descriptors {descriptors:+d}, threads {threads:+d}"
    )


def held() -> tuple[int, int, int]:
    """Resident memory (KiB), open descriptors and threads of this process."""
    gc.collect()
    this = psutil.Process()
    return this.memory_info().rss >> 10, this.num_fds(), this.num_threads()


if __name__ == "__main__":
    main()
