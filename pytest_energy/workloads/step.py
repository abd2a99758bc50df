"""A training step of the user's own, driven over a task's batches, one metered window at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_energy.arguments import check_choice, check_count
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.metering import Window, window
from pytest_energy.meters.protocol import Meter
from pytest_energy.workloads.data.batches import PADDINGS, Batch, Batches, window_batches
from pytest_energy.workloads.data.protocol import DataSource
from pytest_energy.workloads.engine import default_device
from pytest_energy.workloads.tasks import Task, get_task
from pytest_energy.workloads.workload import FORMAT, fitting_batch_size

if TYPE_CHECKING:
    import torch

__tracebackhide__ = raised_elsewhere


Step = Callable[["dict[str, torch.Tensor]"], object]
"""Takes a batch: `input_ids`, `attention_mask` and `token_type_ids`, with `labels` or, for
questions, `start_positions` and `end_positions`. What it returns is not looked at."""


class Stepping:
    """A step in training; each window calls it with exactly the same batches, one after another.

    `tokens` and `real_tokens` are what one pass processes, with and without padding, `examples`
    how many sequences; `settings` is what its digest is made of.
    """

    def __init__(
        self,
        step: Step,
        *,
        name: str,
        digest: str,
        batches: Batches,
        meter: Meter,
        device: str,
        settings: Mapping[str, Any],
    ) -> None:
        self.id = name
        self.digest = digest
        self.settings = settings
        self.meter = meter
        self.tokens = batches.processed_tokens
        self.real_tokens = batches.real_tokens
        self.examples = batches.examples
        self.padding_overhead = batches.padding_overhead
        self._step = step
        # All on the device from the start: a window is to meter training, not the loading of data.
        self._batches: tuple[Batch, ...] = tuple(
            {name: rows.to(device) for name, rows in batch.items()} for batch in batches.batches
        )

    @property
    def steps(self) -> int:
        """How often a pass calls the step."""
        return len(self._batches)

    def window(self, passes: int = 1) -> Window:
        """Buy one window: metered passes over the batches."""
        check_count("passes", passes)
        if not self._batches:
            raise EnergyError(f"`{self.id}` was closed: make it again to buy another window")
        with window(self.meter, self.id) as w:
            for _ in range(passes):
                for batch in self._batches:
                    # A dict of its own: what a step takes out is there again in the next pass.
                    self._step(dict(batch))
        return replace(
            w.record,
            tokens=passes * self.tokens,
            real_tokens=passes * self.real_tokens,
            steps=passes * self.steps,
        )

    def close(self) -> None:
        """Free the batches; a second call does nothing."""
        self._batches = ()


def drive(
    step: Step,
    task: Task | str,
    model: str = "bert-base-uncased",
    *,
    data: DataSource,
    meter: Meter,
    tokens_per_window: int,
    max_tokens_per_batch: int | None = None,
    device: str | None = None,
    **overrides: Any,
) -> Stepping:
    """The user's `step` on a task's batches, ready to buy windows of about `tokens_per_window`.

    `model` says whose tokenizer is meant; batches are on `device` (default: a GPU where there is
    one). `overrides` are `batch_size`, `max_length`, `padding` and `seed`. The digest is of all
    that and the step's name, not of its code: a change of that is what a gate is to judge.
    """
    if not callable(step):
        raise EnergyError(
            f"`energy_workload` gave {step!r}, which cannot be called: return a function that "
            "takes a batch and trains on it"
        )
    for setting in overrides:
        check_choice("setting of batches", setting, _SETTINGS)
    check_count("tokens_per_window", tokens_per_window)
    task = get_task(task)
    reason = data.missing(task)
    if reason:
        raise EnergyError(reason)
    max_length = overrides.get("max_length", task.max_length)
    check_count("max_length", max_length, least=8)
    fields = {
        "model": model,
        "batch_size": fitting_batch_size(task, max_length, max_tokens_per_batch),
        "max_length": max_length,
        "padding": "dynamic",
        "seed": 0,
        **overrides,
    }
    check_choice("padding policy", fields["padding"], PADDINGS)
    check_count("seed", fields["seed"], least=0)
    batches = window_batches(task, data, tokens=tokens_per_window, **fields)
    identity = {
        "step": _origin(step),
        "task": task.name,
        **fields,
        "data": data.identity(task, model=model),
    }
    return Stepping(
        step,
        name=f"{task.name}/{step_name(step)}",
        digest=_digest(identity),
        batches=batches,
        meter=meter,
        device=device or default_device(),
        settings=identity,
    )


def step_name(step: Step) -> str:
    """What a step goes by: its `name` where it has one, else its function's or its class's."""
    for attribute in ("name", "__name__"):
        name = getattr(step, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(step).__name__


def _origin(step: Step) -> str:
    """Where a step is defined, which tells two of the same name apart."""
    home = step if hasattr(step, "__qualname__") else type(step)
    return f"{home.__module__}.{getattr(home, '__qualname__', '')}:{step_name(step)}"


def _digest(fields: dict[str, Any]) -> str:
    text = json.dumps({"format": FORMAT, **fields}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


_SETTINGS = ("batch_size", "max_length", "padding", "seed")
