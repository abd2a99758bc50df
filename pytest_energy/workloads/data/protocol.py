"""What a data source is, and the example it hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_energy.workloads.data.records import Record
from pytest_energy.workloads.tasks import Task

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Kind = Literal["synthetic", "hub", "local"]

IGNORED = -100
"""The label of a token that the loss leaves out."""


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised sequence, special tokens included, with the target of its task's head.

    `ids` and `types` (token types) have one entry a token, and so have `token_labels` (token and
    masked-LM heads; `IGNORED` where no loss falls); `label` is a class (sequence head); `span` is
    the first and the last token of the answer, (0, 0) for none (QA head).
    """

    ids: tuple[int, ...]
    types: tuple[int, ...]
    label: int | None = None
    span: tuple[int, int] | None = None
    token_labels: tuple[int, ...] | None = None


class DataSource(Protocol):
    """Where examples come from; `open_data` finds the one that `--energy-data` names."""

    @property
    def kind(self) -> Kind:
        """Which of the three kinds it is."""

    def identity(self, task: Task | str, *, model: str) -> str:
        """What stands for the data in a workload's digest; `EnergyError` if the task is missing."""

    def missing(self, task: Task | str) -> str | None:
        """Why this source has nothing for the task and what it looked for; `None` if it has."""

    def labels(self, task: Task | str) -> tuple[str, ...]:
        """The names of the task's labels in this data, in the order of their ids."""

    def examples(
        self, task: Task | str, *, model: str, max_length: int, seed: int, count: int
    ) -> list[Example]:
        """Up to `count` examples of at most `max_length` tokens in an order that `seed` decides.

        Fewer come only where the data has no more. More of the same seed begin with the same ones.
        `model` says whose tokenizer is meant. `DataError` where the data cannot be used.
        """

    def held_out(self, task: Task | str) -> Sequence[Record]:
        """The records that training does not see, to score on; `DataError` where there are none."""

    def tokenizer(self, model: str) -> Tokenizer:
        """The tokenizer whose ids `examples` have for `model`; `DataError` where there is none."""
