"""Fine-tuning that is scored: epochs over the training set, metered in parts, then evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from random import Random
from typing import TypeVar

from paper.scoring import Evaluation, Scores, evaluate
from pytest_energy import Batches, DataSource, Example, FineTuning, Window, get_task

_ALL = 10**9

PARTS = 2
"""Windows of an epoch: models take turns at them, so that the pairs show how much they vary."""

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Part of an epoch: the window around its training, and the scores if the epoch ends here.

    `available` counts the examples of the whole training set.
    """

    window: Window
    examples: int
    available: int
    scores: Scores | None


class ScoredEpochs:
    """The epochs of `run`, freshly prepared, as the task's standard recipe says, each scored.

    Batches are shuffled anew each epoch by the workload's seed and padded to their longest; the
    learning rate falls to nothing by the end. `tokens` ends each epoch early, once so many were
    processed. Evaluation is not metered.
    """

    def __init__(
        self, run: FineTuning, data: DataSource, evaluation: Evaluation, tokens: int | None = None
    ) -> None:
        workload = run.workload
        task, self._size, seed = get_task(workload.task), workload.batch_size, workload.seed
        examples = data.examples(
            task,
            model=workload.model,
            max_length=workload.max_length,
            seed=seed,
            count=_ALL,
        )
        self._run, self._evaluation, self._available = run, evaluation, len(examples)
        epochs = [
            list(_groups(examples, self._size, Random(f"pytest-energy epoch {seed} {n}"), tokens))
            for n in range(task.epochs)
        ]
        self._steps = sum(map(len, epochs))
        self._epochs = [_parts(groups) for groups in epochs]

    @property
    def windows(self) -> int:
        """How many windows they are metered in."""
        return sum(map(len, self._epochs))

    @property
    def tokens(self) -> int:
        """Tokens that all of them process, padding included."""
        return sum(_processed(group) for parts in self._epochs for part in parts for group in part)

    def __iter__(self) -> Iterator[Part]:
        """Train, and give each part once its window has ended; only once."""
        _decay(self._run, self._steps)
        for parts in self._epochs:
            for number, part in enumerate(parts, 1):
                batches = Batches.of(part)
                self._run.take(batches)
                window = self._run.window()
                scores = None
                if number == len(parts):
                    scores = evaluate(self._evaluation, self._run, self._size)
                yield Part(window, batches.examples, self._available, scores)


def in_turn(courses: Sequence[Iterator[T]]) -> list[list[T]]:
    """All parts of each course; they take turns, there and back, so that a drift is no effect."""
    parts: list[list[T]] = [[] for _ in courses]
    for direction in cycle((1, -1)):
        before = sum(map(len, parts))
        for course, done in list(zip(courses, parts, strict=True))[::direction]:
            done += islice(course, 1)
        if sum(map(len, parts)) == before:
            break
    return parts


def _parts(groups: Sequence[T]) -> list[Sequence[T]]:
    """The batches of an epoch in parts of about as many, each with one at least."""
    edges = [len(groups) * number // PARTS for number in range(PARTS + 1)]
    return [groups[a:b] for a, b in pairwise(edges) if b > a]


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
        processed += _processed(group)
        if tokens is not None and processed >= tokens:
            return


def _processed(group: Sequence[Example]) -> int:
    """Tokens of a batch whose examples are padded to its longest."""
    return len(group) * max(len(example.ids) for example in group)


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (joules, score) whether no other is as good in both and better in one."""
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other != point and other[0] <= point[0] and other[1] >= point[1]
