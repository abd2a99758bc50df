"""Bands that the paper's figures are held to, by how joules come about."""

from __future__ import annotations

from dataclasses import dataclass

PAPER_SAVINGS = "about 50 % (quoted)"
"""What DistilBERT saves of BERT-base's energy, as the paper says it."""


@dataclass(frozen=True)
class SavingsBand:
    """The share of J/token that DistilBERT saves of BERT-base, as a fraction."""

    low: float
    high: float


MEASURED = SavingsBand(0.40, 0.60)
"""The paper's 50 % within 10 points, where joules are measured."""

MODELLED = SavingsBand(0.25, 1.00)
"""Only that it saves clearly, where a model turns time into joules."""


def savings_band(*, modelled: bool) -> SavingsBand:
    """The band for joules that are modelled, or measured."""
    return MODELLED if modelled else MEASURED
