"""Model FLOPs of training, and what a GPU could do at most."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

# Dense bf16 tensor-core FLOP/s, from NVIDIA's data sheets of each card (where those give figures
# with sparsity, half of them).
_PEAKS = {
    "NVIDIA H200*": 989.4e12,
    "NVIDIA H100 PCIe*": 756e12,
    "NVIDIA H100 NVL*": 835e12,
    "NVIDIA H100*": 989.4e12,
    "NVIDIA A100*": 312e12,
    "NVIDIA A30*": 165e12,
    "NVIDIA L40S*": 362e12,
    "NVIDIA L4": 121e12,
}


def peak_flops(device: str) -> float | None:
    """Dense bf16 FLOP/s that a GPU of this name reaches at most; None where that is not known."""
    return next((peak for name, peak in _PEAKS.items() if fnmatchcase(device, name)), None)


def training_flops(
    weights: int, layers: int, hidden: int, batches: Iterable[tuple[int, int]]
) -> float:
    """FLOPs of one training pass over batches of (sequences, tokens of each).

    A token costs 6 for each weight that multiplies it, forward and backward; attention costs
    12 x layers x hidden x length on top (its two products of queries, keys and values). Softmax,
    norms and the optimizer are left out, as is usual; a causal model's half is not taken off.
    """
    total = 0.0
    for sequences, length in batches:
        total += sequences * length * (6 * weights + 12 * layers * hidden * length)
    return total


def multiplying_weights(model: Any) -> int:
    """Parameters of a model without its tables of embeddings, which are only looked up.

    A table that is the output layer too multiplies, and counts.
    """
    import torch

    output = model.get_output_embeddings()
    tables = {
        module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        and (output is None or module.weight is not output.weight)
    }
    return sum(p.numel() for p in model.parameters() if p not in tables)
