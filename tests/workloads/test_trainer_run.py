"""`energy_gate.trainer`: a Trainer gated like any run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from transformers import Trainer

from callback_support import JOULES_PER_TOKEN, STEP, TokenMeter, examples, tiny, trainer_of
from pytest_energy import EnergyError
from pytest_energy.workloads.trainers import TrainerRun

SUPPORT = Path(__file__).parents[1] / "support"

GATED = """
import os

import spending
from transformers import Trainer, TrainingArguments

from callback_support import examples, tiny

COST = 0.01 * float(os.environ.get("COST", 1))


def test_mine(energy_gate, tmp_path):
    model = tiny()
    model.register_forward_pre_hook(
        lambda _model, _args, given: spending.spend(COST * given["input_ids"].numel()),
        with_kwargs=True,
    )
    arguments = TrainingArguments(
        str(tmp_path), max_steps=10, per_device_train_batch_size=4, use_cpu=True, report_to=[],
        logging_strategy="no", save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=examples(64))
    energy_gate.trainer(trainer, tokens_per_window=60, id="mine")
"""


def distinct(count: int) -> Any:
    """Examples that differ in their first token."""
    found = examples(count)
    for number, each in enumerate(found):
        each["input_ids"][0] = number
    return found


def run_of(model: Any, folder: Path, tokens: int = 3 * STEP, **settings: Any) -> TrainerRun:
    meter = TokenMeter(model)
    trainer = trainer_of(model, folder, distinct(64), **settings)
    return TrainerRun(trainer, meter=meter, tokens_per_window=tokens)


def test_each_window_is_the_same_steps_of_the_same_batches(tmp_path: Path) -> None:
    model, seen = tiny(), []
    run = run_of(model, tmp_path)
    model.register_forward_pre_hook(
        lambda _model, _args, inputs: seen.append(inputs["input_ids"].clone()), with_kwargs=True
    )

    windows = [run.window() for _ in range(3)]

    for window in windows:
        assert (window.tokens, window.real_tokens, window.steps) == (3 * STEP, 3 * 24, 3)
        assert window.joules_per_token == pytest.approx(JOULES_PER_TOKEN)
        assert window.valid
    # A step that sets the optimizer up, and three that are metered.
    assert len(seen) == 3 * 4
    assert all(torch.equal(seen[i], seen[i + 4]) for i in range(8))
    assert not torch.equal(seen[0], seen[1])
    assert run.id == f"trainer/{type(model).__name__}"


class Wasteful(Trainer):
    """Calls the model once more with what each batch is made of."""

    again: Callable[[torch.Tensor], torch.Tensor]

    def compute_loss(self, model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        model(**{**inputs, **{key: self.again(inputs[key]) for key in inputs}})
        return super().compute_loss(model, inputs, *more, **named)


@pytest.mark.parametrize(
    "again",
    [lambda rows: rows, lambda rows: rows[:2], torch.clone, lambda rows: torch.cat([rows, rows])],
    ids=["the same", "half of it", "a copy", "twice"],
)
def test_what_the_model_is_called_with_besides_costs_and_counts_nothing(
    again: Callable[[torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    model = tiny()
    trainer = trainer_of(model, tmp_path, distinct(64), kind=Wasteful)
    trainer.again = again
    meter = TokenMeter(model)
    run = TrainerRun(trainer, meter=meter, tokens_per_window=3 * STEP)

    window = run.window()

    assert (window.tokens, window.real_tokens, window.steps) == (3 * STEP, 3 * 24, 3)
    assert window.joules_per_token > 1.4 * JOULES_PER_TOKEN


def test_the_trainer_is_left_as_it_was(tmp_path: Path) -> None:
    model = tiny()
    trainer = trainer_of(model, tmp_path, distinct(64))
    callbacks, attributes = list(trainer.callback_handler.callbacks), set(vars(trainer))

    TrainerRun(trainer, meter=TokenMeter(model), tokens_per_window=STEP).window()

    assert trainer.callback_handler.callbacks == callbacks
    trainer.training_step = replaced = trainer.training_step
    TrainerRun(trainer, meter=TokenMeter(model), tokens_per_window=STEP).window()
    assert vars(trainer).pop("training_step") is replaced
    assert "training_step" not in set(vars(trainer)) - attributes


def test_other_work_has_another_digest(tmp_path: Path) -> None:
    model = tiny()
    first = run_of(model, tmp_path)

    assert run_of(model, tmp_path).digest == first.digest
    assert run_of(model, tmp_path, 4 * STEP).digest != first.digest
    assert run_of(model, tmp_path, gradient_accumulation_steps=2).digest != first.digest


def test_a_training_that_is_too_short_says_so(tmp_path: Path) -> None:
    run = run_of(tiny(), tmp_path, 20 * STEP)

    with pytest.raises(EnergyError, match="before a window of 640 tokens was full; let it train"):
        run.window()


@pytest.mark.parametrize("given", [(), (object(),)])
def test_what_is_no_trainer_is_refused(given: tuple[object, ...]) -> None:
    meter = TokenMeter(tiny())

    with pytest.raises(EnergyError, match="`int` cannot be gated so; give a Trainer of"):
        TrainerRun(1, *given, meter=meter, tokens_per_window=10)


def test_it_is_gated_like_any_run(
    pytester: pytest.Pytester, spending_cpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
    pytester.makepyfile(GATED)

    recorded = pytester.runpytest_subprocess("--energy-json=run.json")
    (first,) = json.loads((pytester.path / "run.json").read_text())["verdicts"]
    monkeypatch.setenv("COST", "1.5")
    costlier = pytester.runpytest_subprocess("--energy-strict", "--energy-json=run.json")
    (second,) = json.loads((pytester.path / "run.json").read_text())["verdicts"]

    recorded.assert_outcomes(passed=1)
    assert (first["id"], first["verdict"]) == ("mine", "recorded")
    assert first["value"] == pytest.approx(0.01)
    assert {window["tokens"] for window in first["windows"]} == {64}
    costlier.assert_outcomes(failed=1)
    assert (second["id"], second["verdict"]) == ("mine", "regression")
    assert second["change"] == pytest.approx(0.5)
