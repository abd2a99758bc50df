"""The pair of models that the paper compares."""

from __future__ import annotations

BERT, DISTILBERT = "bert-base-uncased", "distilbert-base-uncased"


def affordable_bert() -> str:
    """BERT-base, or DistilBERT where only a CPU computes: the same blocks, half as many."""
    import torch

    return BERT if torch.cuda.is_available() else DISTILBERT
