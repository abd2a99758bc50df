"""Keeping the memory that training frees, so that no step on a CPU faults it in anew."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_energy.workloads.data.batches import Batch

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


# As glibc's <malloc.h> numbers them.
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_NEVER_TRIM = -1

VARIABLES: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),
}
"""What does the same to a process that is yet to start."""

_CHOICES = (*VARIABLES, "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next allocation; whether it does now.

    By default it hands large blocks back to the kernel, which zeroes them for each step of training
    again: CPU time that differs from step to step and from process to process. What the user's
    environment says of it stands, and another C library is left alone.
    """
    if not sys.platform.startswith("linux") or is_chosen(os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER_TRIM))


def is_chosen(environment: Mapping[str, str]) -> bool:
    """Whether an environment says itself when memory is handed back."""
    return any(name in environment for name in _CHOICES)


WEIGHT_DECAY = 0.0


def default_device() -> str:
    """`cuda` where torch sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def adamw(model: Any, learning_rate: float) -> torch.optim.AdamW:
    """AdamW over the model's parameters, fused where this torch can on their device."""
    import torch

    options: dict[str, Any] = {"lr": learning_rate, "weight_decay": WEIGHT_DECAY}
    try:
        return torch.optim.AdamW(model.parameters(), fused=True, **options)
    except RuntimeError:
        return torch.optim.AdamW(model.parameters(), **options)


def accelerator(precision: str, device: str) -> Accelerator:
    """accelerate's engine; its state is global, so another precision has to begin anew."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if device == "cpu":
        keep_freed_memory()
    options: dict[str, Any] = {
        "mixed_precision": "bf16" if precision == "bf16" else "no",
        "cpu": device == "cpu",
        # The model is on its device already, which need not be the one accelerate would choose.
        "device_placement": False,
    }
    try:
        return Accelerator(**options)
    except ValueError:
        AcceleratorState._reset_state(reset_partial_state=True)
        return Accelerator(**options)


def affordable_bert() -> str:
    """BERT-base, or DistilBERT where only a CPU computes: the same blocks, half as many."""
    return "distilbert-base-uncased" if default_device() == "cpu" else "bert-base-uncased"


LARGEST_GRADIENT_NORM = 1.0


def falling(optimizer: Any, steps: int) -> Any:
    """A schedule that takes the learning rate from where it is to nothing in so many steps."""
    from torch.optim.lr_scheduler import LambdaLR

    # accelerate wraps the optimizer; a schedule wants the one inside.
    return LambdaLR(optimizer.optimizer, lambda step: max(0.0, 1 - step / steps))


def train_pass(
    model: Any, optimizer: Any, engine: Accelerator, batches: Sequence[Batch], schedule: Any = None
) -> torch.Tensor:
    """One optimizer step a batch; hands back the sum of the losses, still on the device."""
    import torch

    losses = torch.zeros((), device=next(iter(batches[0].values())).device)
    for batch in batches:
        loss = model(**batch).loss
        engine.backward(loss)
        engine.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT_NORM)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        optimizer.zero_grad(set_to_none=True)
        # Never read here: that would make the host wait for the device at each step.
        losses += loss.detach()
    return losses
