"""Claim: fine-tuning costs a steady number of joules a processed token, task by task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_energy.plugin.fixtures import EnergyGate
from pytest_energy.workloads.finetune import FineTuning
from pytest_energy.workloads.tasks import FINE_TUNING_TASKS

MODELS = ("bert-base-uncased", "distilbert-base-uncased")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", FINE_TUNING_TASKS)
def test_joules_per_token(
    task: str, model: str, finetune: Callable[..., FineTuning], energy_gate: EnergyGate
) -> None:
    energy_gate.check("joules_per_token", finetune(task, model=model))
