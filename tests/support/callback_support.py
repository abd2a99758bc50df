"""What the tests of callbacks share: a meter that tokens drive, a gate, batches and a model."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from pytest_energy import Conditions, Device, Measured, Reading, get_task
from pytest_energy.gate import Verdict
from pytest_energy.outcomes import Method
from pytest_energy.workloads.models import build_model

JOULES_PER_TOKEN = 0.01
STEP = 4 * 8
"""Tokens of a batch of `trainer_of`."""


class TokenMeter:
    """A meter that spends as much on each token that a model is given."""

    name = "tokens"
    method: Method = "counter"
    devices: tuple[Device, ...] = (Device("cpu", "tokens", "0"),)
    update_period_seconds = 0.0
    resolution_joules = 0.0

    def __init__(self, model: torch.nn.Module) -> None:
        self.joules, self.tokens, self.faults = 0.0, 0, 0
        self.open = 0
        model.register_forward_pre_hook(self._spend, with_kwargs=True)

    def begin(self) -> Span:
        self.open += 1
        return Span(self)

    def read(self) -> Reading:
        return Reading(time.monotonic(), {"cpu": self.joules})

    def conditions(self) -> Conditions:
        return Conditions()

    def close(self) -> None:
        pass

    def cost(self) -> float:
        """J of a token now."""
        return JOULES_PER_TOKEN

    def _spend(self, _model: Any, _args: Any, inputs: dict[str, torch.Tensor]) -> None:
        self.tokens += inputs["input_ids"].numel()
        self.joules += inputs["input_ids"].numel() * self.cost()


class WarmingMeter(TokenMeter):
    """A meter of a device that needs less for a token while it warms up."""

    def cost(self) -> float:
        return JOULES_PER_TOKEN * (1 + math.exp(-self.tokens / 70))


class FaultyMeter(TokenMeter):
    """A meter whose second window is throttled."""

    def begin(self) -> Span:
        span = super().begin()
        span.faults = ("throttled: hot",) if self.open == 2 else ()
        return span


class Span:
    """A window of a `TokenMeter`."""

    faults: tuple[str, ...] = ()

    def __init__(self, meter: TokenMeter) -> None:
        self.started, self._meter, self._before = time.monotonic(), meter, meter.joules

    def end(self, ended: float) -> Measured:
        del ended
        return Measured({"cpu": self._meter.joules - self._before}, 0.0, self.faults)


class SureAfter:
    """A gate that is sure after so many values."""

    def __init__(self, count: int) -> None:
        self.values: list[float] = []
        self._count = count

    def add(self, joules_per_token: float) -> Verdict | None:
        assert len(self.values) < self._count
        self.values.append(joules_per_token)
        sure = len(self.values) == self._count
        return Verdict("within", "enough", 0.02, 0.05) if sure else None


def tiny() -> Any:
    """A small BERT with a head of two classes."""
    return build_model(get_task("sst2"), "bert-tiny", labels=2)


def examples(count: int) -> list[dict[str, torch.Tensor]]:
    """Sequences of 8 tokens each, of which the last two are padding."""
    return [
        {
            "input_ids": torch.arange(1000, 1008),
            "attention_mask": torch.tensor([1] * 6 + [0] * 2),
            "labels": torch.tensor(index % 2),
        }
        for index in range(count)
    ]


def trainer_of(
    model: Any, folder: Path, data: Any, callbacks: Sequence[Any] = (), **settings: Any
) -> Trainer:
    """A Trainer of batches of four sequences of eight tokens, which tells and stores nothing."""
    options: dict[str, Any] = {
        "max_steps": 20,
        "per_device_train_batch_size": 4,
        "use_cpu": True,
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return Trainer(
        model=model,
        args=TrainingArguments(str(folder), **{**options, **settings}),
        train_dataset=data,
        eval_dataset=examples(8),
        callbacks=list(callbacks),
    )
