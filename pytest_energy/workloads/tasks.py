"""The tasks: each with its head, its length cap and the standard hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_energy.workloads.choices import check_choice
from pytest_energy.workloads.lengths import Lengths, measured_lengths

Head = Literal["sequence", "qa", "token", "mlm"]


@dataclass(frozen=True)
class Task:
    """One task as the public example scripts fine-tune it.

    `max_length` and `doc_stride` are in tokens; `labels` are names in the order of their ids,
    empty where the head has none; `train_examples` is the size of the training set, for `mlm` the
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
        return measured_lengths().get(self.name) or Lengths.constant(self.max_length)


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
