"""Tasks, lengths, and the workload with its digest."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from pytest_energy import FINE_TUNING_TASKS, TASKS, EnergyError, Workload, get_task, open_data
from pytest_energy.workloads.finetune import make_workload
from pytest_energy.workloads.tasks import Lengths, fitting_batch_size

SST2 = Workload(
    task="sst2",
    model="bert-base-uncased",
    precision="fp32",
    batch_size=32,
    max_length=128,
    padding="dynamic",
    optimizer="adamw",
    attention="sdpa",
    data="synthetic",
    seed=0,
)


def test_the_eight_tasks_and_pre_training() -> None:
    assert FINE_TUNING_TASKS == (
        "rte",
        "mnli",
        "squad_v1",
        "squad_v2",
        "imdb",
        "sst2",
        "conll2003",
        "conll2012",
    )
    assert set(TASKS) == {*FINE_TUNING_TASKS, "mlm"}


@pytest.mark.parametrize(
    ("name", "head", "labels", "max_length", "batch_size", "epochs", "learning_rate", "examples"),
    [
        ("rte", "sequence", 2, 128, 32, 3, 2e-5, 2_490),
        ("mnli", "sequence", 3, 128, 32, 3, 2e-5, 392_702),
        ("squad_v1", "qa", 0, 384, 32, 2, 3e-5, 87_599),
        ("squad_v2", "qa", 0, 384, 32, 2, 3e-5, 130_319),
        ("imdb", "sequence", 2, 512, 32, 3, 2e-5, 25_000),
        ("sst2", "sequence", 2, 128, 32, 3, 2e-5, 67_349),
        ("conll2003", "token", 9, 512, 32, 3, 2e-5, 14_041),
        ("conll2012", "token", 37, 512, 32, 3, 2e-5, 115_812),
    ],
)
def test_standard_hyperparameters(
    name: str,
    head: str,
    labels: int,
    max_length: int,
    batch_size: int,
    epochs: int,
    learning_rate: float,
    examples: int,
) -> None:
    task = get_task(name)
    assert (task.head, len(task.labels), task.max_length) == (head, labels, max_length)
    assert (task.batch_size, task.epochs, task.learning_rate) == (batch_size, epochs, learning_rate)
    assert task.train_examples == examples
    assert task.doc_stride == (128 if head == "qa" else None)


def test_an_unknown_task_names_the_known_ones_and_the_closest() -> None:
    with pytest.raises(EnergyError, match=r"`sst-2` is not a task: did you mean `sst2`\?") as error:
        get_task("sst-2")
    assert all(name in str(error.value) for name in TASKS)


def test_measured_lengths_come_with_the_package() -> None:
    lengths = get_task("rte").lengths
    assert len(lengths.quantiles) == 101
    assert (lengths.at(0.0), lengths.quantiles[50], lengths.at(0.999)) == (13, 56, 128)
    assert lengths.padding_overhead == {16: 1.8911, 32: 1.9213}


@pytest.mark.parametrize("name", FINE_TUNING_TASKS)
def test_lengths_have_the_measured_mean(name: str) -> None:
    lengths = get_task(name).lengths
    steps = 20_000
    mean = sum(lengths.at((i + 0.5) / steps) for i in range(steps)) / steps
    assert mean == pytest.approx(lengths.mean, rel=0.002)


def test_pre_training_sequences_are_full() -> None:
    assert get_task("mlm").lengths == Lengths((128.0,) * 101, 128.0)


def test_workload_is_frozen_and_named_by_task_and_model() -> None:
    assert SST2.id == "sst2/bert-base-uncased"
    with pytest.raises(FrozenInstanceError):
        SST2.seed = 1  # type: ignore[misc]


def test_the_digest_is_the_same_everywhere() -> None:
    assert SST2.digest == "5cc8017d"
    assert replace(SST2).digest == SST2.digest


@pytest.mark.parametrize(
    "change",
    [
        {"task": "rte"},
        {"model": "distilbert-base-uncased"},
        {"precision": "bf16"},
        {"batch_size": 16},
        {"max_length": 64},
        {"padding": "fixed"},
        {"attention": "eager"},
        {"data": "local:0123abcd"},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_field_changes_the_digest(change: dict[str, Any]) -> None:
    assert replace(SST2, **change).digest != SST2.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "sst"}, r"`sst` is not a task"),
        ({"model": ""}, r"`model` is ''"),
        ({"precision": "fp16"}, r"`fp16` is not a precision: did you mean `bf16`\?"),
        ({"batch_size": 0}, r"`batch_size` is 0: give a whole number of at least 1"),
        ({"batch_size": True}, r"`batch_size` is True"),
        ({"max_length": 7}, r"`max_length` is 7: give a whole number of at least 8"),
        ({"padding": "group"}, r"`group` is not a padding policy: did you mean `grouped`\?"),
        ({"optimizer": "sgd"}, r"`sgd` is not an optimizer"),
        ({"attention": "flash"}, r"`flash` is not an attention"),
        ({"seed": -1}, r"`seed` is -1"),
        ({"data": "local:xyz"}, r"`data` is 'local:xyz'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        replace(SST2, **change)


def test_standard_workload_on_a_cpu() -> None:
    assert make_workload("sst2", device="cpu", data=open_data("synthetic")) == SST2


def test_what_is_given_wins_over_the_standard() -> None:
    workload = make_workload(
        "sst2",
        "distilbert-base-uncased",
        device="cpu",
        data=open_data("synthetic"),
        batch_size=8,
        max_length=64,
        precision="bf16",
        padding="grouped",
        max_tokens_per_batch=16,
        seed=3,
    )
    assert workload == replace(
        SST2,
        model="distilbert-base-uncased",
        batch_size=8,
        max_length=64,
        precision="bf16",
        padding="grouped",
        seed=3,
    )


@pytest.mark.parametrize(
    ("task", "tokens", "batch_size"),
    [
        ("rte", 1024, 8),
        ("rte", 1023, 4),
        ("sst2", 1024, 16),
        ("squad_v1", 1024, 2),
        ("squad_v2", 1024, 2),
        ("imdb", 1024, 2),
        ("imdb", 100, 1),
        ("conll2003", 1024, 16),
        ("conll2012", 1024, 8),
        ("mnli", 1024, 8),
        ("mlm", 1024, 8),
        ("sst2", 1_000_000, 32),
    ],
)
def test_small_hardware_gets_the_largest_batch_that_fits(
    task: str, tokens: int, batch_size: int
) -> None:
    fitting = fitting_batch_size(get_task(task), get_task(task).max_length, tokens)
    assert fitting == batch_size


def test_a_lower_cap_lets_a_larger_batch_fit() -> None:
    assert fitting_batch_size(get_task("imdb"), 128, 1024) == 8
    assert fitting_batch_size(get_task("mlm"), 512, 1024) == 2


def test_describing_workloads_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from pytest_energy.workloads.data import open_data\n"
        "from pytest_energy.workloads.finetune import make_workload\n"
        "make_workload('sst2', device='cpu', data=open_data('synthetic'))\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'datasets', 'accelerate', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
