"""A load for one GPU that is switched on and off from one moment to the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from types import TracebackType
from typing import Final, NamedTuple

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.meters.protocol import Device
from pytest_energy.workloads.device import require_metered
from pytest_energy.workloads.loads import matrices

__tracebackhide__ = raised_elsewhere

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


class _Block(NamedTuple):
    """So many times the same piece of work, one after another."""

    piece: Piece
    times: int


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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
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

    def _prepared(self) -> tuple[_Block, _Block]:
        """Full and mild work, on the largest matrices whose product fits into a block.

        On the smallest if none does.
        """
        side, *larger = self._sizes
        while larger and self._piece_seconds(self._product(larger[0])) <= BLOCK_SECONDS:
            side = larger.pop(0)
        self.text = f"matrix products ({side} x {side}, half precision)"
        first, second, result = matrices(self._torch, side, self._device)
        added = partial(self._torch.add, first, second, out=result)
        return self._block(self._product(side)), self._block(added)

    def _product(self, side: int) -> Piece:
        first, second, result = matrices(self._torch, side, self._device)
        return partial(self._torch.matmul, first, second, out=result)

    def _block(self, piece: Piece) -> _Block:
        times = int(BLOCK_SECONDS / self._piece_seconds(piece))
        return _Block(piece, min(max(1, times), MOST_PIECES))

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
