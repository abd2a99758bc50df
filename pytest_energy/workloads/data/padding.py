"""How much padding a policy adds to real sequences: exact, from their lengths alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from pytest_energy.workloads.data.batches import GROUPED_BATCHES, PADDINGS, grouped
from pytest_energy.workloads.data.protocol import DataSource, Example
from pytest_energy.workloads.tasks import Task


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


def overheads_of_task(task: Task, data: DataSource, *, seed: int = 0) -> Mapping[str, float]:
    """The overhead of each policy at the task's standard batch and cap, in the data's own lengths.

    Of as many examples as length-grouped batching sorts at a time, or of all where those are fewer.
    """
    examples = data.examples(
        task,
        model="bert-base-uncased",
        max_length=task.max_length,
        seed=seed,
        count=GROUPED_BATCHES * task.batch_size,
    )
    return {
        padding: padding_overhead(
            examples,
            batch_size=task.batch_size,
            padding=padding,
            max_length=task.max_length,
            seed=seed,
        )
        for padding in PADDINGS
    }
