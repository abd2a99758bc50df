"""The loop: fine-tune a workload, one metered window after another over the same batches."""

from __future__ import annotations

import gc
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window, window
from pytest_energy.meters.protocol import Meter
from pytest_energy.workloads.choices import check_choice, check_count
from pytest_energy.workloads.data.batches import Batch, window_batches
from pytest_energy.workloads.data.protocol import DataSource
from pytest_energy.workloads.engine import accelerator, adamw, default_device
from pytest_energy.workloads.lora import with_lora
from pytest_energy.workloads.models import build_model, parameters
from pytest_energy.workloads.tasks import Task, get_task
from pytest_energy.workloads.workload import Workload, make_workload

if TYPE_CHECKING:
    import torch

LARGEST_GRADIENT_NORM = 1.0


class FineTuning:
    """A model in training; each window continues it over exactly the same batches.

    `tokens` and `real_tokens` are what one pass processes, with and without padding, `examples`
    how many sequences; `parameters` is (trainable, total); `device` is torch's name of where it is.
    `shard` is (rank, of so many): a pass is that rank's part of the batches.
    """

    def __init__(
        self,
        workload: Workload,
        data: DataSource,
        meter: Meter,
        tokens_per_window: int,
        device: str | None = None,
        shard: tuple[int, int] = (0, 1),
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
        self.tokens = batches.processed_tokens
        self.real_tokens = batches.real_tokens
        self.examples = batches.examples
        self.padding_overhead = batches.padding_overhead
        self._windows = 0
        model: Any = build_model(
            task,
            workload.model,
            labels=len(data.labels(task)),
            attention=workload.attention,
            seed=workload.seed,
            pretrained=data.kind == "hub",
        )
        _check_fits(model.config, batches.longest, batches.largest_id, workload)
        inputs = set(inspect.signature(model.forward).parameters)
        if workload.lora is not None:
            model = with_lora(model, task.head, workload.lora, workload.seed)
        self.parameters = parameters(model)
        self._accelerator = accelerator(workload.precision, self.device)
        model.to(self.device)
        optimizer = adamw(model, task.learning_rate)
        self._model, self._optimizer = self._accelerator.prepare(model, optimizer)
        # All on the device from the start: a window is to meter training, not the loading of data.
        self._batches: tuple[Batch, ...] = tuple(
            {name: rows.to(self.device) for name, rows in batch.items() if name in inputs}
            for batch in batches.batches
        )
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
        return len(self._batches)

    def window(self, passes: int = 1) -> Window:
        """Buy one window: metered passes over the batches; its loss is that of the last."""
        check_count("passes", passes)
        with self._training(), window(self.meter, self.id, synchronize=self._synchronize) as w:
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
            self._synchronize()
        return self._mean(losses)

    def close(self) -> None:
        """Free the model and its memory; a second call does nothing."""
        if not self._batches:
            return
        self._accelerator.free_memory(self._model, self._optimizer)
        self._model = self._optimizer = None
        self._batches = ()
        gc.collect()
        if self._cuda:
            import torch

            torch.cuda.empty_cache()

    def _pass(self) -> torch.Tensor:
        """One optimizer step a batch; hands back the sum of the losses, still on the device."""
        import torch

        model, optimizer, engine = self._model, self._optimizer, self._accelerator
        losses = torch.zeros((), device=self.device)
        for batch in self._batches:
            loss = model(**batch).loss
            engine.backward(loss)
            engine.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            # Never read here: that would make the host wait for the device at each step.
            losses += loss.detach()
        return losses

    @contextmanager
    def _training(self) -> Iterator[None]:
        """Dropout drawn from the workload's seed; the caller's random state stays as it was."""
        import torch

        if not self._batches:
            raise EnergyError(f"`{self.id}` was closed: prepare it again to buy another window")
        with torch.random.fork_rng(devices=self._cuda):
            torch.manual_seed(self.workload.seed + 1 + self._windows)
            self._windows += 1
            try:
                yield
            except torch.cuda.OutOfMemoryError as error:
                raise EnergyError(
                    f"`{self.id}` does not fit into the memory of `{self.device}` at "
                    f"`batch_size` {self.workload.batch_size}: give a smaller one"
                ) from error

    def _synchronize(self) -> None:
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
    **overrides: Any,
) -> FineTuning:
    """The fine-tuning of `task` with `model`, ready to buy windows of about `tokens_per_window`.

    `overrides` are what `make_workload` takes: `batch_size`, `max_length`, `precision`, `padding`,
    `attention`, `seed`, `lora`. `EnergyError` where one is unknown or the data lacks the task.
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
        **overrides,
    )
    return FineTuning(workload, data, meter, tokens_per_window, device)


SETTINGS = ("batch_size", "max_length", "precision", "padding", "attention", "seed", "lora")


def _check_fits(config: Any, longest: int, largest_id: int, workload: Workload) -> None:
    positions = getattr(config, "max_position_embeddings", longest)
    if longest > positions:
        raise EnergyError(
            f"`max_length` is {workload.max_length}, but `{workload.model}` has {positions} "
            "positions: give at most as many"
        )
    if largest_id >= config.vocab_size:
        raise EnergyError(
            f"`{workload.model}` has {config.vocab_size} word pieces, but the data has id "
            f"{largest_id}: use data tokenised for it (`--energy-data=hub`)"
        )
