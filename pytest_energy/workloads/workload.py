"""What exactly is fine-tuned: a `Workload` and the digest by which a baseline recognises it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from pytest_energy.arguments import check_choice, check_count, digest_of
from pytest_energy.errors import EnergyError
from pytest_energy.workloads.data import DataSource
from pytest_energy.workloads.data.batches import PADDINGS
from pytest_energy.workloads.models import foreign_architecture
from pytest_energy.workloads.tasks import TASKS, Task, get_task

Precision = Literal["bf16", "fp32"]
Padding = Literal["dynamic", "grouped", "fixed"]

PRECISIONS = ("bf16", "fp32")
OPTIMIZERS = ("adamw",)
ATTENTIONS = ("sdpa", "eager")

# To be raised whenever the same fields come to stand for other work: other synthetic batches,
# other hub revisions, another optimizer step.
FORMAT = 1


@dataclass(frozen=True)
class Workload:
    """Everything that decides how much energy a token should cost on given hardware.

    `max_length` is in tokens; `data` is `synthetic`, `hub` or `local:` and eight hex digits of
    what the files hold; `seed` decides weights, examples and their order; `lora` is the rank of
    adapters that are trained in place of the whole model; `architecture` is eight hex digits of
    what the model's folder describes, where the name does not say it.
    """

    task: str
    model: str
    precision: Precision
    batch_size: int
    max_length: int
    padding: Padding
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
        check_choice("precision", self.precision, PRECISIONS)
        check_count("batch_size", self.batch_size)
        check_count("max_length", self.max_length, least=8)
        check_choice("padding policy", self.padding, PADDINGS)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("attention", self.attention, ATTENTIONS)
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
        fields = {"format": FORMAT, **asdict(self)}
        for later in ("lora", "architecture"):  # so that digests are those from before these
            if fields[later] is None:
                del fields[later]
        return digest_of(fields)


def make_workload(
    task: Task | str,
    model: str = "bert-base-uncased",
    *,
    device: str,
    data: DataSource,
    batch_size: int | None = None,
    max_length: int | None = None,
    precision: str = "auto",
    padding: str = "dynamic",
    attention: str = "sdpa",
    max_tokens_per_batch: int | None = None,
    seed: int = 0,
    lora: int | None = None,
    models: Path | None = None,
) -> Workload:
    """The workload that these choices make on `device`; what is not given is the task's standard.

    `precision="auto"` is bf16 on a GPU that computes in it, else fp32. `max_tokens_per_batch`
    (tokens) halves the standard batch until one of usual length fits; a `batch_size` given wins.
    `models` is the folder of checkpoints that models are looked for in first.
    """
    task = get_task(task)
    if max_length is None:
        max_length = task.max_length
    check_count("max_length", max_length, least=8)
    if batch_size is None:
        batch_size = fitting_batch_size(task, max_length, max_tokens_per_batch)
    if precision == "auto":
        precision = "bf16" if computes_in_bf16(device) else "fp32"
    return Workload(
        task=task.name,
        model=model,
        # Workload itself refuses what is neither.
        precision=cast(Precision, precision),
        batch_size=batch_size,
        max_length=max_length,
        padding=cast(Padding, padding),
        optimizer="adamw",
        attention=attention,
        data=data.identity(task, model=model),
        seed=seed,
        lora=lora,
        architecture=foreign_architecture(model, models),
    )


def fitting_batch_size(task: Task, max_length: int, max_tokens_per_batch: int | None) -> int:
    """The task's batch size, or the largest power of two below it that fits the tokens given.

    A batch counts as its size times the 99th percentile of the task's lengths, cap included.
    """
    if max_tokens_per_batch is None:
        return task.batch_size
    check_count("max_tokens_per_batch", max_tokens_per_batch)
    usual_length = min(task.lengths.percentile(99), max_length)
    if task.head == "mlm":
        usual_length = max_length
    batch_size = 1
    while (
        2 * batch_size <= task.batch_size and 2 * batch_size * usual_length <= max_tokens_per_batch
    ):
        batch_size *= 2
    return batch_size


def computes_in_bf16(device: str) -> bool:
    """Whether `device` (`cpu`, `cuda`, `cuda:1`, …) is a GPU with bf16 arithmetic of its own."""
    if not device.startswith("cuda"):
        return False
    import torch

    if torch.version.hip is not None:
        return bool(torch.cuda.is_bf16_supported())
    # Before Ampere (8.0) bf16 is emulated: is_bf16_supported() says yes to that.
    return bool(torch.cuda.get_device_capability(device) >= (8, 0))
