"""One rank's part of a fine-tuning that several share."""

from __future__ import annotations

from contextlib import nullcontext

from pytest_energy.workloads.finetune import FineTuning


class Shard(FineTuning):
    """A model that is trained together: gradients are averaged over the ranks at each step."""

    def train(self, *, exchange: bool = True) -> float:
        """One pass over this rank's batches; its mean loss. Without `exchange` each for itself."""
        with nullcontext() if exchange else self._accelerator.no_sync(self._model):
            return self.warm_up()

    def agree(self) -> None:
        """Take on rank 0's weights and moments, after a pass that each made for itself."""
        import torch
        from torch.distributed import broadcast, get_world_size, is_initialized

        if not is_initialized() or get_world_size() == 1:
            return
        moments = [
            value
            for state in self._optimizer.optimizer.state.values()
            for value in state.values()
            # Counts of steps are equal already, and need not be where the group can send them.
            if isinstance(value, torch.Tensor) and value.numel() > 1
        ]
        with torch.no_grad():
            for tensor in [*self._model.parameters(), *moments]:
                broadcast(tensor.detach(), src=0)
