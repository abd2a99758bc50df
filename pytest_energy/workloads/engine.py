"""What the loop runs on: the device, accelerate's engine and the optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_energy.workloads.allocator import keep_freed_memory

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

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
