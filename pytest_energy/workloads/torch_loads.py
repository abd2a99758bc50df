"""What torch is given to do: a fixed piece of work, and products switched on and off.

The fixed piece is the same in every session: its joules tell the device from the code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.metering import Window, window
from pytest_energy.meters.protocol import Device, Meter
from pytest_energy.workloads.device import default_device, is_host, require_metered

__tracebackhide__ = raised_elsewhere

REFERENCE_VERSION = 1
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
    device = "cpu" if is_host(meter.devices) else default_device()
    if device == "cpu" and any(each.has_gpu for each in meter.devices):
        return ()
    require_metered("the reference load", device, meter.devices)
    load = ReferenceLoad(device)
    load.run()
    found = []
    for _ in range(WINDOWS):
        with window(meter, f"reference-load/{REFERENCE_VERSION}") as opened:
            load.run()
        found.append(opened.record)
    return tuple(found)


def matrices(torch: Any, size: int, device: Any) -> tuple[Any, Any, Any]:
    """Two matrices in half precision, and where their product goes."""
    first = torch.rand((size, size), device=device, dtype=torch.float16)
    return first, torch.rand_like(first), torch.empty_like(first)


SIZES: Final = (512, 1024, 2048, 4096)
"""Sides of matrices, from small to large."""
BLOCK_SECONDS: Final = 0.001
"""The GPU is given so much work at once: less would leave it waiting for its host in between."""
MOST_PIECES: Final = 64
TIMED: Final = 5
PATIENCE_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 600.0
"""After this the load ends by itself, whatever became of who started it."""

Piece = Callable[[], object]
Block = tuple[Piece, int]
"""So many times the same piece of work, one after another."""


class SwitchedProducts:
    """Products of half-precision matrices, one after another, while it is switched on.

    `sizes` are sides of matrices, of which it takes the largest whose product is short enough. Mild
    work is sums of such matrices, which draw less.
    Raises `EnergyError` if torch has no such device, or fails on it. To be used by `with`.
    """

    def __init__(self, device: str = "cuda", sizes: Sequence[int] = SIZES) -> None:
        import torch

        self._torch, self._device, self._sizes = torch, torch.device(device), sizes
        self._works, self._ended = threading.Event(), threading.Event()
        self._ready, self._began, self._rested = (threading.Event() for _ in range(3))
        self._mild, self._moment = False, 0.0
        self._failure: str | None = None
        self.text = "matrix products"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SwitchedProducts:
        self._thread.start()
        self._awaited(self._ready)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._works.set()
        self._thread.join(PATIENCE_SECONDS)  # a GPU that hangs would be waited for for ever

    def on(self, *, mild: bool = False) -> float:
        """Let the GPU work, if it rests; when it was given the first of it (s)."""
        self._mild = mild
        self._rested.clear()
        self._works.set()
        return self._awaited(self._began)

    def off(self) -> float:
        """Let it rest from now on; when it had done the last of its work (s)."""
        if not self._works.is_set():
            return real_time.monotonic()
        self._began.clear()
        self._works.clear()
        return self._awaited(self._rested)

    def _awaited(self, event: threading.Event) -> float:
        """When the thread set this (s); what went wrong in it is raised."""
        if not event.wait(PATIENCE_SECONDS):
            raise EnergyError("the load did not begin or end on the GPU; see that it is free")
        if self._failure is not None:
            raise EnergyError(
                f"the load on the GPU ended early: {self._failure}; free the GPU first"
            )
        return self._moment

    def _set(self, event: threading.Event) -> None:
        self._moment = real_time.monotonic()
        event.set()

    def _run(self) -> None:
        try:
            full, mild = self._prepared()
            self._set(self._ready)
            end = real_time.monotonic() + LONGEST_SECONDS
            while self._works.wait() and not self._ended.is_set():
                self._set(self._began)
                block = mild if self._mild else full
                while self._works.is_set() and not self._ended.is_set():
                    self._do(*block)
                    if real_time.monotonic() > end:
                        self._failure = f"it is made for {LONGEST_SECONDS:g} s at most"
                        return
                self._set(self._rested)
        except Exception as error:  # out of memory, the GPU was lost: whatever it is must be told
            self._failure = str(error).partition("\n")[0]
        finally:
            for event in (self._ready, self._began, self._rested):
                event.set()

    def _prepared(self) -> tuple[Block, Block]:
        """Full and mild work, on the largest matrices whose product fits into a block.

        On the smallest if none does.
        """
        side, *larger = self._sizes
        multiply, add = self._torch.matmul, self._torch.add
        while larger and self._piece_seconds(self._piece(multiply, larger[0])) <= BLOCK_SECONDS:
            side = larger.pop(0)
        self.text = f"matrix products ({side} x {side}, half precision)"
        return self._block(self._piece(multiply, side)), self._block(self._piece(add, side))

    def _piece(self, operation: Callable[..., object], side: int) -> Piece:
        first, second, result = matrices(self._torch, side, self._device)
        return partial(operation, first, second, out=result)

    def _block(self, piece: Piece) -> Block:
        times = int(BLOCK_SECONDS / self._piece_seconds(piece))
        return piece, min(max(1, times), MOST_PIECES)

    def _piece_seconds(self, piece: Piece) -> float:
        self._do(piece, 1)
        began = real_time.monotonic()
        self._do(piece, TIMED)
        return max((real_time.monotonic() - began) / TIMED, 1e-9)

    def _do(self, piece: Piece, times: int) -> None:
        for _ in range(times):
            piece()
        if self._device.type == "cuda":
            self._torch.cuda.synchronize(self._device)


def products_for(device: Device) -> SwitchedProducts:
    """The load for a metered GPU, which torch must see alone.

    Raises `EnergyError` if there is no PyTorch with CUDA, or if it sees another GPU.
    """
    lacking = "install PyTorch with CUDA (`pip install 'pytest-energy[finetune]'`)"
    if find_spec("torch") is None:
        raise EnergyError(f"`{device.domain}` needs a load, and there is no PyTorch; {lacking}")
    import torch

    if not torch.cuda.is_available():
        raise EnergyError(f"`{device.domain}` needs a load, and this torch has no CUDA; {lacking}")
    require_metered("qualify", "cuda:0", [device])
    return SwitchedProducts("cuda:0")
