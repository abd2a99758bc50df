"""The pair of models that the paper compares."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

BERT, DISTILBERT = "bert-base-uncased", "distilbert-base-uncased"


def affordable_bert() -> str:
    """BERT-base, or DistilBERT where only a CPU computes: the same blocks, half as many."""
    import torch

    return BERT if torch.cuda.is_available() else DISTILBERT


def by_size(folder: Path, names: Iterable[str]) -> list[str]:
    """Models of a folder of checkpoints, those of the most bytes of weights first."""

    def size(name: str) -> int:
        return sum(file.stat().st_size for file in (folder / name).glob("*.safetensors"))

    return sorted(names, key=lambda name: (-size(name), name))
