"""One pass of training over batches: what a step does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_energy.workloads.data.batches import Batch

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

LARGEST_GRADIENT_NORM = 1.0


def falling(optimizer: Any, steps: int) -> Any:
    """A schedule that takes the learning rate from where it is to nothing in so many steps."""
    from torch.optim.lr_scheduler import LambdaLR

    # accelerate wraps the optimizer; a schedule wants the one inside.
    return LambdaLR(optimizer.optimizer, lambda step: max(0.0, 1 - step / steps))


def train_pass(
    model: Any, optimizer: Any, engine: Accelerator, batches: Sequence[Batch], schedule: Any = None
) -> torch.Tensor:
    """One optimizer step a batch; hands back the sum of the losses, still on the device."""
    import torch

    losses = torch.zeros((), device=next(iter(batches[0].values())).device)
    for batch in batches:
        loss = model(**batch).loss
        engine.backward(loss)
        engine.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT_NORM)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        optimizer.zero_grad(set_to_none=True)
        # Never read here: that would make the host wait for the device at each step.
        losses += loss.detach()
    return losses
