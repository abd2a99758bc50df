"""LoRA: another workload, another row, and fewer parameters trained."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_energy import EnergyError, FineTuning, VerdictRecord, Workload, open_data, prepare
from pytest_energy.results.json_codec import from_json
from workloads_support import SteadyMeter

FULL = Workload(
    "sst2", "bert-tiny", "fp32", 4, 128, "dynamic", "adamw", "sdpa", "synthetic", seed=0
)

TEST = """
    from gated import Run

    def test_gated(energy_gate):
        run = Run("mine/model+lora8")
        run.parameters = (3, 100)
        energy_gate.check("joules_per_token", run)
        other = Run("mine/module")
        other.parameters = lambda: iter(())
        energy_gate.check("joules_per_token", other)
"""


def tiny(task: str = "sst2", model: str = "bert-tiny", **changes: Any) -> FineTuning:
    return prepare(
        task,
        model,
        data=open_data("synthetic"),
        meter=SteadyMeter(),
        tokens_per_window=256,
        max_tokens_per_batch=256,
        device="cpu",
        **changes,
    )


def test_adapters_are_another_workload_with_a_row_of_its_own() -> None:
    adapted = replace(FULL, lora=8)

    assert (FULL.id, adapted.id) == ("sst2/bert-tiny", "sst2/bert-tiny+lora8")
    assert len({FULL.digest, adapted.digest, replace(FULL, lora=4).digest}) == 3


@pytest.mark.parametrize("rank", [0, -1, True, 2.5])
def test_a_rank_is_a_whole_number(rank: Any) -> None:
    with pytest.raises(EnergyError, match=f"`lora` is {rank}"):
        replace(FULL, lora=rank)


def test_without_peft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setitem(sys.modules, "peft", None)

    with pytest.raises(EnergyError, match=r"`lora=8` needs `peft`.*`pip install peft`, or leave"):
        tiny(lora=8)


@pytest.mark.parametrize("model", ["bert-tiny", "distilbert-tiny"])
@pytest.mark.parametrize("task", ["sst2", "squad_v1", "conll2003", "mlm"])
def test_adapters_and_head_are_trained_and_nothing_else(task: str, model: str) -> None:
    pytest.importorskip("peft")
    run = tiny(task, model, lora=4)
    before = {name: values.detach().clone() for name, values in run._model.named_parameters()}

    window = run.window()

    assert (window.tokens, window.name) == (run.tokens, f"{task}/{model}+lora4")
    trainable, total = run.parameters
    assert 0 < trainable < total / 10
    moved = {n for n, values in run._model.named_parameters() if not values.equal(before[n])}
    assert moved
    assert all(("lora_" in name or "modules_to_save" in name) for name in moved)


def test_adapters_come_from_the_seed() -> None:
    pytest.importorskip("peft")

    assert tiny(lora=4).window().loss == tiny(lora=4).window().loss


def test_the_record_says_what_is_trained(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(test_mine=TEST)

    result = pytester.runpytest("--energy-json=run.json")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["benchmark*trained parameters*verdict*", "mine/model+lora8*3/100*recorded*"]
    )
    result.stdout.no_fnmatch_line("mine/module*/*recorded*0/0*")

    adapted, module = json.loads((pytester.path / "run.json").read_text())["verdicts"]
    assert adapted["parameters"] == [3, 100]
    assert module["parameters"] is None
    assert from_json(VerdictRecord, adapted).parameters == (3, 100)
