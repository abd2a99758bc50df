"""How long the sequences of a task are: measured WordPiece lengths, special tokens included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

from pytest_energy.errors import check_choice, check_count

_STEEPEST_TAIL = 32.0
_STEPS = 2000


@dataclass(frozen=True)
class Lengths:
    """A distribution of sequence lengths (tokens) as its 0th to 100th percentile and its mean.

    `padding_overhead` is what was measured on the real data: processed tokens over real tokens
    in random batches of that size, padded to the longest of the batch. Where nothing was measured
    it is empty.
    """

    quantiles: tuple[float, ...]
    mean: float
    padding_overhead: Mapping[int, float] = field(default_factory=dict)

    def overhead_in_batches_of(self, size: int) -> float:
        """Processed tokens over real tokens in random batches, padded to their longest.

        As measured where it was, else from the longest length that `size` draws of the
        distribution have on average.
        """
        if size in self.padding_overhead:
            return self.padding_overhead[size]
        shares = ((step + 0.5) / _STEPS for step in range(_STEPS))
        longest = sum(self.at(share ** (1 / size)) for share in shares) / _STEPS
        return max(longest / self.mean, 1.0)

    def at(self, share: float) -> int:
        """The length (tokens) that a `share` in [0, 1) of the sequences stays below.

        Linear between percentiles, but for the last one. A straight line up to the maximum would
        make the longest percent far too long, so it is bent until the mean is the measured one.
        """
        index, fraction = divmod(share * 100, 1)
        low = self.quantiles[int(index)]
        high = self.quantiles[int(index) + 1]
        if index == 99:
            fraction **= self._tail_exponent
        return round(low + (high - low) * fraction)

    @cached_property
    def _tail_exponent(self) -> float:
        body = sum((a + b) / 2 for a, b in zip(self.quantiles[:99], self.quantiles[1:100]))  # noqa: B905
        low, high = self.quantiles[99:]
        # The mean of low + (high - low) * u**p over u in [0, 1] is low + (high - low) / (p + 1).
        excess = 100 * self.mean - body - low
        if excess <= 0:
            return _STEEPEST_TAIL
        return min(max((high - low) / excess - 1, 1.0), _STEEPEST_TAIL)


@cache
def measured_lengths() -> Mapping[str, Lengths]:
    """The measured distributions by task name, as they ship in `lengths.json`."""
    text = files("pytest_energy.workloads").joinpath("lengths.json").read_text(encoding="utf-8")
    return {
        name: Lengths(
            tuple(map(float, entry["quantiles"])),
            entry["mean"],
            {int(batch): ratio for batch, ratio in entry["dynamic_padding_overhead"].items()},
        )
        for name, entry in json.loads(text).items()
    }


Head = Literal["sequence", "qa", "token", "mlm"]


@dataclass(frozen=True)
class Task:
    """One task as the public example scripts fine-tune it.

    `max_length` and `doc_stride` are in tokens. `labels` are names in the order of their ids,
    empty if the head has none. `train_examples` is the size of the training set, for `mlm` the
    sequences of a pre-training run (900,000 steps of 256).
    """

    name: str
    title: str
    head: Head
    labels: tuple[str, ...]
    max_length: int
    batch_size: int
    epochs: int
    learning_rate: float
    train_examples: int
    pair: bool = False
    """Whether two texts make one sequence."""
    unanswerable: bool = False
    """Whether a question may have no answer in its context."""
    doc_stride: int | None = None

    @property
    def lengths(self) -> Lengths:
        """The lengths of its sequences; masked-LM sequences all fill the cap."""
        cap = float(self.max_length)
        return measured_lengths().get(self.name) or Lengths((cap,) * 101, cap)


def _iob2(*kinds: str) -> tuple[str, ...]:
    return ("O", *(f"{position}-{kind}" for kind in kinds for position in "BI"))


# fmt: off
_ONTONOTES = (
    "PERSON", "NORP", "FAC", "ORG", "GPE", "LOC", "PRODUCT", "DATE", "TIME", "PERCENT", "MONEY",
    "QUANTITY", "ORDINAL", "CARDINAL", "EVENT", "WORK_OF_ART", "LAW", "LANGUAGE",
)

_TABLE = (
    Task("rte", "RTE", "sequence", ("entailment", "not_entailment"), pair=True,
         max_length=128, batch_size=32, epochs=3, learning_rate=2e-5, train_examples=2_490),
    Task("mnli", "MNLI", "sequence", ("entailment", "neutral", "contradiction"), pair=True,
         max_length=128, batch_size=32, epochs=3, learning_rate=2e-5, train_examples=392_702),
    Task("squad_v1", "SQuAD v1.1", "qa", (), pair=True, doc_stride=128,
         max_length=384, batch_size=32, epochs=2, learning_rate=3e-5, train_examples=87_599),
    Task("squad_v2", "SQuAD v2.0", "qa", (), pair=True, doc_stride=128, unanswerable=True,
         max_length=384, batch_size=32, epochs=2, learning_rate=3e-5, train_examples=130_319),
    Task("imdb", "IMDB", "sequence", ("negative", "positive"),
         max_length=512, batch_size=32, epochs=3, learning_rate=2e-5, train_examples=25_000),
    Task("sst2", "SST-2", "sequence", ("negative", "positive"),
         max_length=128, batch_size=32, epochs=3, learning_rate=2e-5, train_examples=67_349),
    Task("conll2003", "CoNLL-2003", "token", _iob2("PER", "ORG", "LOC", "MISC"),
         max_length=512, batch_size=32, epochs=3, learning_rate=2e-5, train_examples=14_041),
    Task("conll2012", "CoNLL-2012", "token", _iob2(*_ONTONOTES),
         max_length=512, batch_size=32, epochs=3, learning_rate=2e-5, train_examples=115_812),
    Task("mlm", "masked-LM pre-training", "mlm", (),
         max_length=128, batch_size=256, epochs=1, learning_rate=1e-4, train_examples=230_400_000),
)
# fmt: on

TASKS: dict[str, Task] = {task.name: task for task in _TABLE}
FINE_TUNING_TASKS: tuple[str, ...] = tuple(name for name in TASKS if name != "mlm")


def get_task(name: str | Task) -> Task:
    """The task called `name`; a `Task` is handed back as it is; else `EnergyError`."""
    if isinstance(name, Task):
        return name
    check_choice("task", name, TASKS)
    return TASKS[name]


def batch_settings(
    task: Task, max_tokens_per_batch: int | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What is `given`, and the task's standard batch size, length cap, padding and seed elsewhere.

    `max_tokens_per_batch` (tokens) is that of `fitting_batch_size`.
    """
    max_length = given.get("max_length", task.max_length)
    check_count("max_length", max_length, least=8)
    batch_size = fitting_batch_size(task, max_length, max_tokens_per_batch)
    standard = {"batch_size": batch_size, "max_length": max_length, "padding": "dynamic", "seed": 0}
    return {**standard, **given}


def fitting_batch_size(task: Task, max_length: int, max_tokens_per_batch: int | None) -> int:
    """The task's batch size, or the largest power of two below it that fits the tokens given.

    A batch counts as its size times the 99th percentile of the task's lengths, cap included.
    """
    if max_tokens_per_batch is None:
        return task.batch_size
    check_count("max_tokens_per_batch", max_tokens_per_batch)
    usual_length = max_length if task.head == "mlm" else min(task.lengths.quantiles[99], max_length)
    batch_size = 1
    while (
        2 * batch_size <= task.batch_size and 2 * batch_size * usual_length <= max_tokens_per_batch
    ):
        batch_size *= 2
    return batch_size
