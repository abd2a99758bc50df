"""Padding overhead from lengths alone: exact, and that of the batches that are trained on."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from paper.padding import (
    Cost,
    Policy,
    overheads_by_task,
    padding_overhead,
    policies,
    spread,
    worst_ratio,
)
from pytest_energy import FINE_TUNING_TASKS, EnergyError, Example, Task, get_task
from pytest_energy.workloads.data.examples import make_batches
from pytest_energy.workloads.data.synthetic import SyntheticSource


def example(length: int) -> Example:
    return Example(tuple(range(1, length + 1)), (0,) * length, label=0)


def overhead(examples: list[Example], padding: str, batch_size: int = 2) -> float:
    return padding_overhead(examples, batch_size=batch_size, padding=padding, max_length=20)


def test_overheads_by_hand() -> None:
    examples = [example(length) for length in (2, 10, 10, 2)]

    assert overhead(examples, "dynamic") == 40 / 24
    assert overhead(examples, "fixed") == 80 / 24
    assert overhead(examples, "grouped") == 1.0


def test_a_batch_that_is_not_whole_is_left_out() -> None:
    assert overhead([example(2), example(4), example(10)], "dynamic") == 8 / 6


def test_fewer_examples_than_a_batch_are_repeated() -> None:
    assert overhead([example(5)], "fixed", batch_size=4) == 4.0


def test_it_is_the_overhead_of_the_batches_trained_on() -> None:
    source = SyntheticSource()
    examples = source.examples("sst2", model="", max_length=128, seed=3, count=320)

    for padding in ("dynamic", "fixed"):
        batches = make_batches(examples, 32, padding, 128, 1, 3)
        tokens = 0
        while len(batches.batches) < 10:
            tokens += 1000
            batches = make_batches(examples, 32, padding, 128, tokens, 3)
        assert len(batches.batches) == 10
        found = padding_overhead(examples, batch_size=32, padding=padding, max_length=128, seed=3)
        assert found == batches.padding_overhead


def test_each_task_has_the_overhead_that_was_measured() -> None:
    overheads = overheads_by_task(SyntheticSource())

    assert tuple(overheads) == FINE_TUNING_TASKS
    for name, of in overheads.items():
        task = get_task(name)
        assert of["dynamic"] == pytest.approx(task.lengths.padding_overhead[32], rel=0.05)
        assert of["fixed"] == pytest.approx(task.max_length / task.lengths.mean, rel=0.05)
        assert 1 <= of["grouped"] < 1.2
    assert worst_ratio(overheads, "grouped", "dynamic") < 1
    assert worst_ratio(overheads, "dynamic", "fixed") <= 1


def test_tasks_that_the_data_lacks_have_none() -> None:
    class OneTask(SyntheticSource):
        def missing(self, task: Task | str) -> str | None:  # type: ignore[override]
            return None if get_task(task).name == "rte" else "not here"

    assert list(overheads_by_task(OneTask())) == ["rte"]


def test_unknown_policies_are_named() -> None:
    with pytest.raises(EnergyError, match="`sorted` is not a padding policy"):
        overhead([example(3)], "sorted")


@pytest.mark.parametrize(("most", "fixed"), [(512, 4), (4096, 32), (None, 32), (100_000, 32)])
def test_policies_that_compare(most: int | None, fixed: int) -> None:
    found = policies(128, most)

    assert found[0] == Policy("fixed", fixed)
    assert [policy.padding for policy in found[:3]] == ["fixed", "grouped", "dynamic"]
    assert {policy.batch_size for policy in found[2:]} == {4 * fixed}
    assert [policy.padding for policy in found[2:]] == ["dynamic", "fixed", "grouped"]
    # As many tokens a step, if sequences of a cap of 128 are padded to 4 and 8 times less.
    assert [policy.batch_size // fixed for policy in found[:3]] == [1, 8, 4]


def test_what_padding_costs() -> None:
    dynamic = Cost(Policy("dynamic", 16), 560.0, 2.6, 0.03)
    grouped = Cost(Policy("grouped", 32), 450.0, 1.05, 0.033)

    assert dynamic.joules_per_real_token == pytest.approx(0.078)
    assert dynamic.row[0] == "dynamic"
    assert dynamic.row[1:] == pytest.approx((16, 560.0, 2.6, 30.0, 78.0))
    assert spread([dynamic, grouped]) == pytest.approx(1.1)
