"""Batches: padding policies, budgets and exact counts."""

from __future__ import annotations

import pytest

from pytest_energy import Batches, EnergyError, Example
from pytest_energy.workloads.data.examples import IGNORED

pytest.importorskip("torch")

from pytest_energy.workloads.data.examples import collate, make_batches


def example(length: int, label: int = 0) -> Example:
    return Example(tuple(range(1, length + 1)), (0,) * length, label=label)


def lengths(batches: Batches) -> list[int]:
    return [batch["input_ids"].shape[1] for batch in batches.batches]


def test_dynamic_padding_reaches_to_the_longest_of_the_batch() -> None:
    batches = make_batches([example(3), example(5), example(2), example(2)], 2, "dynamic", 8, 14, 0)
    assert lengths(batches) == [5, 2]
    assert (batches.processed_tokens, batches.real_tokens) == (14, 12)
    assert batches.padding_overhead == 14 / 12
    assert batches.batches[0]["input_ids"].tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]
    assert batches.batches[0]["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_fixed_padding_reaches_to_the_cap() -> None:
    batches = make_batches([example(3), example(5)], 2, "fixed", 8, 1, 0)
    assert lengths(batches) == [8]
    assert batches.padding_overhead == 2.0


def test_grouped_padding_puts_like_lengths_together() -> None:
    examples = [example(2 + 10 * (i % 2)) for i in range(200)]
    grouped = make_batches(examples, 2, "grouped", 12, 500, 0)
    assert grouped.padding_overhead == 1.0
    assert set(lengths(grouped)) == {2, 12}
    assert make_batches(examples, 2, "dynamic", 12, 500, 0).padding_overhead == 24 / 14


@pytest.mark.parametrize(("budget", "steps"), [(1, 1), (20, 1), (21, 2), (40, 2), (41, 3)])
def test_the_batch_that_crosses_the_budget_is_the_last(budget: int, steps: int) -> None:
    batches = make_batches([example(10)] * 6, 2, "dynamic", 16, budget, 0)
    assert len(batches.batches) == steps
    assert batches.processed_tokens == 20 * steps


def test_counts_are_those_of_the_tensors() -> None:
    batches = make_batches([example(n) for n in range(2, 60)], 8, "dynamic", 64, 900, 0)
    assert batches.processed_tokens == sum(b["input_ids"].numel() for b in batches.batches)
    assert batches.real_tokens == sum(int(b["attention_mask"].sum()) for b in batches.batches)
    assert batches.longest == max(lengths(batches))
    assert batches.largest_id == batches.longest


def test_few_examples_go_round_in_shuffled_epochs() -> None:
    examples = [example(4, label) for label in range(3)]
    batches = make_batches(examples, 2, "dynamic", 8, 48, 0)
    labels = [label for batch in batches.batches for label in batch["labels"].tolist()]
    assert len(labels) == 12
    assert [sorted(labels[at : at + 3]) for at in range(0, 12, 3)] == [[0, 1, 2]] * 4
    again = make_batches(examples, 2, "dynamic", 8, 48, 0)
    assert labels == [label for batch in again.batches for label in batch["labels"].tolist()]


def test_a_batch_larger_than_the_data_is_filled() -> None:
    assert make_batches([example(4)], 8, "dynamic", 8, 1, 0).processed_tokens == 32


def test_targets_of_each_head() -> None:
    tagged = [
        Example((1, 2, 3), (0, 0, 0), token_labels=(IGNORED, 4, IGNORED)),
        Example((1, 2), (0, 0), token_labels=(IGNORED, IGNORED)),
    ]
    assert collate(tagged)["labels"].tolist() == [
        [IGNORED, 4, IGNORED],
        [IGNORED, IGNORED, IGNORED],
    ]
    asked = collate([Example((1, 2, 3), (0, 1, 1), span=(1, 2))])
    assert asked["start_positions"].tolist() == [1]
    assert asked["end_positions"].tolist() == [2]
    assert asked["token_type_ids"].tolist() == [[0, 1, 1]]
    assert "labels" not in asked


@pytest.mark.parametrize(
    ("examples", "padding", "budget", "message"),
    [
        ([], "dynamic", 10, "no examples"),
        ([example(4)], "dynamik", 10, "did you mean `dynamic`"),
        ([example(4)], "dynamic", 0, "`token_budget` is 0"),
    ],
)
def test_what_cannot_be_batched_is_refused(
    examples: list[Example], padding: str, budget: int, message: str
) -> None:
    with pytest.raises(EnergyError, match=message):
        make_batches(examples, 2, padding, 8, budget, 0)
