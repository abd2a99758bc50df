"""Gating a Trainer, as docs/your-own-training.md shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ab_support import simulated_repository
from doc_pages import ROOT, blocks

PAGE = ROOT / "docs" / "your-own-training.md"
TOKENS = "tokens_per_window=50_000"


@pytest.mark.realtime
def test_a_trainer_is_gated_by_a_baseline_and_by_pairs(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("codecarbon")
    files = {block.title: block.text for block in blocks(PAGE) if block.title}
    training, test = files["fine_tuning.py"], files["test_fine_tuning.py"]
    assert TOKENS in test
    project = simulated_repository(
        tmp_path,
        fine_tuning=training,
        test_fine_tuning=test.replace(TOKENS, "tokens_per_window=16_000"),
    )
    project.variables["OMP_NUM_THREADS"] = "1"

    first = project.pytest("--energy-meter=codecarbon")
    project.change("fine_tuning", "num_hidden_layers=2", "num_hidden_layers=6")
    changed = project.pytest(
        "--energy-meter=codecarbon",
        "--energy-strict",
        "--energy-compare=HEAD",
        "--energy-profile=never",
    )

    assert (first.returncode, "1 passed" in first.stdout) == (0, True), first.stdout
    assert (changed.returncode, " regression" in changed.stdout) == (1, True), changed.stdout
