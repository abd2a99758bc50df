"""What exactly is fine-tuned, a `Workload`, and the loop that meters it window by window."""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_energy.errors import EnergyError, check_choice, check_count
from pytest_energy.files import digest_of
from pytest_energy.meters.protocol import Meter
from pytest_energy.workloads.architectures import brings_weights
from pytest_energy.workloads.data.examples import PADDINGS, Batches, DataSource, window_batches
from pytest_energy.workloads.device import computes_in_bf16, default_device
from pytest_energy.workloads.engine import FORMAT, BatchRun, accelerator, adamw
from pytest_energy.workloads.models import (
    build_model,
    check_fits,
    converter,
    foreign_architecture,
    parameters,
    with_lora,
)
from pytest_energy.workloads.tasks import TASKS, Task, batch_settings, get_task

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Workload:
    """Everything that decides how much energy a token should cost on given hardware.

    `max_length` is in tokens. `data` is `synthetic`, `hub` or `local:` and eight hex digits of
    what the files hold. `seed` decides weights, examples and their order. `lora` is the rank of
    adapters that are trained in place of the whole model. `architecture` is eight hex digits of
    what the model's folder describes, if the name does not say it.
    """

    task: str
    model: str
    precision: Literal["bf16", "fp32"]
    batch_size: int
    max_length: int
    padding: Literal["dynamic", "grouped", "fixed"]
    optimizer: str
    attention: str
    data: str
    seed: int
    lora: int | None = None
    architecture: str | None = None

    def __post_init__(self) -> None:
        check_choice("task", self.task, TASKS)
        if not self.model or self.model != self.model.strip():
            raise EnergyError(f"`model` is {self.model!r}: give a model's name or its folder")
        check_choice("precision", self.precision, ("bf16", "fp32"))
        check_count("batch_size", self.batch_size)
        check_count("max_length", self.max_length, least=8)
        check_choice("padding policy", self.padding, PADDINGS)
        check_choice("optimizer", self.optimizer, ("adamw",))
        check_choice("attention", self.attention, ("sdpa", "eager"))
        check_count("seed", self.seed, least=0)
        if self.lora is not None:
            check_count("lora", self.lora)
        if not re.fullmatch(r"synthetic|hub|local:[0-9a-f]{8}", self.data):
            raise EnergyError(
                f"`data` is {self.data!r}: it must be `synthetic`, `hub` or `local:` and the eight "
                "hex digits of what the files hold"
            )

    @property
    def id(self) -> str:
        """The name it goes by in baselines and reports, `sst2/bert-base-uncased`."""
        return f"{self.task}/{self.model}" + (f"+lora{self.lora}" if self.lora else "")

    @property
    def digest(self) -> str:
        """Eight hex digits that change whenever the work does."""
        # `lora` and `architecture` came later: without them digests are those from before.
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        return digest_of({"format": FORMAT, **fields})


SETTINGS = ("batch_size", "max_length", "precision", "padding", "attention", "seed", "lora")


def make_workload(
    task: Task | str,
    model: str = "bert-base-uncased",
    *,
    device: str,
    data: DataSource,
    max_tokens_per_batch: int | None = None,
    models: Path | None = None,
    **overrides: Any,
) -> Workload:
    """The workload that these choices make on `device`; what is not given is the task's standard.

    `overrides` are of `SETTINGS`. `precision="auto"`, the standard, is bf16 on a GPU that computes
    in it, else fp32. `max_tokens_per_batch` (tokens) halves the standard batch until one of usual
    length fits. `models` is the folder of checkpoints that models are looked for in first.
    """
    for name in overrides:
        check_choice("setting of a workload", name, SETTINGS)
    task = get_task(task)
    given = {name: value for name, value in overrides.items() if value is not None}
    fields: dict[str, Any] = {"precision": "auto", "attention": "sdpa"}
    fields |= batch_settings(task, max_tokens_per_batch, given)
    if fields["precision"] == "auto":
        fields["precision"] = "bf16" if computes_in_bf16(device) else "fp32"
    return Workload(
        task=task.name,
        model=model,
        optimizer="adamw",
        data=data.identity(task, model=model),
        architecture=foreign_architecture(model, models),
        **fields,
    )


class FineTuning(BatchRun):
    """A model in training; each window continues it over exactly the same batches.

    `bare` is the model as it was built, `optimizer` its AdamW. `convert` turns a batch into its
    arguments. `parameters` is (trainable, total). `device` is where it is. `shard` is (rank, of so
    many): a pass is that rank's part of the batches.
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

        super().__init__(workload.id, workload.digest, meter, self.synchronize)
        self.workload = workload
        self.device = device or default_device()
        task = get_task(workload.task)
        rank, ranks = shard
        batches = window_batches(
            task,
            data,
            model=workload.model,
            batch_size=workload.batch_size,
            padding=workload.padding,
            max_length=workload.max_length,
            tokens=tokens_per_window,
            seed=workload.seed,
            ranks=ranks,
        )
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
        self.optimizer: Any = adamw(model, task.learning_rate)
        self._model, self._optimizer = self._accelerator.prepare(model, self.optimizer)
        self.take(Batches(batches.batches[rank::ranks]))
        self._cuda = [torch.device(self.device)] if self.device.startswith("cuda") else []

    def take(self, batches: Batches) -> None:
        """Train on these from now on; `EnergyError` if they do not fit the model."""
        check_fits(self.bare, batches, self.workload.model, self.workload.max_length)
        self._give(batches, self.convert)

    def warm_up(self) -> float:
        """One pass over the batches that no meter sees; its mean loss."""
        with self._working():
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
        self._model = self._optimizer = self.bare = self.optimizer = None
        super().close()
        gc.collect()
        if self._cuda:
            import torch

            torch.cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait for what the device still has to do."""
        if self._cuda:
            import torch

            torch.cuda.synchronize(self._cuda[0])

    def _pass(self) -> torch.Tensor:
        """One optimizer step a batch; the sum of the losses, still on the device."""
        import torch

        losses = torch.zeros((), device=self.device)
        for batch in self.batches:
            loss = self._model(**batch).loss
            self._accelerator.backward(loss)
            self._accelerator.clip_grad_norm_(self._model.parameters(), max_norm=1.0)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            # Never read here: that would make the host wait for the device at each step.
            losses += loss.detach()
        return losses

    @contextmanager
    def _working(self) -> Iterator[None]:
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

        try:
            with super()._working():
                yield
        except torch.cuda.OutOfMemoryError as error:
            raise EnergyError(
                f"`{self.id}` does not fit into the memory of `{self.device}` at "
                f"`batch_size` {self.workload.batch_size}: give a smaller one"
            ) from error

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
    """The fine-tuning of `task` with `model`, ready for windows of about `tokens_per_window`.

    `overrides` are `batch_size`, `max_length` (tokens), `precision`, `padding`, `attention`, `seed`
    and `lora`; `models` is a folder of checkpoints, whose weights are taken. `EnergyError` if a
    setting is unknown or the data lacks the task.
    """
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
