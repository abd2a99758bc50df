"""The suite's order: pairs of a task, then J/token of the same runs, then what else is on them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from paper.order import pytest_collection_modifyitems


def _item(module: str, task: str | None = None) -> Any:
    item = SimpleNamespace(path=Path(f"{module}.py"), name=f"{module}-{task}")
    if task is not None:
        item.callspec = SimpleNamespace(params={"task": task})
    return item


def test_tests_of_a_task_come_together_after_what_was_before_them() -> None:
    items = [
        _item("test_accuracy_tradeoff", "mnli"),
        *(_item("test_distilbert_savings", task) for task in ("mnli", "sst2")),
        _item("test_inference", "sst2"),
        *(_item("test_joules_per_token", task) for task in ("mnli", "sst2")),
        _item("test_padding"),
        _item("test_token_scaling"),
    ]

    pytest_collection_modifyitems(items)

    assert [item.name for item in items] == [
        "test_accuracy_tradeoff-mnli",
        "test_distilbert_savings-mnli",
        "test_joules_per_token-mnli",
        "test_distilbert_savings-sst2",
        "test_joules_per_token-sst2",
        "test_inference-sst2",
        "test_token_scaling-None",
        "test_padding-None",
    ]
