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

    Batch = tuple[torch.Tensor, torch.Tensor | None]
    """Token ids, and a mask of ones where they are no padding, each of [batch, length]."""


class EnergyCallback(BudgetedWindows, TrainerCallback):
    """Meters a Trainer's run: `Trainer(..., callbacks=[EnergyCallback(meter, 250_000)])`.

    A batch's tokens count once, however often the model is called with them. With a `gate`, its
    verdict ends the training. A window into which an evaluation or a checkpoint falls is given up
    and counted in `dropped`: leave room for whole windows between them. Made for one process;
    `EnergyError` for a model that is not given `input_ids`, or is not on a device that is metered.
    """

    _hook: Any = None
    _told = False
    _called_with: dict[int, Batch]
    """What the model was called with since the last batch, by the address of its memory."""

    def on_train_begin(self, *_: Any, **given: Any) -> None:
        """Count what the model is given from now on."""
        self.give_up(ENDED)
        self._let_go()
        self._called_with = {}
        model = given["model"]
        self.begin_training(next((each.device for each in model.parameters()), "cpu"))
        self._hook = model.register_forward_pre_hook(self._given, with_kwargs=True)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Begin a window if none is open."""
        self._called_with.clear()
        self.begin_step()

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        """Count the batch, and expect another."""
        for ids, mask in self._called_with.values():
            self.count(ids, mask)
        self._called_with.clear()

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        """End the window whose budget is spent; stop the training once the gate is sure."""
        del args, state
        self.on_substep_end()
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

    def count_batch(self, batch: Mapping[str, Any]) -> None:
        """Take in a batch before its step, from a caller that sees each of them."""
        if "input_ids" in batch:
            self._told = True
            self.count(batch["input_ids"], batch.get("attention_mask"))

    def _let_go(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _given(self, model: torch.nn.Module, _: Any, kwargs: Mapping[str, Any]) -> None:
        if self._told or not model.training:
            return
        if "input_ids" not in kwargs:
            raise EnergyError(
                "`EnergyCallback` counts `input_ids`, but the model was called with "
                f"{', '.join(kwargs) or 'no names'}; name its inputs as transformers models do"
            )
        ids = kwargs["input_ids"]
        # A part of a batch has the batch's memory. What is kept is not freed, so none is used anew.
        memory = ids.untyped_storage().data_ptr()
        known = self._called_with.get(memory)
        if known is None or ids.numel() > known[0].numel():
            self._called_with[memory] = ids, kwargs.get("attention_mask")
