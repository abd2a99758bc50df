"""For Lightning's Trainer: meter the user's own training by windows of a token budget."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, Trainer

from pytest_energy.workloads.trainers import CHECKPOINT, EVALUATION, BudgetedWindows


class LightningEnergyCallback(BudgetedWindows, Callback):
    """Meters a Trainer's run whose batches map `input_ids` (and `attention_mask`) to tensors.

    With a `gate`, its verdict ends the training. A window into which a validation or a checkpoint
    falls is given up and counted in `dropped`. Made for one process; `EnergyError` if the model is
    not on a device that is metered.
    """

    _steps_taken = -1

    def on_train_start(self, _: Trainer, module: Any) -> None:
        """Refuse to meter another device than the model's."""
        self.begin_training(module.device)

    def on_train_batch_start(self, trainer: Trainer, _: Any, batch: Any, *__: Any) -> None:
        """Begin a window if none is open, unless gradients accumulate; count the batch."""
        if trainer.global_step != self._steps_taken:
            self.begin_step()
        self._steps_taken = trainer.global_step
        self.count(batch["input_ids"], batch.get("attention_mask"))

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """End a window that is full once the optimizer has stepped."""
        if trainer.global_step != self._steps_taken and self.end_step():
            trainer.should_stop = True

    def on_validation_start(self, *_: Any) -> None:
        """Give up the window that is open."""
        self.give_up(EVALUATION)

    def on_save_checkpoint(self, *_: Any) -> None:
        """Give up the window that is open."""
        self.give_up(CHECKPOINT)

    def on_train_end(self, *_: Any) -> None:
        """Give up what has not reached its budget."""
        self.end_training()
