"""Claim: DistilBERT fine-tunes for about half of BERT-base's energy, on every task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paper.bands import PAPER_SAVINGS, savings_band
from paper.models import BERT, DISTILBERT
from pytest_energy import FINE_TUNING_TASKS, EnergyClaim, EnergyGate, FineTuning


@pytest.mark.parametrize("task", FINE_TUNING_TASKS)
def test_savings(
    task: str,
    finetune: Callable[..., FineTuning],
    energy_gate: EnergyGate,
    energy_claim: EnergyClaim,
) -> None:
    bert = finetune(task, model=BERT, shared=True)
    distilbert = finetune(task, model=DISTILBERT, shared=True)
    record = energy_gate.savings(baseline=bert, candidate=distilbert, id=task)
    if record.comparison is not None and not record.comparison.settles:
        return  # an A/B against other code: what changed is judged, not what the paper says
    assert record.value is not None
    half = record.uncertainty or 0.0
    band = savings_band(modelled=energy_claim.modelled)
    energy_claim.figure(
        f"{task}: savings",
        record.value,
        record.unit,
        interval=(record.value - half, record.value + half),
        by_interval=True,
        at_least=band.low,
        at_most=band.high,
        paper=PAPER_SAVINGS,
    )
