"""What padding costs: batching policies that can be compared, and their joules; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from paper.models import BERT
from pytest_energy import (
    FINE_TUNING_TASKS,
    GROUPED_BATCHES,
    PADDINGS,
    Cell,
    DataSource,
    Example,
    get_task,
    grouped,
)

MOST_TOKENS_A_STEP = 4096


@dataclass(frozen=True)
class Policy:
    """How examples are put together: a padding policy and a batch size."""

    padding: str
    batch_size: int


@dataclass(frozen=True)
class Cost:
    """What fine-tuning under a policy costs; `overhead` is processed over real tokens."""

    policy: Policy
    tokens_a_step: float
    overhead: float
    joules_per_token: float

    @property
    def joules_per_real_token(self) -> float:
        """J a token that is no padding."""
        return self.joules_per_token * self.overhead

    @property
    def row(self) -> tuple[str, int, float, float, float, float]:
        """Policy, batch size, tokens a step, overhead, mJ a processed and mJ a real token."""
        return (
            self.policy.padding,
            self.policy.batch_size,
            self.tokens_a_step,
            self.overhead,
            1e3 * self.joules_per_token,
            1e3 * self.joules_per_real_token,
        )


COLUMNS = (
    "padding",
    "batch",
    "tokens a step",
    "processed / real",
    "mJ/processed token",
    "mJ/real token",
)


def policies(max_length: int, max_tokens_a_step: int | None) -> tuple[Policy, ...]:
    """Five policies for short sequences with a cap of `max_length` tokens.

    The first three process about as many tokens a step, since an optimizer's step costs the same
    however few those are; the last three have one batch size. The third is in both.
    """
    tokens = min(max_tokens_a_step or MOST_TOKENS_A_STEP, MOST_TOKENS_A_STEP)
    least = max(tokens // max_length, 1)
    return (
        Policy("fixed", least),
        Policy("grouped", 8 * least),
        Policy("dynamic", 4 * least),
        Policy("fixed", 4 * least),
        Policy("grouped", 4 * least),
    )


def spread(costs: Sequence[Cost]) -> float:
    """Most over least J a processed token; 1 where padding costs what other tokens do."""
    rates = [cost.joules_per_token for cost in costs]
    return max(rates) / min(rates)


def worst_ratio(overheads: Mapping[str, Mapping[str, float]], better: str, worse: str) -> float:
    """The largest overhead of one policy over that of another, of all tasks."""
    return max(of[better] / of[worse] for of in overheads.values())


def by_task(
    overheads: Mapping[str, Mapping[str, float]], times: float = 1.0
) -> tuple[tuple[Cell, ...], ...]:
    """Rows of a table: each task with the overhead of each policy, `times` a figure."""
    return tuple((task, *(times * o for o in of.values())) for task, of in overheads.items())


def padding_overhead(
    examples: Sequence[Example], *, batch_size: int, padding: str, max_length: int, seed: int = 0
) -> float:
    """Processed tokens over real ones of a pass over `examples` in whole batches.

    `padding` is one of `PADDINGS`; `fixed` pads to `max_length` tokens.
    """
    processed = real = 0
    batches = max(len(examples) // batch_size, 1)
    for group in islice(grouped(examples, batch_size, padding, seed), batches):
        lengths = [len(example.ids) for example in group]
        processed += len(group) * (max_length if padding == "fixed" else max(lengths))
        real += sum(lengths)
    return processed / real


def overheads_by_task(data: DataSource, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """For each task that the data has, the overhead of each policy at standard batch and cap.

    Of as many examples as length-grouped batching sorts at a time, or of all where those are fewer.
    """
    found = {}
    for task in map(get_task, FINE_TUNING_TASKS):
        if data.missing(task) is None:
            count = GROUPED_BATCHES * task.batch_size
            cap = task.max_length
            examples = data.examples(task, model=BERT, max_length=cap, seed=seed, count=count)
            settings = {"batch_size": task.batch_size, "max_length": cap, "seed": seed}
            found[task.name] = {
                padding: padding_overhead(examples, padding=padding, **settings)
                for padding in PADDINGS
            }
    return found
