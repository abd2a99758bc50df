"""The order of the suite: what is measured of one task comes together, so that runs are shared."""

from __future__ import annotations

import pytest

from pytest_energy import FINE_TUNING_TASKS

TOGETHER = (
    "test_distilbert_savings",
    "test_joules_per_token",
    "test_inference",
    "test_token_scaling",
)
"""Modules whose tests of one task are on the same runs, in the order of those tests.

Pairs come first: their windows are those of J/token as well.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a task one after another, where the first of them was."""
    own = [item for item in items if item.path.stem in TOGETHER]
    if own:
        at = items.index(own[0])
        rest = [item for item in items if item not in own]
        items[:] = [*rest[:at], *sorted(own, key=_place), *rest[at:]]


def _place(item: pytest.Item) -> tuple[int, int]:
    """The number of the test's task, and of its module; without a task it is on the first one."""
    call = getattr(item, "callspec", None)
    task = call.params.get("task") if call is not None else "sst2"
    return FINE_TUNING_TASKS.index(task), TOGETHER.index(item.path.stem)
