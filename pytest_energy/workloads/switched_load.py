"""Matrix products on one GPU that are switched on and off, to see how its meter takes edges."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Final

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.meters.protocol import Device
from pytest_energy.workloads.device import require_metered

SIZES: Final = (512, 1024, 2048, 4096)
"""Sides of matrices, from small to large."""
PRODUCT_SECONDS: Final = 0.001
"""A product takes no longer: the load goes on for that long after it was switched off."""
TIMED: Final = 5
PATIENCE_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 600.0
"""After this the load ends by itself, whatever became of who started it."""


class SwitchedProducts:
    """Products of half-precision matrices, one after another, while it is switched on.

    `sizes` are sides of matrices, of which it takes the largest whose product is short enough.
    Raises `EnergyError` if torch has no such device, or fails on it. To be used by `with`.
    """

    def __init__(self, device: str = "cuda", sizes: Sequence[int] = SIZES) -> None:
        import torch

        self._torch, self._device, self._sizes = torch, torch.device(device), sizes
        self._works, self._ready, self._ended = (threading.Event() for _ in range(3))
        self._failure: str | None = None
        self.text = "matrix products"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SwitchedProducts:
        self._thread.start()
        if not self._ready.wait(PATIENCE_SECONDS):
            raise EnergyError("the load did not begin on the GPU; see that it is free")
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._works.set()
        self._thread.join()

    def on(self) -> float:
        """Let the GPU work from now on; the time (s)."""
        self._check()
        self._works.set()
        return real_time.monotonic()

    def off(self) -> float:
        """Let it rest from now on; the time (s)."""
        self._works.clear()
        now = real_time.monotonic()
        self._check()
        return now

    def _check(self) -> None:
        if self._failure is not None:
            raise EnergyError(
                f"the load on the GPU ended early: {self._failure}; free the GPU first"
            )

    def _run(self) -> None:
        try:
            matrices = self._prepared()
            self._ready.set()
            end = real_time.monotonic() + LONGEST_SECONDS
            while self._works.wait() and not self._ended.is_set():
                self._multiply(*matrices)
                if real_time.monotonic() > end:
                    self._failure = f"it is made for {LONGEST_SECONDS:g} s at most"
                    return
        except Exception as error:  # out of memory, the GPU was lost: whatever it is must be told
            self._failure = str(error).partition("\n")[0]
        finally:
            self._ready.set()

    def _prepared(self) -> tuple[Any, Any, Any]:
        """The largest matrices whose product takes no longer than it may; the smallest if none."""
        size, *larger = self._sizes
        while larger and self._product_seconds(larger[0]) <= PRODUCT_SECONDS:
            size = larger.pop(0)
        self.text = f"matrix products ({size} x {size}, half precision)"
        return self._matrices(size)

    def _product_seconds(self, size: int) -> float:
        matrices = self._matrices(size)
        self._multiply(*matrices)
        began = real_time.monotonic()
        for _ in range(TIMED):
            self._multiply(*matrices)
        return (real_time.monotonic() - began) / TIMED

    def _matrices(self, size: int) -> tuple[Any, Any, Any]:
        shape, half = (size, size), self._torch.float16
        first = self._torch.rand(shape, device=self._device, dtype=half)
        return first, self._torch.rand_like(first), self._torch.empty_like(first)

    def _multiply(self, first: Any, second: Any, product: Any) -> None:
        self._torch.matmul(first, second, out=product)
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
