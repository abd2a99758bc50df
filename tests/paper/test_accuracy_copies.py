"""Score against joules on planted joules: copies of one model, of which neither saves anything."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import sim
from paper.epochs import in_turn
from paper.models import by_size
from workloads_support import write, write_vocabulary

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
for library in ("accelerate", "datasets", "torchmetrics.text", "seqeval.metrics"):
    pytest.importorskip(library)

MODULE = Path(__file__).parents[2] / "benchmarks" / "test_accuracy_tradeoff.py"

config = transformers.BertConfig(
    vocab_size=64,
    num_hidden_layers=1,
    hidden_size=16,
    num_attention_heads=2,
    intermediate_size=32,
)
with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)
    MODEL = transformers.BertForSequenceClassification(config)

# A machine that is dear while it is cold: at first a token costs four times as much.
PLANTED = """
import math
import random

import pytest
import spending

noise, passes = random.Random(0), [0]


@pytest.fixture
def finetune(unchecked):
    def metered(task, model, **changes):
        run = unchecked(task, model, **changes)
        work = run._pass

        def spent():
            passes[0] += 1
            cold = 1 + 3 * math.exp(-passes[0] / 2)
            spending.spend(0.005 * run.tokens * cold * COST.get(model, 1) * noise.gauss(1, 0.01))
            return work()

        run._pass = spent
        return run

    return metered
"""


@pytest.fixture
def models(pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two copies of a tiny model, with data on which both learn."""
    monkeypatch.setenv("PYTHONPATH", str(MODULE.parent), prepend=os.pathsep)
    folder = pytester.path / "models"
    for name in ("bert-base-uncased", "distilbert-base-uncased"):
        MODEL.save_pretrained(folder / name)
    rows = "very good film\t1\nvery bad film\t0\n" * 100
    for split in ("train", "dev"):
        write(pytester.path / "data" / "SST-2" / f"{split}.tsv", "sentence\tlabel\n" + rows)
    write_vocabulary(pytester.path / "data")
    shutil.copy(MODULE, pytester.path)
    return folder


def claim_of(pytester: pytest.Pytester, cost: str) -> dict[str, Any]:
    # It computes on the CPU, whose neighbours have no part in what the card spends.
    unchecked = sim.FINETUNE.replace("def finetune", "def unchecked")
    pytester.makeconftest(f"COST = {cost}\n{unchecked}\n{PLANTED}")
    # A process of its own: what runs inside forgets its imports, and torch bears that once only.
    pytester.runpytest_subprocess(
        "-k=sst2",
        "--energy-models=models",
        "--energy-data=data",
        "--energy-json=run.json",
        "--energy-tokens=2000",  # more than an epoch has
    )
    (claim,) = json.loads((pytester.path / "run.json").read_text())["claims"]
    found: dict[str, Any] = claim
    return found


def figure(claim: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(f for f in claim["figures"] if f["name"] == f"sst2: {name}")
    return found


@pytest.mark.fault(
    "data",
    "two copies of one model are compared",
    "they save nothing: the claim is not testable",
)
def test_copies_save_nothing(pytester: pytest.Pytester, models: Path) -> None:
    claim = claim_of(pytester, "{}")

    saved = figure(claim, "energy saved")
    assert abs(saved["value"]) < 0.05
    assert saved["low"] < 0 < saved["high"]
    assert "its bound of 0.0 % lies within its 95 % interval" in saved["doubt"]
    assert claim["outcome"] == "not testable"


def test_a_model_that_saves_is_seen_to(pytester: pytest.Pytester, models: Path) -> None:
    claim = claim_of(pytester, '{"distilbert-base-uncased": 0.5}')

    saved = figure(claim, "energy saved")
    assert saved["value"] == pytest.approx(0.5, abs=0.05)
    assert saved["doubt"] is None


def test_courses_take_turns_there_and_back() -> None:
    order: list[str] = []

    def course(name: str, parts: int) -> Any:
        for number in range(parts):
            order.append(name)
            yield number

    assert in_turn([course("a", 3), course("b", 3)]) == [[0, 1, 2], [0, 1, 2]]
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_the_largest_comes_first(tmp_path: Path) -> None:
    for name, size in (("a", 10), ("b", 1000), ("c", 10)):
        write(tmp_path / name / "model.safetensors", "x" * size)
    assert by_size(tmp_path, ["c", "a", "b"]) == ["b", "a", "c"]
