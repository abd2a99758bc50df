"""A fixed piece of work, the same in every session, whose joules tell the device from the code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_energy.metering import Window, window
from pytest_energy.meters.protocol import Device, Meter
from pytest_energy.workloads.device import require_metered

VERSION = 1
"""Counts the changes of the work: loads of several versions are not compared."""
WINDOWS = 3
SEED = 7


@dataclass(frozen=True)
class Amount:
    """How much there is of each: matrix products, copies of memory, steps of an optimizer."""

    side: int
    products: int
    values: int
    copies: int
    parameters: int
    steps: int


# A second of one CPU core; of cards it is not measured yet.
AMOUNTS = {
    "cpu": Amount(512, 60, 1 << 23, 20, 1 << 20, 60),
    "cuda": Amount(4096, 2000, 1 << 26, 1000, 1 << 24, 500),
}


class ReferenceLoad:
    """Seeded work on torch's `device`: the numbers and their order are always the same."""

    def __init__(self, device: str) -> None:
        import torch

        amount = self._amount = AMOUNTS[torch.device(device).type]
        kind = torch.float16 if device.startswith("cuda") else torch.float32
        chance = torch.Generator().manual_seed(SEED)

        def numbers(*shape: int, kind: Any = torch.float32) -> Any:
            return (2 * torch.rand(shape, generator=chance) - 1).to(device=device, dtype=kind)

        self._torch = torch
        self._left, self._right = (numbers(amount.side, amount.side, kind=kind) for _ in range(2))
        self._product = torch.empty_like(self._left)
        self._source = numbers(amount.values)
        self._target = torch.empty_like(self._source)
        self._weights = torch.nn.Parameter(numbers(amount.parameters))
        self._weights.grad = numbers(amount.parameters)
        self._optimizer = torch.optim.AdamW([self._weights], lr=1e-6)

    def run(self) -> None:
        """Do all of it once."""
        torch = self._torch
        with torch.no_grad():
            for _ in range(self._amount.products):
                torch.matmul(self._left, self._right, out=self._product)
            for _ in range(self._amount.copies):
                self._target.copy_(self._source)
        for _ in range(self._amount.steps):
            self._optimizer.step()


def measured_windows(meter: Meter) -> tuple[Window, ...]:
    """The load, metered so many times after it has run once; none if torch has no such device.

    Raises `EnergyError` if torch computes on another device than the meter sees.
    """
    device = _device(meter.devices)
    if device is None:
        return ()
    require_metered("the reference load", device, meter.devices)
    load = ReferenceLoad(device)
    load.run()
    found = []
    for _ in range(WINDOWS):
        with window(meter, f"reference-load/{VERSION}") as opened:
            load.run()
        found.append(opened.record)
    return tuple(found)


def _device(devices: Sequence[Device]) -> str | None:
    import torch

    if all(each.domain.startswith(("cpu", "dram")) for each in devices):
        return "cpu"
    if any(each.has_gpu for each in devices) and not torch.cuda.is_available():
        return None
    return "cuda" if torch.cuda.is_available() else "cpu"
