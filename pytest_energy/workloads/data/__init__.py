"""Where the examples come from: synthetic ones, a folder of data sets, or the hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.tasks import Task

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True)
class Text:
    """A text, or a pair of them, with the id of its class."""

    text: str
    pair: str | None
    label: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its context; `answer` is the answer's [start, end) in characters, if any.

    `texts` are all the answers that count as right, of which `answer` is the first.
    """

    question: str
    context: str
    answer: tuple[int, int] | None
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tagged:
    """The words of a sentence and their IOB2 tags, one a word."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """Running text."""

    text: str


Record = Text | Question | Tagged | Passage

PASSAGE_LINES = 32


def passages(lines: Sequence[str]) -> Iterator[Passage]:
    """Running text in pieces of 32 lines that are not blank, so that it can be shuffled."""
    full = [line for line in lines if line.strip()]
    for at in range(0, len(full), PASSAGE_LINES):
        yield Passage("\n".join(full[at : at + PASSAGE_LINES]))


def shuffled_indices(count: int, rng: Random) -> list[int]:
    """0 to `count` - 1 in random order, the same for a seed in each release of Python.

    `Random.shuffle` may change between releases, `Random.random` may not.
    """
    keys = [rng.random() for _ in range(count)]
    return sorted(range(count), key=keys.__getitem__)


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

    def tokenizer(self, model: str) -> Tokenizer:
        """The tokenizer whose ids `examples` have for `model`; `DataError` where there is none."""


def open_data(source: str, models: Path | None = None) -> DataSource:
    """The data source that `--energy-data=source` means; `EnergyError` if it is none.

    `models` is the folder of checkpoints (`--energy-models`), whose tokenizers come first.
    """
    if source == "synthetic":
        from pytest_energy.workloads.data.synthetic import SyntheticSource

        return SyntheticSource()
    if source == "hub":
        from pytest_energy.workloads.data.hub import HubSource

        return HubSource(models=models)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        wrong = "is a file" if folder.exists() else "is no folder"
        raise EnergyError(
            f"`--energy-data={source}` {wrong}: give `synthetic`, `hub` or a folder of data sets"
        )
    from pytest_energy.workloads.data.local import LocalSource

    return LocalSource(folder, models)
