"""`LightningEnergyCallback` in a Lightning Trainer that trains a small BERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("lightning.pytorch")

import torch
from lightning.pytorch import LightningModule, Trainer

from callback_support import JOULES_PER_TOKEN, SureAfter, TokenMeter, examples, tiny
from pytest_energy import Device, EnergyError, LightningEnergyCallback
from pytest_energy.workloads.trainers import TrainerRun

STEP = 4 * 8  # tokens of a batch of four

pytestmark = pytest.mark.filterwarnings("ignore")  # what Lightning warns of is its own


class Module(LightningModule):
    """A small BERT as Lightning trains it."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = tiny()

    def training_step(self, batch: dict[str, torch.Tensor]) -> Any:
        return self.bert(**batch).loss

    def validation_step(self, batch: dict[str, torch.Tensor]) -> None:
        self.bert(**batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.001)


def train(
    module: Module, callback: LightningEnergyCallback, folder: Path, **settings: Any
) -> Trainer:
    """Train with batches of four sequences of eight tokens."""
    options: dict[str, Any] = {
        "max_steps": 20,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
    }
    trainer = Trainer(default_root_dir=str(folder), callbacks=[callback], **{**options, **settings})
    loader: Any = torch.utils.data.DataLoader(examples(64), batch_size=4)  # type: ignore[arg-type]
    trainer.fit(module, loader, loader)
    return trainer


def test_windows_are_whole_steps_and_the_gate_stops_training(tmp_path: Path) -> None:
    module, gate = Module(), SureAfter(3)
    callback = LightningEnergyCallback(TokenMeter(module.bert), 2 * STEP, gate=gate)

    trainer = train(module, callback, tmp_path)

    assert callback.verdict is not None
    assert trainer.global_step == 2 * (2 + 3)
    for window in callback.windows:
        assert (window.tokens, window.real_tokens, window.steps) == (2 * STEP, 2 * 24, 2)
        assert window.joules_per_token == pytest.approx(JOULES_PER_TOKEN)


def test_accumulated_gradients_make_one_step(tmp_path: Path) -> None:
    module = Module()
    callback = LightningEnergyCallback(TokenMeter(module.bert), 2 * STEP)

    train(module, callback, tmp_path, accumulate_grad_batches=4, max_steps=5)

    windows = callback.warm_up + callback.windows
    assert [(window.steps, window.tokens) for window in windows] == [(1, 4 * STEP)] * 5


def test_validating_is_in_no_window(tmp_path: Path) -> None:
    module = Module()
    callback = LightningEnergyCallback(TokenMeter(module.bert), 2 * STEP)

    train(module, callback, tmp_path, max_steps=15, limit_val_batches=2, val_check_interval=5)

    windows = callback.warm_up + callback.windows
    assert [window.tokens for window in windows] == [2 * STEP] * 6
    assert all(w.joules == pytest.approx(2 * STEP * JOULES_PER_TOKEN) for w in windows)


def test_a_model_elsewhere_than_what_is_metered_is_refused(tmp_path: Path) -> None:
    module = Module()
    meter = TokenMeter(module.bert)
    meter.devices = (Device("gpu:0", "NVIDIA H100", "GPU-0"),)

    with pytest.raises(EnergyError, match="`train` computes on the CPU, and what is metered is"):
        train(module, LightningEnergyCallback(meter, 2 * STEP), tmp_path)

    assert meter.open == 0


def test_a_trainer_is_gated_by_windows_of_the_same_steps(tmp_path: Path) -> None:
    module = Module()
    trainer = Trainer(
        default_root_dir=str(tmp_path),
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: Any = torch.utils.data.DataLoader(examples(64), batch_size=4)  # type: ignore[arg-type]

    run = TrainerRun(
        trainer, module, loader, meter=TokenMeter(module.bert), tokens_per_window=3 * STEP - 1
    )

    for window in [run.window() for _ in range(3)]:
        assert (window.tokens, window.real_tokens, window.steps) == (3 * STEP, 3 * 24, 3)
        assert window.joules_per_token == pytest.approx(JOULES_PER_TOKEN)
    assert run.id == "trainer/Module"
    assert run.settings["batch_size"] == "4"
