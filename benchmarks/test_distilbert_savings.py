"""Claim: DistilBERT fine-tunes for about half of BERT-base's energy, on every task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_energy.plugin.fixtures import EnergyGate
from pytest_energy.workloads.finetune import FineTuning
from pytest_energy.workloads.tasks import FINE_TUNING_TASKS


@pytest.mark.parametrize("task", FINE_TUNING_TASKS)
def test_savings(task: str, finetune: Callable[..., FineTuning], energy_gate: EnergyGate) -> None:
    bert = finetune(task, model="bert-base-uncased")
    distilbert = finetune(task, model="distilbert-base-uncased")
    energy_gate.check("savings", bert, distilbert)
