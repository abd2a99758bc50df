"""Synthetic examples: as long as the task's real ones, and learnable from their tokens.

Token ids follow the uncased BERT vocabulary. Words are drawn with a frequency that falls with their
rank, as in text, and *cues*, ids that no word has, give the target away.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Literal

from pytest_energy.errors import DataError
from pytest_energy.workloads.data.examples import IGNORED, Example
from pytest_energy.workloads.data.features import masked_example
from pytest_energy.workloads.tasks import Task, get_task

if TYPE_CHECKING:
    from tokenizers import Tokenizer


CLS, SEP, MASK = 101, 102, 103
CUES = range(1000, 1996)
WORDS = range(1996, 30522)
CUES_A_LABEL = 16

CUE_SHARE = 0.25
ENTITY_SHARE = 0.1
UNANSWERABLE_SHARE = 1 / 3
LONGEST_QUESTION = 12
LONGEST_ANSWER = 4


class SyntheticSource:
    """Examples made from a task's measured lengths and a seed alone: no files, no download."""

    kind: Literal["synthetic"] = "synthetic"

    def identity(self, task: Task | str, *, model: str = "") -> str:
        """Always `synthetic`: the seed is part of the workload anyway."""
        del model
        get_task(task)
        return "synthetic"

    def missing(self, task: Task | str) -> None:
        """Nothing is: each task can be synthesised."""
        get_task(task)

    def labels(self, task: Task | str) -> tuple[str, ...]:
        """The task's standard labels."""
        return get_task(task).labels

    def examples(
        self, task: Task | str, *, model: str, max_length: int, seed: int, count: int
    ) -> list[Example]:
        """`count` examples; `model` does not matter, all read the same 30,522 ids."""
        del model
        task = get_task(task)
        # Python promises the same random() for a seed in each release; numpy and torch do not.
        rng = Random(f"pytest-energy {task.name} {seed}")
        return [_example(task, rng, max_length) for _ in range(count)]

    def described(self) -> tuple[str, ...]:
        """Nothing: no file was read."""
        return ()

    def tokenizer(self, model: str) -> Tokenizer:
        """None: `DataError`, for its ids were never text."""
        raise DataError(f"synthetic data has no tokenizer for `{model}`: it has no text")


def _example(task: Task, rng: Random, max_length: int) -> Example:
    if task.head == "mlm":
        return _masked(rng, max_length)
    shortest = (6 if task.head == "qa" else 3) + task.pair
    length = max(min(task.lengths.at(rng.random()), max_length), shortest)
    if task.head == "qa":
        return _question(task, rng, length)
    if task.head == "token":
        return _tagged(task, rng, length)
    return _classified(task, rng, length)


def _word(rng: Random) -> int:
    """A word's id; the n-th most frequent word is n times rarer than the first (Zipf)."""
    return WORDS[int(len(WORDS) ** rng.random()) - 1]


def _cue(label: int, rng: Random) -> int:
    return CUES[CUES_A_LABEL * label + int(CUES_A_LABEL * rng.random())]


def _pair(first: list[int], second: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ids = (CLS, *first, SEP, *second, SEP)
    return ids, (0,) * (len(first) + 2) + (1,) * (len(second) + 1)


def _classified(task: Task, rng: Random, length: int) -> Example:
    """A quarter of the tokens, and at least one, is from the band of its class."""
    label = int(rng.random() * len(task.labels))
    words = [
        _cue(label, rng) if rng.random() < CUE_SHARE else _word(rng)
        for _ in range(length - 2 - task.pair)
    ]
    words[0] = _cue(label, rng)
    if not task.pair:
        return Example((CLS, *words, SEP), (0,) * length, label=label)
    middle = (len(words) + 1) // 2
    ids, types = _pair(words[:middle], words[middle:])
    return Example(ids, types, label=label)


def _question(task: Task, rng: Random, length: int) -> Example:
    """The answer starts and ends with a cue of its own; without an answer there is neither."""
    asked = min(LONGEST_QUESTION, (length - 3) // 3)
    question = [_word(rng) for _ in range(asked)]
    context = [_word(rng) for _ in range(length - 3 - asked)]
    if task.unanswerable and rng.random() < UNANSWERABLE_SHARE:
        return Example(*_pair(question, context), span=(0, 0))
    answer = 1 + int(rng.random() * min(LONGEST_ANSWER, len(context) - 1))
    start = int(rng.random() * (len(context) - answer))
    context[start] = _cue(0, rng)
    context[start + answer] = _cue(1, rng)
    offset = asked + 2
    return Example(*_pair(question, context), span=(offset + start, offset + start + answer))


def _tagged(task: Task, rng: Random, length: int) -> Example:
    """A token of an entity is a cue of its own label; `B-` and `I-` of a kind are neighbours."""
    kinds = len(task.labels) // 2
    tags: list[int] = []
    while len(tags) < length - 2:
        if rng.random() < ENTITY_SHARE:
            begin = 1 + 2 * int(rng.random() * kinds)
            tags += [begin, begin + 1] if rng.random() < 0.5 else [begin]
        else:
            tags.append(0)
    del tags[length - 2 :]
    words = [_cue(tag, rng) if tag else _word(rng) for tag in tags]
    return Example((CLS, *words, SEP), (0,) * length, token_labels=(IGNORED, *tags, IGNORED))


def _masked(rng: Random, length: int) -> Example:
    """Each word stands there twice, so that the one masked can be read off its twin."""
    words = [word for _ in range(length // 2) for word in [_word(rng)] * 2][: length - 2]
    return masked_example((CLS, *words, SEP), rng, mask=MASK, words=WORDS)
