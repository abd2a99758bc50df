"""The ranks of a run: who this one is, and how they wait for and tell each other."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pytest_energy.errors import EnergyError

WAIT_FOR_ORDERS = timedelta(days=1)
"""A test may think for long between two windows."""
FAILURE_KEY = "pytest-energy/failure"
STORE_SECONDS = 5


@dataclass(frozen=True)
class Place:
    """Where a process stands among the ranks, as torchrun tells it."""

    rank: int
    ranks: int
    local_rank: int
    local_ranks: int
    node: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """The place that torchrun's variables name; `EnergyError` where they are not there."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
        try:
            return cls(*(int(environment[name]) for name in names))
        except KeyError as missing:
            raise EnergyError(
                f"`{missing.args[0]}` is not set: start this module by torchrun, as "
                "docs/multi-gpu.md says"
            ) from None

    @property
    def leads(self) -> bool:
        """Whether this rank meters its node."""
        return self.local_rank == 0


class Team:
    """What ranks tell each other, over gloo; gradients go by accelerate's own group."""

    def __init__(self, place: Place, *, cpu: bool) -> None:
        self.place = place
        self._group: Any = None
        if place.ranks == 1:
            # Or accelerate takes the one process for several, and wraps the model for nothing.
            for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
                os.environ.pop(name, None)
            return
        import torch.distributed
        from accelerate import PartialState

        PartialState(cpu=cpu)
        self._group = torch.distributed.new_group(backend="gloo", timeout=WAIT_FOR_ORDERS)

    def wait(self) -> None:
        """Wait until every rank has come here."""
        if self._group is not None:
            import torch.distributed

            torch.distributed.barrier(group=self._group)

    def from_first(self, message: Any) -> Any:
        """What rank 0 passes in here."""
        if self._group is None:
            return message
        import torch.distributed

        box = [message]
        torch.distributed.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def to_first(self, message: Any) -> list[Any]:
        """On rank 0 what all ranks pass in here, in their order; on others nothing."""
        if self._group is None:
            return [message]
        import torch.distributed

        first = self.place.rank == 0
        box: list[Any] | None = [None] * self.place.ranks if first else None
        torch.distributed.gather_object(message, box, dst=0, group=self._group)
        return box or []

    def leave(self) -> None:
        """End the groups, once all ranks are done."""
        if self._group is not None:
            import torch.distributed

            torch.distributed.destroy_process_group()


def first_failure(rank: int, text: str) -> tuple[int, str]:
    """Tell all ranks why this one fails; hands back the rank that said so first, and its words."""
    mine = json.dumps([rank, text])
    with suppress(Exception):  # without torchrun's store each rank speaks for itself
        import torch.distributed

        store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            timeout=timedelta(seconds=STORE_SECONDS),
        )
        mine = store.compare_set(FAILURE_KEY, "", mine).decode()
    first, words = json.loads(mine)
    return int(first), str(words)
