"""Claim: fine-tuning costs a steady number of joules a processed token, task by task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paper.models import BERT, DISTILBERT
from pytest_energy import FINE_TUNING_TASKS, EnergyGate, FineTuning


@pytest.mark.parametrize("model", [BERT, DISTILBERT])
@pytest.mark.parametrize("task", FINE_TUNING_TASKS)
def test_joules_per_token(
    task: str, model: str, finetune: Callable[..., FineTuning], energy_gate: EnergyGate
) -> None:
    energy_gate.check("joules_per_token", finetune(task, model=model, shared=True))
