"""For the transformers Trainer: meter the user's own training by windows of a token budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.trainers import BudgetedWindows

if TYPE_CHECKING:
    import torch
    from transformers import TrainerControl, TrainerState, TrainingArguments


class EnergyCallback(BudgetedWindows, TrainerCallback):
    """Meters a Trainer's run: `Trainer(..., callbacks=[EnergyCallback(meter, 250_000)])`.

    With a `gate`, its verdict ends the training. A window into which an evaluation or a checkpoint
    falls is given up: leave room for whole windows between them. Made for one process;
    `EnergyError` for a model that is not given `input_ids`.
    """

    _hook: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count what the model is given from now on."""
        self.on_train_end(args, state, control)
        self._hook = kwargs["model"].register_forward_pre_hook(self._given, with_kwargs=True)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin a window where none is open."""
        del args, state, control, kwargs
        self.begin_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the window whose budget is spent; stop the training once the gate is sure."""
        del args, state, kwargs
        if self.end_step():
            control.should_training_stop = True

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give up the window that was open meanwhile."""
        del args, state, control, kwargs
        self.give_up()

    on_save = on_evaluate

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give up what has not reached its budget, and let go of the model."""
        del args, state, control, kwargs
        self.give_up()
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _given(self, model: torch.nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        del args
        if not model.training:
            return
        if "input_ids" not in kwargs:
            raise EnergyError(
                "`EnergyCallback` counts `input_ids`, but the model was called with "
                f"{', '.join(kwargs) or 'no names'}; name its inputs as transformers models do"
            )
        self.count(kwargs["input_ids"], kwargs.get("attention_mask"))
