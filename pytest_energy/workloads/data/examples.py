"""Examples and their batches: padded together, as many as a window needs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, islice
from random import Random
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from pytest_energy.errors import DataError, EnergyError, check_choice, check_count
from pytest_energy.workloads.tasks import Task

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

T = TypeVar("T")


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


def passages(lines: Sequence[str]) -> Iterator[Passage]:
    """Running text in pieces of 32 lines that are not blank, so that it can be shuffled."""
    full = [line for line in lines if line.strip()]
    for at in range(0, len(full), 32):
        yield Passage("\n".join(full[at : at + 32]))


def shuffled(items: Sequence[T], rng: Random) -> Iterator[T]:
    """The items in random order, the same for a seed in each release of Python.

    `Random.shuffle` may change between releases, `Random.random` may not.
    """
    keys = [rng.random() for _ in range(len(items))]
    return map(items.__getitem__, sorted(range(len(items)), key=keys.__getitem__))


IGNORED = -100
"""The label of a token that the loss leaves out."""


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised sequence, special tokens included, with the target of its task's head.

    `ids` and `types` (token types) have one entry a token, and so have `token_labels` (token and
    masked-LM heads; `IGNORED` where no loss falls). `label` is a class (sequence head). `span` is
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
    def kind(self) -> Literal["synthetic", "hub", "local"]:
        """Which of the three it is."""

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

        Fewer come only if the data has no more. More of the same seed begin with the same ones.
        `model` says whose tokenizer is meant. `DataError` if the data cannot be used.
        """

    def described(self) -> tuple[str, ...]:
        """What was read so far: files, how many examples, how many left out, vocabularies."""

    def tokenizer(self, model: str) -> Tokenizer:
        """The tokenizer whose ids `examples` have for `model`; `DataError` if there is none."""


Batch = Mapping[str, "torch.Tensor"]

PADDINGS = ("dynamic", "grouped", "fixed")

GROUPED_BATCHES = 50
"""Batches that `grouped` padding sorts by length at a time."""


@dataclass(frozen=True)
class Batches:
    """The batches of a window; each maps a model's argument to a tensor of [batch, length] ids.

    `labels` of sequence heads, `start_positions` and `end_positions` are [batch].
    """

    batches: tuple[Batch, ...]

    @classmethod
    def of(cls, groups: Iterable[Sequence[Example]], length: int | None = None) -> Batches:
        """A batch of each group, padded to its longest example or to `length` tokens."""
        return cls(tuple(collate(group, length) for group in groups))

    @cached_property
    def processed_tokens(self) -> int:
        """Tokens a pass feeds to the model, padding included."""
        return sum(batch["input_ids"].numel() for batch in self.batches)

    @cached_property
    def real_tokens(self) -> int:
        """Tokens a pass feeds to the model, padding left out."""
        return sum(int(batch["attention_mask"].sum()) for batch in self.batches)

    @property
    def padding_overhead(self) -> float:
        """Processed tokens over real ones, exact for these batches."""
        return self.processed_tokens / self.real_tokens

    @property
    def examples(self) -> int:
        """Sequences of a pass."""
        return sum(batch["input_ids"].shape[0] for batch in self.batches)

    @property
    def longest(self) -> int:
        """The length (tokens) of the longest batch."""
        return max(batch["input_ids"].shape[1] for batch in self.batches)

    @property
    def largest_id(self) -> int:
        """The largest token id of all."""
        return max(int(batch["input_ids"].max()) for batch in self.batches)


def collate(examples: Sequence[Example], length: int | None = None) -> Batch:
    """One batch, padded at the end to the longest example or to `length` tokens.

    By hand on purpose: a digest stands for these very batches in every release of transformers.
    """
    import torch

    width = length or max(len(example.ids) for example in examples)

    def padded(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
        return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])

    batch = {
        "input_ids": padded([example.ids for example in examples], 0),
        "attention_mask": padded([[1] * len(example.ids) for example in examples], 0),
        "token_type_ids": padded([example.types for example in examples], 0),
    }
    labels = [example.label for example in examples if example.label is not None]
    token_labels = [e.token_labels for e in examples if e.token_labels is not None]
    spans = [example.span for example in examples if example.span is not None]
    if labels:
        batch["labels"] = torch.tensor(labels)
    elif token_labels:
        batch["labels"] = padded(token_labels, IGNORED)
    else:
        batch["start_positions"] = torch.tensor([start for start, _ in spans])
        batch["end_positions"] = torch.tensor([end for _, end in spans])
    return batch


