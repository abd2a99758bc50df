"""What verdicts that fail nothing are held to before they are measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_energy.checks import Settings, comparability
from pytest_energy.checks.policy import steady_within
from pytest_energy.results import VerdictRecord

SETTINGS = Settings(Path(), Path("baselines"))
COUNTED = VerdictRecord("sst2/bert", "joules_per_token", method="counter")


@pytest.mark.parametrize(
    ("record", "changed", "within"),
    [
        (COUNTED, {}, 0.01),
        (replace(COUNTED, local=True), {}, 0.02),
        (replace(COUNTED, method="modelled"), {}, 0.02),
        (replace(COUNTED, method="modelled"), {"strict": True}, 0.01),
        (replace(COUNTED, method="modelled"), {"update": "new"}, 0.01),
    ],
)
def test_windows_of_what_can_fail_or_is_committed_are_steady_within_less(
    record: VerdictRecord, changed: dict[str, Any], within: float
) -> None:
    assert steady_within(record, replace(SETTINGS, **changed)) == within


@pytest.mark.parametrize(("method", "seconds"), [("counter", 15.0), ("modelled", 0.0)])
def test_a_model_does_not_know_how_long_the_device_has_worked(method: str, seconds: float) -> None:
    rows = (SimpleNamespace(load_seconds=30.0, device=None),)
    found: Any = SimpleNamespace(entry=SimpleNamespace(sessions=rows), baseline=None, local=True)
    context: Any = SimpleNamespace(method=method, hardware=SimpleNamespace(key="cpu"))

    least = comparability.least_load_seconds(found, context, recorded=False)

    assert least == seconds
