"""The claim that DistilBERT saves about half, on planted joules: within its band, and outside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "test_distilbert_savings.py"

PLANTED = """
import os

import gated
import pytest
import spending

spending.METHOD = os.environ["METHOD"]
spent = {"bert-base-uncased": 0.01, "distilbert-base-uncased": 0.01 * float(os.environ["SPENT"])}


@pytest.fixture
def finetune():
    return lambda task, model, shared: gated.Run(f"{task}/{model}", spent[model], cv=0.0)
"""


@pytest.mark.parametrize(
    ("method", "saved", "holds"),
    [
        ("counter", 0.5, True),
        ("counter", 0.42, True),
        ("counter", 0.35, False),
        ("counter", 0.65, False),
        ("modelled", 0.35, True),
        ("modelled", 0.2, False),
    ],
)
def test_the_band_for_each_kind_of_joules(
    pytester: pytest.Pytester,
    spending: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    saved: float,
    holds: bool,
) -> None:
    monkeypatch.setenv("METHOD", method)
    monkeypatch.setenv("SPENT", str(1 - saved))
    pytester.makeconftest(PLANTED)
    shutil.copy(BENCHMARK, pytester.path)

    result = pytester.runpytest("-k", "sst2", "--energy-json=run.json")

    result.assert_outcomes(passed=holds, failed=not holds, deselected=7)
    if holds:
        (claim,) = json.loads((pytester.path / "run.json").read_text())["claims"]
        (figure,) = claim["figures"]
        assert figure["name"] == "sst2: savings"
        assert figure["value"] == pytest.approx(saved, abs=1e-3)
        assert figure["paper"] == "about 50 % (quoted)"
        low, high = (0.25, 1.0) if method == "modelled" else (0.4, 0.6)
        assert (figure["at_least"], figure["at_most"]) == (low, high)
