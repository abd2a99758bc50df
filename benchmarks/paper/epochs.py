"""Fine-tuning that is scored: whole epochs over the training set, each metered, then evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from paper.scoring import Scores, evaluate, make_evaluation
from pytest_energy import Batches, DataSource, Example, FineTuning, Window, get_task

_ALL = 10**9


@dataclass(frozen=True)
class Epoch:
    """One epoch: the window around its training, and the scores after it."""

    window: Window
    examples: int
    scores: Scores


def scored_epochs(run: FineTuning, data: DataSource, tokens: int | None = None) -> Iterator[Epoch]:
    """Fine-tune `run`, freshly prepared, as the task's standard recipe says; score each epoch.

    Batches are shuffled anew each epoch by the workload's seed and padded to their longest; the
    learning rate falls to nothing by the end. `tokens` ends each epoch early, once so many were
    processed. Evaluation is not metered.
    """
    workload = run.workload
    task = get_task(workload.task)
    evaluation = make_evaluation(task, data, workload.model, workload.max_length)
    examples = data.examples(
        task,
        model=workload.model,
        max_length=workload.max_length,
        seed=workload.seed,
        count=_ALL,
    )
    size, seed = workload.batch_size, workload.seed
    epochs = [
        Batches.of(_groups(examples, size, Random(f"pytest-energy epoch {seed} {number}"), tokens))
        for number in range(task.epochs)
    ]
    _decay(run, sum(len(batches.batches) for batches in epochs))
    for batches in epochs:
        run.take(batches)
        yield Epoch(run.window(), batches.examples, evaluate(evaluation, run, size))


def _decay(run: FineTuning, steps: int) -> None:
    """Let the learning rate fall in a straight line to nothing over so many steps."""
    from torch.optim.lr_scheduler import LambdaLR

    schedule = LambdaLR(run.optimizer, lambda step: max(0.0, 1 - step / steps))
    run.optimizer.register_step_post_hook(lambda *_: schedule.step())


def _groups(
    examples: Sequence[Example], size: int, rng: Random, tokens: int | None
) -> Iterator[list[Example]]:
    """The examples of each batch of an epoch in random order, until `tokens` are processed."""
    shuffled = sorted(examples, key=lambda _: rng.random())
    processed = 0
    for at in range(0, len(shuffled), size):
        group = shuffled[at : at + size]
        yield group
        processed += len(group) * max(len(example.ids) for example in group)
        if tokens is not None and processed >= tokens:
            return


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (joules, score) whether no other is as good in both and better in one."""
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other != point and other[0] <= point[0] and other[1] >= point[1]
