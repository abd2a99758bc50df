"""The suite itself, on the embedded default, with models that are small for their names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sim
from pytest_energy.metering.hardware import CPU_BUDGET
from test_measurement_agreement import PROMPT_CODECARBON

ROOT = Path(__file__).parents[2]


def write_small_models(folder: Path) -> Path:
    """The folder, with BERT and DistilBERT of a twentieth of their size, the one of more layers."""
    transformers = pytest.importorskip("transformers")
    bert = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1536
    )
    bert.save_pretrained(folder / "bert-base-uncased")
    distilbert = transformers.DistilBertConfig(dim=384, n_layers=3, n_heads=6, hidden_dim=1536)
    distilbert.save_pretrained(folder / "distilbert-base-uncased")
    return folder


@pytest.mark.realtime  # what waits for a core is invalid
def test_one_task_of_the_suite(tmp_path: Path) -> None:
    pytest.importorskip("codecarbon")
    report = tmp_path / "run.json"
    command = [sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), "-k", "sst2"]
    command += ["--energy-tokens=2048", f"--energy-json={report}", "--energy-meter=codecarbon"]
    command += [f"--energy-models={write_small_models(tmp_path / 'models')}"]
    command += [
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]

    variables = {**os.environ, "PYTEST_ENERGY_LOCKS": str(tmp_path / "locks")}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = {v["id"]: v for v in json.loads(report.read_text())["verdicts"]}
    assert set(verdicts) == {"sst2", "sst2/bert-base-uncased", "sst2/distilbert-base-uncased"}
    assert {v["verdict"] for v in verdicts.values()} == {"recorded"}
    assert {v["method"] for v in verdicts.values()} == {"modelled"}
    assert 0.25 < verdicts["sst2"]["value"] < 1
    window = verdicts["sst2/bert-base-uncased"]["windows"][0]
    assert window["tokens"] >= CPU_BUDGET.tokens
    assert window["real_tokens"] < window["tokens"]
    assert window["loss"] > 0


def test_the_suite_has_a_row_for_each_task_and_model() -> None:
    pytest.importorskip("transformers")
    command = [sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), "--collect-only", "-q"]

    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert sum("test_joules_per_token[" in line for line in lines) == 16
    assert sum("test_savings[" in line for line in lines) == 8


def test_the_counter_and_codecarbon_agree_on_a_simulated_card(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("codecarbon", PROMPT_CODECARBON)
    smi = tmp_path / "bin" / "nvidia-smi"  # CodeCarbon takes its absence for the absence of a GPU
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\nexit 0\n")
    smi.chmod(0o755)
    variables = sim.environment([sim.SimulatedGpu(tick_seconds=0.02)], tmp_path / "gpu")
    variables["PATH"] = f"{smi.parent}:{variables['PATH']}"
    module = "test_measurement_agreement.py"
    shutil.copy(ROOT / "benchmarks" / module, tmp_path)
    (tmp_path / "conftest.py").write_text(sim.FINETUNE)
    command = [sys.executable, "-m", "pytest", module, "--energy-tokens=512", "-rs"]
    command += ["--energy-idle-seconds=0"]
    command += [
        f"--energy-models={write_small_models(tmp_path / 'models')}",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]

    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False
    )

    assert "1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "no wall meter" in done.stdout
