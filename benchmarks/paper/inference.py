"""Inference on what a fine-tuning run has: its model and its examples, metered window by window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_energy import FineTuning, Window, digest_of, window

if TYPE_CHECKING:
    import torch

Rows = Mapping[str, "torch.Tensor"]
"""A batch by the names of a model's arguments, each a tensor of [batch, length] or [batch]."""


class Inference:
    """The model of `run` at work: dropout off, no gradients, no loss, over the run's own examples.

    It takes the run's own batches or, with `single`, each example by itself and without padding.
    `examples` is how many a pass sees; `tokens` and `real_tokens` are as in `FineTuning`. Lives
    as long as `run` does.
    """

    def __init__(self, run: FineTuning, *, single: bool = False) -> None:
        self.batch_size = 1 if single else run.workload.batch_size
        self.meter = run.meter
        batches = [without_targets(batch) for batch in run.batches]
        self._batches = list(_one_by_one(batches)) if single else batches
        self._run = run
        self.examples = sum(len(batch["input_ids"]) for batch in self._batches)
        self.tokens = sum(batch["input_ids"].numel() for batch in self._batches)
        self.real_tokens = run.real_tokens
        self.padding_overhead = self.tokens / self.real_tokens

    @property
    def id(self) -> str:
        """The run's name with the batch size, such as `sst2/bert-base-uncased+inference1`."""
        return f"{self._run.id}+inference{self.batch_size}"

    @property
    def digest(self) -> str:
        """Eight hex digits of the run's digest and the batch size."""
        return digest_of(f"{self._run.digest} inference {self.batch_size}")

    @property
    def steps(self) -> int:
        """Batches a pass takes."""
        return len(self._batches)

    def window(self, passes: int = 1) -> Window:
        """Metered passes over the batches."""
        with (
            self._run.evaluating() as model,
            window(self.meter, self.id, synchronize=self._run.synchronize) as w,
        ):
            for batch in passes * self._batches:
                model(**batch)
        return replace(
            w.record,
            tokens=passes * self.tokens,
            real_tokens=passes * self.real_tokens,
            steps=passes * self.steps,
        )


def without_targets(batch: Rows) -> Rows:
    """What a model is asked about, without what it is told."""
    return {name: rows for name, rows in batch.items() if name not in _TARGETS}


_TARGETS = frozenset({"labels", "start_positions", "end_positions"})


def _one_by_one(batches: Sequence[Rows]) -> Iterator[Rows]:
    """Each row as a batch of its own, cut where its padding begins."""
    for batch in batches:
        for row, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
            yield {name: rows[row : row + 1, :length] for name, rows in batch.items()}
