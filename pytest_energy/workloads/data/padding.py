"""How much padding a policy adds to real sequences: exact, from their lengths alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from pytest_energy.workloads.data.batches import GROUPED_BATCHES, PADDINGS, grouped
from pytest_energy.workloads.data.protocol import DataSource, Example
from pytest_energy.workloads.data.tokenizer import UNCASED
from pytest_energy.workloads.tasks import FINE_TUNING_TASKS, get_task


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
            examples = data.examples(task, model=UNCASED, max_length=cap, seed=seed, count=count)
            settings = {"batch_size": task.batch_size, "max_length": cap, "seed": seed}
            found[task.name] = {
                padding: padding_overhead(examples, padding=padding, **settings)
                for padding in PADDINGS
            }
    return found
