"""Ranks of this node, started and watched: those of one node by ourselves, else by torchrun.

Whoever reaches the port of torchrun's store, which listens on all of a machine's addresses, can run
code in it (it unpickles what the store holds). So on one node ranks meet in a file of a private
folder, and talk over the loopback interface alone.
"""

from __future__ import annotations

import re
import sys
from typing import Protocol

from pytest_energy.processes import ChildProcess, private_folder

STORE_VARIABLE = "PYTEST_ENERGY_RANKS"
"""Path of the file in which the ranks of one node meet."""
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
TAIL_LINES = 15

_ROOT_CAUSE = re.compile(
    r"Root Cause.*?rank\s*:\s*(?P<rank>\d+).*?exitcode\s*:\s*(?P<code>-?\d+)", re.DOTALL
)


class Launched(Protocol):
    """Ranks of this node; none of them is left after `stop`."""

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether one of them has ended, or does within `seconds`."""

    def wait(self, seconds: float) -> None:
        """Wait until all have ended, or for `seconds`."""

    def first_failure(self) -> tuple[int, str] | None:
        """The rank that ended first, and how; None if that is not known."""

    def last_words(self) -> str:
        """The last lines that each of them wrote, else what is known instead."""

    def stop(self) -> None:
        """End them at once; a second call does nothing."""


class OwnRanks:
    """All ranks of a run on this node."""

    def __init__(
        self, processes: int, program: tuple[str, ...], environment: dict[str, str]
    ) -> None:
        self._folder = private_folder("ranks")
        self._ranks: list[ChildProcess] = []
        shared = {**environment, **LOOPBACK, STORE_VARIABLE: str(self._folder.path / "store")}
        try:
            for rank in range(processes):
                place = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0}
                place |= {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
                own = self._folder.path / str(rank)
                own.mkdir()
                self._ranks.append(
                    ChildProcess(
                        [sys.executable, *program],
                        own,
                        environment={**shared, **{k: str(v) for k, v in place.items()}},
                    )
                )
        except BaseException:
            self.stop()
            raise
