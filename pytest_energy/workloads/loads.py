"""Bounded loads to see a device's power, with a duty cycle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle, islice
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.metering import Window, window
from pytest_energy.meters import Meter
from pytest_energy.meters.protocol import Device
from pytest_energy.meters.wall import WallMeter
from pytest_energy.workloads.torch_loads import matrices

__tracebackhide__ = raised_elsewhere


CYCLE_SECONDS = 0.1
"""Length of a cycle of work and rest: shorter than what plug meters average over."""

MATRIX_SIZE = 4096
"""Side of the matrices that a GPU multiplies: 96 MiB in half precision."""

LONGEST_SECONDS = 3600.0
"""After this a load ends by itself, whatever became of who started it."""

# The parent's death, the limit, and termination each end it.
_BUSY = """
import os, sys, time
share, cycle, parent, limit = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
end = time.monotonic() + float(limit)
while time.monotonic() < end and os.getppid() == parent:
    began = time.monotonic()
    while time.monotonic() - began < share * cycle:
        pass
    time.sleep(max(0.0, began + cycle - time.monotonic()))
"""


@dataclass(frozen=True)
class Load:
    """`run(share)` keeps a device busy for that share of the time while its block runs."""

    text: str
    run: Callable[[float], AbstractContextManager[None]]


def load_for(devices: Sequence[Device]) -> Load:
    """The load that moves these devices' power: matrix products on GPUs, else busy CPUs.

    A GPU needs PyTorch with CUDA; without it the text says that the CPU is loaded instead.
    """
    text = f"busy loops on {_cpus()} CPUs"
    if not any(device.has_gpu for device in devices):
        return Load(text, _cpus_busy)
    if find_spec("torch") is not None:
        import torch

        if count := torch.cuda.device_count() if torch.cuda.is_available() else 0:
            each = f"matrix products ({MATRIX_SIZE} x {MATRIX_SIZE}, half precision)"
            return Load(f"{each} on {count} GPU{'s' if count > 1 else ''}", _gpus_busy)
    lacking = "no PyTorch with CUDA here, so the GPU's own load is yours to vary"
    return Load(f"{text} ({lacking})", _cpus_busy)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


@contextmanager
def _cpus_busy(share: float) -> Iterator[None]:
    arguments = [str(share), str(CYCLE_SECONDS), str(os.getpid()), str(LONGEST_SECONDS)]
    command = [sys.executable, "-I", "-S", "-c", _BUSY, *arguments]
    workers = [subprocess.Popen(command) for _ in range(_cpus() if share > 0 else 0)]
    try:
        yield
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


@contextmanager
def _gpus_busy(share: float) -> Iterator[None]:
    import torch

    stop = threading.Event()
    failures: list[str] = []
    threads = [
        threading.Thread(target=_multiply, args=(torch, index, share, stop, failures), daemon=True)
        for index in range(torch.cuda.device_count() if share > 0 else 0)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise EnergyError(f"the load on the GPU ended early: {failures[0]}; free the GPU first")


def _multiply(
    torch: Any, index: int, share: float, stop: threading.Event, failures: list[str]
) -> None:
    try:
        device = torch.device("cuda", index)
        first, second, product = matrices(torch, MATRIX_SIZE, device)
        end = real_time.monotonic() + LONGEST_SECONDS
        while not stop.is_set() and real_time.monotonic() < end:
            began = real_time.monotonic()
            while real_time.monotonic() - began < share * CYCLE_SECONDS and not stop.is_set():
                torch.matmul(first, second, out=product)
                torch.cuda.synchronize(device)
            stop.wait(max(0.0, began + CYCLE_SECONDS - real_time.monotonic()))
    except RuntimeError as error:  # out of memory, or the GPU was lost
        failures.append(str(error).partition("\n")[0])


SHARES = (0.0, 1.0, 0.5, 0.25, 0.75)
"""Duty cycles in the order in which they are measured, so that warming up weighs on none alone."""

INVALID_LIMIT = 3
"""Invalid windows in a row after which no more are measured."""


@dataclass(frozen=True)
class Pair:
    """Two windows of one stretch: what the device's meter saw, and what the wall's."""

    share: float
    device: Window
    wall: Window

    @property
    def watts(self) -> tuple[float, float]:
        """Mean power of the device and at the wall (W)."""
        return self.device.mean_watts, self.wall.mean_watts


def settle_seconds(wall: WallMeter, seconds: float) -> float:
    """How long a load runs before its window begins: plug meters lag behind (s).

    15 % of the window and at most 3 s, but at least two of the meter's periods.
    """
    return max(min(0.15 * seconds, 3.0), 2 * wall.update_period_seconds)


def measure_pairs(
    meter: Meter, wall: WallMeter, load: Load, windows: int, seconds: float
) -> Iterator[Pair]:
    """Pairs of windows of so many seconds at the levels of `SHARES`, one after another.

    Raises `EnergyError` once windows keep being invalid.
    """
    for share in islice(cycle(SHARES), windows):
        for _ in range(INVALID_LIMIT):
            pair = _pair(meter, wall, load, share, seconds)
            reason = pair.device.invalid_reason or pair.wall.invalid_reason
            if reason is None:
                yield pair
                break
        else:
            raise EnergyError(
                f"{INVALID_LIMIT} windows in a row were invalid: {reason}; mend that, or "
                "measure longer windows with `--seconds`"
            )


def _pair(meter: Meter, wall: WallMeter, load: Load, share: float, seconds: float) -> Pair:
    with load.run(share):
        real_time.sleep(settle_seconds(wall, seconds))
        # The load runs on beyond both ends, so the wall window may be a tick longer than the other.
        with (
            window(wall, "wall", _already_in_step) as outer,
            window(meter, "device", _already_in_step) as inner,
        ):
            real_time.sleep(seconds)
    return Pair(share, inner.record, outer.record)


def _already_in_step() -> None:
    """The load's own threads wait for their device; waiting for it here would never end."""
