"""A training step of the user's own, driven over a task's batches, one metered window at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_energy.arguments import check_choice, check_count, digest_of
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.meters.protocol import Meter
from pytest_energy.workloads.data import DataSource
from pytest_energy.workloads.data.batches import PADDINGS, Batches, window_batches
from pytest_energy.workloads.engine import BatchRun, default_device
from pytest_energy.workloads.tasks import Task, get_task
from pytest_energy.workloads.workload import FORMAT, fitting_batch_size

if TYPE_CHECKING:
    import torch

__tracebackhide__ = raised_elsewhere


Step = Callable[["dict[str, torch.Tensor]"], object]
"""Takes a batch: `input_ids`, `attention_mask` and `token_type_ids`, with `labels` or, for
questions, `start_positions` and `end_positions`. What it returns is not looked at."""


class Stepping(BatchRun):
    """A step in training; each window calls it with exactly the same batches, one after another.

    `settings` is what its digest is made of.
    """

    def __init__(self, step: Step, name: str, settings: Mapping[str, Any], meter: Meter) -> None:
        super().__init__(name, digest_of({"format": FORMAT, **settings}), meter)
        self.settings = settings
        self._step = step

    def take(self, batches: Batches, device: str) -> None:
        """Call the step with these from now on, on that device."""
        self._give(batches, lambda batch: {name: rows.to(device) for name, rows in batch.items()})

    def _pass(self) -> None:
        for batch in self.batches:
            # A dict of its own: what a step takes out is there again in the next pass.
            self._step(dict(batch))


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
    """The user's `step` on a task's batches, ready for windows of about `tokens_per_window`.

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
    identity = data.identity(task, model=model)
    settings = {"step": _origin(step), "task": task.name, **fields, "data": identity}
    batches = window_batches(task, data, tokens=tokens_per_window, **fields)
    run = Stepping(step, f"{task.name}/{step_name(step)}", settings, meter)
    run.take(batches, device or default_device())
    return run


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


_SETTINGS = ("batch_size", "max_length", "padding", "seed")
