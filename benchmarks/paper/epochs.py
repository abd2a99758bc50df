"""Fine-tuning that is scored: whole epochs over the training set, each metered, each marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from paper.scoring import Scores, make_exam, sit
from pytest_energy.metering import Window
from pytest_energy.workloads.data.batches import Batches, collate
from pytest_energy.workloads.data.protocol import DataSource, Example, shuffled_indices
from pytest_energy.workloads.finetune import FineTuning
from pytest_energy.workloads.tasks import get_task

_ALL = 10**9


@dataclass(frozen=True)
class Epoch:
    """One epoch: the window around its training, and the scores after it."""

    window: Window
    examples: int
    scores: Scores


def scored_epochs(run: FineTuning, data: DataSource, tokens: int | None = None) -> Iterator[Epoch]:
    """Fine-tune `run`, freshly prepared, as the task's standard recipe says, and mark each epoch.

    Batches are shuffled anew each epoch by the workload's seed and padded to their longest; the
    learning rate falls to nothing by the end. `tokens` ends each epoch early, once so many were
    processed. Marking is not metered.
    """
    workload = run.workload
    task = get_task(workload.task)
    exam = make_exam(task, data, workload.model, workload.max_length)
    examples = data.examples(
        task,
        model=workload.model,
        max_length=workload.max_length,
        seed=workload.seed,
        count=_ALL,
    )
    size, seed = workload.batch_size, workload.seed
    epochs = [_epoch(examples, size, seed, number, tokens) for number in range(task.epochs)]
    run.decay(sum(len(batches.batches) for batches in epochs))
    for batches in epochs:
        run.take(batches)
        window = run.window()
        seen = sum(len(batch["input_ids"]) for batch in batches.batches)
        yield Epoch(window, seen, sit(exam, run, size))


def _epoch(
    examples: list[Example], batch_size: int, seed: int, number: int, tokens: int | None
) -> Batches:
    order = shuffled_indices(len(examples), Random(f"pytest-energy epoch {seed} {number}"))
    batches = []
    processed = real = 0
    for at in range(0, len(order), batch_size):
        group = [examples[i] for i in order[at : at + batch_size]]
        batches.append(collate(group))
        processed += batches[-1]["input_ids"].numel()
        real += sum(len(example.ids) for example in group)
        if tokens is not None and processed >= tokens:
            break
    return Batches(tuple(batches), processed, real)


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (joules, score) whether no other is as good in both and better in one."""
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other != point and other[0] <= point[0] and other[1] >= point[1]
