"""For the transformers Trainer: meter the user's own training by windows of a token budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.trainers import CHECKPOINT, ENDED, EVALUATION, BudgetedWindows

if TYPE_CHECKING:
    import torch
    from transformers import TrainerControl


class EnergyCallback(BudgetedWindows, TrainerCallback):
    """Meters a Trainer's run: `Trainer(..., callbacks=[EnergyCallback(meter, 250_000)])`.

    With a `gate`, its verdict ends the training. A window into which an evaluation or a checkpoint
    falls is given up and counted in `dropped`: leave room for whole windows between them. Made for
    one process; `EnergyError` for a model that is not given `input_ids`, or is not on a device that
    is metered.
    """

    _hook: Any = None

    def on_train_begin(self, *_: Any, **given: Any) -> None:
        """Count what the model is given from now on."""
        self.give_up(ENDED)
        self._let_go()
        model = given["model"]
        self.begin_training(next((each.device for each in model.parameters()), "cpu"))
        self._hook = model.register_forward_pre_hook(self._given, with_kwargs=True)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Begin a window if none is open."""
        self.begin_step()

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        """End the window whose budget is spent; stop the training once the gate is sure."""
        del args, state
        if self.end_step():
            control.should_training_stop = True

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        """Give up the window that was open meanwhile."""
        self.give_up(EVALUATION)

    def on_save(self, *_: Any, **__: Any) -> None:
        """Give up the window that was open meanwhile."""
        self.give_up(CHECKPOINT)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Give up what has not reached its budget, and let go of the model."""
        self._let_go()
        self.end_training()

    def _let_go(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _given(self, model: torch.nn.Module, _: Any, kwargs: Mapping[str, Any]) -> None:
        if not model.training:
            return
        if "input_ids" not in kwargs:
            raise EnergyError(
                "`EnergyCallback` counts `input_ids`, but the model was called with "
                f"{', '.join(kwargs) or 'no names'}; name its inputs as transformers models do"
            )
        self.count(kwargs["input_ids"], kwargs.get("attention_mask"))
