"""The loop: fine-tune a workload, one metered window after another over the same batches."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy.arguments import check_choice, check_count
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window, window
from pytest_energy.meters.protocol import Meter
from pytest_energy.workloads.data.batches import Batch, Batches, window_batches
from pytest_energy.workloads.data.protocol import DataSource
from pytest_energy.workloads.engine import accelerator, adamw, default_device, falling, train_pass
from pytest_energy.workloads.models import build_model, parameters
from pytest_energy.workloads.models.fitting import check_fits, converter, with_lora
from pytest_energy.workloads.models.known import brings_weights
from pytest_energy.workloads.tasks import Task, get_task
from pytest_energy.workloads.workload import Workload, make_workload

if TYPE_CHECKING:
    import torch


class FineTuning:
    """A model in training; each window continues it over exactly the same batches.

    `tokens` and `real_tokens` are what one pass processes, with and without padding, `examples`
    how many sequences; `batches` are what the model is given, on its device; `bare` is the model as
    it was built; `parameters` is (trainable, total); `device` is where it is; `shard` is (rank, of
    so many): a pass is that rank's part of the batches.
    """

    def __init__(
        self,
        workload: Workload,
        data: DataSource,
        meter: Meter,
        tokens_per_window: int,
        device: str | None = None,
        shard: tuple[int, int] = (0, 1),
        models: Path | None = None,
    ) -> None:
        check_count("tokens_per_window", tokens_per_window)
        import torch

        self.workload = workload
        self.meter = meter
        self.device = device or default_device()
        task = get_task(workload.task)
        batches = window_batches(
            task,
            data,
            model=workload.model,
            batch_size=workload.batch_size,
            padding=workload.padding,
            max_length=workload.max_length,
            tokens=tokens_per_window,
            seed=workload.seed,
            ranks=shard[1],
        ).shard(*shard)
        self._windows = 0
        model: Any = build_model(
            task,
            workload.model,
            labels=len(data.labels(task)),
            attention=workload.attention,
            seed=workload.seed,
            pretrained=data.kind == "hub" or brings_weights(workload.model, models),
            models=models,
        )
        self.bare = model
        self.convert = converter(task, model, self.device)
        if workload.lora is not None:
            model = with_lora(model, task.head, workload.lora, workload.seed)
        self.parameters = parameters(model)
        self._accelerator = accelerator(workload.precision, self.device)
        model.to(self.device)
        optimizer = adamw(model, task.learning_rate)
        self._model, self._optimizer = self._accelerator.prepare(model, optimizer)
        self._schedule: Any = None
        self.take(batches)
        self._cuda = [torch.device(self.device)] if self.device.startswith("cuda") else []

    @property
    def id(self) -> str:
        """The workload's name in baselines and reports."""
        return self.workload.id

    @property
    def digest(self) -> str:
        """The workload's digest."""
        return self.workload.digest

    @property
    def steps(self) -> int:
        """Optimizer steps a pass takes."""
        return len(self.batches)

    def take(self, batches: Batches) -> None:
        """Train on these from now on; `EnergyError` where they do not fit the model."""
        check_fits(self.bare, batches, self.workload.model, self.workload.max_length)
        self.tokens = batches.processed_tokens
        self.real_tokens = batches.real_tokens
        self.examples = batches.examples
        self.padding_overhead = batches.padding_overhead
        # All on the device from the start: a window is to meter training, not the loading of data.
        self.batches: tuple[Batch, ...] = tuple(map(self.convert, batches.batches))

    def decay(self, steps: int) -> None:
        """Let the learning rate fall in a straight line to nothing over so many steps."""
        self._schedule = falling(self._optimizer, steps)

    def window(self, passes: int = 1) -> Window:
        """Buy one window: metered passes over the batches; its loss is that of the last."""
        check_count("passes", passes)
        with self._training(), window(self.meter, self.id, synchronize=self.synchronize) as w:
            for _ in range(passes):
                losses = self._pass()
        return replace(
            w.record,
            tokens=passes * self.tokens,
            real_tokens=passes * self.real_tokens,
            steps=passes * self.steps,
            loss=self._mean(losses),
        )

    def warm_up(self) -> float:
        """One pass over the batches that no meter sees; its mean loss."""
        with self._training():
            losses = self._pass()
            self.synchronize()
        return self._mean(losses)

    @contextmanager
    def evaluating(self) -> Iterator[Any]:
        """The model without dropout and gradients; it goes on training afterwards."""
        import torch

        with self._open(), torch.no_grad():
            self._model.eval()
            try:
                yield self._model
            finally:
                self._model.train()

    def close(self) -> None:
        """Free the model and its memory; a second call does nothing."""
        if not self.batches:
            return
        self._accelerator.free_memory(self._model, self._optimizer)
        self._model = self._optimizer = self.bare = self._schedule = None
        self.batches = ()
        gc.collect()
        if self._cuda:
            import torch

            torch.cuda.empty_cache()

    def _pass(self) -> torch.Tensor:
        parts = (self._model, self._optimizer, self._accelerator)
        return train_pass(*parts, self.batches, self._schedule)

    @contextmanager
    def _training(self) -> Iterator[None]:
        """Dropout drawn from the workload's seed; the caller's random state stays as it was."""
        import torch

        with self._open(), torch.random.fork_rng(devices=self._cuda):
            torch.manual_seed(self.workload.seed + 1 + self._windows)
            self._windows += 1
            yield

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Work of a run that was not closed; what does not fit says what would."""
        import torch

        if not self.batches:
            raise EnergyError(f"`{self.id}` was closed: prepare it again to buy another window")
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            raise EnergyError(
                f"`{self.id}` does not fit into the memory of `{self.device}` at "
                f"`batch_size` {self.workload.batch_size}: give a smaller one"
            ) from error

    def synchronize(self) -> None:
        """Wait for what the device still has to do."""
        if self._cuda:
            import torch

            torch.cuda.synchronize(self._cuda[0])

    def _mean(self, losses: torch.Tensor) -> float:
        loss = float(losses) / self.steps
        if not math.isfinite(loss):
            raise EnergyError(
                f"`{self.id}` diverged, its loss is {loss}: what it drew is not the energy of "
                "fine-tuning; use `precision='fp32'` or the standard batch size"
            )
        return loss


def prepare(
    task: Task | str,
    model: str = "bert-base-uncased",
    *,
    data: DataSource,
    meter: Meter,
    tokens_per_window: int,
    max_tokens_per_batch: int | None = None,
    device: str | None = None,
    models: Path | None = None,
    **overrides: Any,
) -> FineTuning:
    """The fine-tuning of `task` with `model`, ready to buy windows of about `tokens_per_window`.

    `overrides` are what `make_workload` takes: `batch_size`, `max_length`, `precision`, `padding`,
    `attention`, `seed`, `lora`; `models` is a folder of checkpoints, whose weights are taken.
    `EnergyError` where a setting is unknown or the data lacks the task.
    """
    for name in overrides:
        check_choice("setting of a workload", name, SETTINGS)
    task = get_task(task)
    reason = data.missing(task)
    if reason:
        raise EnergyError(reason)
    device = device or default_device()
    workload = make_workload(
        task,
        model,
        device=device,
        data=data,
        max_tokens_per_batch=max_tokens_per_batch,
        models=models,
        **overrides,
    )
    return FineTuning(workload, data, meter, tokens_per_window, device, models=models)


SETTINGS = ("batch_size", "max_length", "precision", "padding", "attention", "seed", "lora")
