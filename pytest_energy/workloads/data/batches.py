"""Batches: examples padded together, as many as a window's tokens need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from pytest_energy.arguments import check_choice, check_count
from pytest_energy.errors import EnergyError
from pytest_energy.workloads.data import IGNORED, DataSource, Example, shuffled_indices
from pytest_energy.workloads.tasks import Task

if TYPE_CHECKING:
    import torch


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

    Examples are taken in their order; where they run out, further epochs are shuffled by `seed`.
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
    count = math.ceil(tokens / min(task.lengths.mean, max_length)) + ranks * batch_size
    if padding == "grouped":
        pool = GROUPED_BATCHES * batch_size
        count = pool * math.ceil(count / pool)
    examples = data.examples(task, model=model, max_length=max_length, seed=seed, count=count)
    return make_batches(examples, batch_size, padding, max_length, tokens, seed, ranks)


def _groups(
    examples: Sequence[Example], batch_size: int, rng: Random
) -> Iterator[tuple[Example, ...]]:
    def epochs() -> Iterator[Example]:
        yield from examples
        while True:
            for index in shuffled_indices(len(examples), rng):
                yield examples[index]

    stream = epochs()
    while True:
        yield tuple(islice(stream, batch_size))


def _by_length(
    groups: Iterator[tuple[Example, ...]], batch_size: int, rng: Random
) -> Iterator[tuple[Example, ...]]:
    while True:
        pool = [example for group in islice(groups, GROUPED_BATCHES) for example in group]
        pool.sort(key=lambda example: len(example.ids))
        sorted_groups = [
            tuple(pool[at : at + batch_size]) for at in range(0, len(pool), batch_size)
        ]
        # In random order, or the first batches would all be of the shortest examples.
        for index in shuffled_indices(len(sorted_groups), rng):
            yield sorted_groups[index]