def make_batches(
    examples: Sequence[Example],
    batch_size: int,
    padding: str,
    max_length: int,
    token_budget: int,
    seed: int,
    ranks: int = 1,
) -> Batches:
    """Whole batches until their processed tokens reach `token_budget`; the last one crosses it.

    Their number is a multiple of `ranks`, so that each of them has as many.

    Examples are taken in their order; if they run out, further epochs are shuffled by `seed`.
    `padding` is `dynamic` (to the longest of the batch), `grouped` (the same, with examples of
    like length together) or `fixed` (to `max_length`).
    """
    check_count("token_budget", token_budget)
    length = max_length if padding == "fixed" else None
    groups: list[tuple[Example, ...]] = []
    processed = 0
    for group in grouped(examples, batch_size, padding, seed):
        groups.append(group)
        processed += len(group) * (length or max(len(example.ids) for example in group))
        if processed >= token_budget and len(groups) % ranks == 0:
            break
    return Batches.of(groups, length)


def grouped(
    examples: Sequence[Example], batch_size: int, padding: str, seed: int
) -> Iterator[tuple[Example, ...]]:
    """The examples of one batch after another, without end, as `padding` puts them together."""
    check_choice("padding policy", padding, PADDINGS)
    check_count("batch_size", batch_size)
    if not examples:
        raise EnergyError("no examples to make batches of: the data source gave none")
    rng = Random(f"pytest-energy batches {seed}")
    groups = _groups(examples, batch_size, rng)
    return _by_length(groups, batch_size, rng) if padding == "grouped" else groups


def window_batches(
    task: Task,
    data: DataSource,
    *,
    model: str,
    batch_size: int,
    padding: str,
    max_length: int,
    tokens: int,
    seed: int,
    ranks: int = 1,
) -> Batches:
    """The batches of a task that one window of about `tokens` processed tokens trains on."""
    # Enough for the budget even without padding, if the data is as long as what was measured.
    enough = math.ceil(tokens / min(task.lengths.mean, max_length)) + ranks * batch_size
    if padding == "grouped":
        pool = GROUPED_BATCHES * batch_size
        enough = pool * math.ceil(enough / pool)
    examples = data.examples(task, model=model, max_length=max_length, seed=seed, count=enough)
    return make_batches(examples, batch_size, padding, max_length, tokens, seed, ranks)


def _groups(
    examples: Sequence[Example], batch_size: int, rng: Random
) -> Iterator[tuple[Example, ...]]:
    stream = chain(examples, (again for _ in count() for again in shuffled(examples, rng)))
    while True:
        yield tuple(islice(stream, batch_size))


def _by_length(
    groups: Iterator[tuple[Example, ...]], batch_size: int, rng: Random
) -> Iterator[tuple[Example, ...]]:
    while True:
        pool = [example for group in islice(groups, GROUPED_BATCHES) for example in group]
        pool.sort(key=lambda example: len(example.ids))
        alike = [tuple(pool[at : at + batch_size]) for at in range(0, len(pool), batch_size)]
        # In random order, or the first batches would all be of the shortest examples.
        yield from shuffled(alike, rng)


MOST_SKIPPED = 0.1
"""Share of a data set's examples that may be left out."""


class Skipped:
    """What readers left out of one data set, counted by reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: DataError | None = None

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, reason: str, error: DataError) -> None:
        """Leave out one example for a `reason`, such as "gold label `-`"; `error` names it."""
        self._counts[reason] += 1
        self._first = self._first or error

    def check(self, kept: int) -> None:
        """Raise the error of the first that was left out, if too many were beside those `kept`."""
        count = self._counts.total()
        if self._first is not None and count > MOST_SKIPPED * (count + kept):
            raise DataError(f"{self._first} ({count:,} of {count + kept:,} are like that)")

    def __str__(self) -> str:
        """How many, and why, such as "185 skipped: gold label `-`"; empty if there are none."""
        if not self._counts:
            return ""
        several = len(self._counts) > 1
        reasons = [f"{why} ({n:,})" if several else why for why, n in self._counts.items()]
        return f"{self._counts.total():,} skipped: {', '.join(reasons)}"
