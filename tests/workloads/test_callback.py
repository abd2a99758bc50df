"""`EnergyCallback` in a transformers Trainer that trains a small BERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from transformers import Trainer

from callback_support import (
    JOULES_PER_TOKEN,
    STEP,
    FaultyMeter,
    SureAfter,
    TokenMeter,
    WarmingMeter,
    examples,
    tiny,
    trainer_of,
)
from pytest_energy import Device, EnergyCallback, EnergyError
from pytest_energy.errors import EnergyWarning


def train(model: Any, callback: EnergyCallback, folder: Path, **settings: Any) -> Trainer:
    """The Trainer, after it has trained with the callback."""
    trainer = trainer_of(model, folder, examples(64), [callback], **settings)
    trainer.train()
    return trainer


def test_windows_are_whole_steps_of_a_token_budget(tmp_path: Path) -> None:
    model = tiny()
    callback = EnergyCallback(TokenMeter(model), 3 * STEP - 1)

    train(model, callback, tmp_path)

    # 20 steps make six windows of three, of which two show that J/token is steady.
    assert (len(callback.warm_up), len(callback.windows)) == (2, 4)
    for window in callback.windows:
        assert (window.tokens, window.real_tokens, window.steps) == (3 * STEP, 3 * 24, 3)
        assert window.joules_per_token == pytest.approx(JOULES_PER_TOKEN)
        assert window.joules_per_real_token == pytest.approx(JOULES_PER_TOKEN * 8 / 6)
        assert (window.name, window.valid) == ("train", True)
    assert callback.verdict is None


def test_training_stops_when_the_gate_is_sure(tmp_path: Path) -> None:
    model, gate = tiny(), SureAfter(3)
    callback = EnergyCallback(TokenMeter(model), 2 * STEP, gate=gate, name="mine")

    trainer = train(model, callback, tmp_path)

    assert callback.verdict is not None
    assert callback.verdict.outcome == "within"
    assert gate.values == [window.joules_per_token for window in callback.windows]
    assert trainer.state.global_step == 2 * (len(callback.warm_up) + 3) == 10


def test_a_gate_that_is_not_sure_lets_training_run_on(tmp_path: Path) -> None:
    model = tiny()
    callback = EnergyCallback(TokenMeter(model), 2 * STEP, gate=SureAfter(100))

    assert train(model, callback, tmp_path).state.global_step == 20
    assert callback.verdict is None


def test_windows_of_warming_up_are_no_evidence(tmp_path: Path) -> None:
    model, gate = tiny(), SureAfter(2)
    callback = EnergyCallback(WarmingMeter(model), 2 * STEP, gate=gate)

    train(model, callback, tmp_path, max_steps=60)

    values = [window.joules_per_token for window in callback.warm_up]
    assert len(values) > 3
    assert values == sorted(values, reverse=True)
    assert max(gate.values) < 1.05 * JOULES_PER_TOKEN < 1.2 * JOULES_PER_TOKEN < values[0]


def test_accumulated_gradients_make_one_step(tmp_path: Path) -> None:
    model = tiny()
    callback = EnergyCallback(TokenMeter(model), 2 * STEP)

    train(model, callback, tmp_path, gradient_accumulation_steps=4, max_steps=5)

    windows = callback.warm_up + callback.windows
    assert [(window.steps, window.tokens) for window in windows] == [(1, 4 * STEP)] * 5


def test_invalid_windows_are_kept_apart(tmp_path: Path) -> None:
    model, gate = tiny(), SureAfter(3)
    callback = EnergyCallback(FaultyMeter(model), 2 * STEP, gate=gate)

    train(model, callback, tmp_path)

    assert [window.invalid_reason for window in callback.rejected] == ["throttled: hot"]
    assert len(gate.values) == 3


def test_evaluating_and_saving_are_in_no_window(tmp_path: Path) -> None:
    model = tiny()
    meter = TokenMeter(model)
    callback = EnergyCallback(meter, 2 * STEP)

    with pytest.warns(
        EnergyWarning, match=r"3 windows of 64 tokens .*an evaluation: 3.*6 were fin"
    ):
        train(
            model,
            callback,
            tmp_path,
            max_steps=15,
            eval_strategy="steps",
            eval_steps=5,
            save_strategy="steps",
            save_steps=5,
        )

    # Of each five steps four make two windows; the fifth is in one that is given up.
    windows = callback.warm_up + callback.windows
    assert [window.tokens for window in windows] == [2 * STEP] * 6
    assert all(w.joules == pytest.approx(2 * STEP * JOULES_PER_TOKEN) for w in windows)
    assert meter.tokens > 15 * STEP
    assert meter.open == 9
    assert callback.dropped == {"an evaluation": 3}


@pytest.mark.fault(
    "neighbours",
    "each window of a Trainer has a checkpoint in it",
    "dropped and counted, and it is said why",
)
def test_a_training_without_a_whole_window_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny()
    callback = EnergyCallback(TokenMeter(model), 9 * STEP, name="mine")

    # Warnings are errors in these tests: what only informs is printed then, and ends nothing.
    train(model, callback, tmp_path, max_steps=8, save_strategy="steps", save_steps=4)

    assert callback.warm_up == callback.windows == callback.rejected == []
    assert callback.dropped == {"a checkpoint": 2}
    said = capsys.readouterr().err
    assert "warning: `mine`: 2 windows of 288 tokens were dropped before they were full" in said
    assert "give a smaller `tokens_per_window`" in said


def test_the_rest_after_the_last_whole_window_is_no_news(tmp_path: Path) -> None:
    model = tiny()
    callback = EnergyCallback(TokenMeter(model), 2 * STEP)

    train(model, callback, tmp_path, max_steps=3)

    assert callback.dropped == {"the end of the training": 1}


def test_a_model_elsewhere_than_what_is_metered_is_refused(tmp_path: Path) -> None:
    model = tiny()
    meter = TokenMeter(model)
    meter.devices = (Device("gpu:0", "NVIDIA H100", "GPU-0"),)

    with pytest.raises(EnergyError, match="`train` computes on the CPU, and what is metered is"):
        train(model, EnergyCallback(meter, 2 * STEP), tmp_path)

    assert meter.open == 0


def test_after_training_the_model_is_let_go(tmp_path: Path) -> None:
    model = tiny()
    callback = EnergyCallback(TokenMeter(model), 2 * STEP)

    train(model, callback, tmp_path, max_steps=3)
    assert len(model._forward_pre_hooks) == 1  # the meter's own
    train(model, callback, tmp_path, max_steps=3)

    assert len(callback.warm_up + callback.windows) == 2


def test_without_a_mask_all_tokens_are_real(tmp_path: Path) -> None:
    model = tiny()
    callback = EnergyCallback(TokenMeter(model), STEP)
    forward = model.forward
    model.forward = lambda input_ids, labels, **_: forward(input_ids=input_ids, labels=labels)
    rows = [{k: v for k, v in row.items() if k != "attention_mask"} for row in examples(8)]

    callback.on_train_begin(None, None, None, model=model)
    callback.begin_step()
    model(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})
    callback.end_step()

    assert callback.warm_up[0].real_tokens == callback.warm_up[0].tokens == 64


def test_a_model_that_is_not_given_ids_cannot_be_counted(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    callback = EnergyCallback(TokenMeter(torch.nn.Identity()), 10)
    callback.on_train_begin(None, None, None, model=model)

    with pytest.raises(EnergyError, match=r"counts `input_ids`, but .* called with input; name"):
        model(input=torch.zeros(2))


def test_a_budget_has_to_be_a_number_of_tokens() -> None:
    with pytest.raises(EnergyError, match="`tokens_per_window` is 0"):
        EnergyCallback(TokenMeter(torch.nn.Identity()), 0)
