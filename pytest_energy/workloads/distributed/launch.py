"""The ranks of this node: started, watched and ended; those of one node by us, else by torchrun.

torchrun's store listens on all addresses of a machine, lets in whoever comes, and on one node even
unpickles what it holds. So if there is one node its ranks meet in a file of a private folder,
and talk over the loopback interface.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.processes import (
    FLOODS,
    ChildProcess,
    PrivateFolder,
    signal_name,
    stop_all,
    tail_of,
    uninterrupted,
)

STORE_VARIABLE = "PYTEST_ENERGY_RANKS"
"""Path of the file in which the ranks of one node meet."""
END = "end"
"""The call that lets all ranks end; others are methods of `rank.Rank`."""
RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
"""What a rank is told of its place, by torchrun's names."""
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "=lo"}
"""NCCL takes a name without the sign for the beginning of one."""
STORE_TIMEOUT = timedelta(seconds=5)
TAIL_LINES = 15
REPORT_LINES = 100
POLL_SECONDS = 0.05

_ROOT_CAUSE = re.compile(
    r"Root Cause.*?rank\s*:\s*(?P<rank>\d+).*?exitcode\s*:\s*(?P<code>-?\d+)", re.DOTALL
)


@dataclass(frozen=True)
class RankPlace:
    """Where a process stands among the ranks, as torchrun tells it."""

    rank: int
    ranks: int
    local_rank: int
    local_ranks: int
    node: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> RankPlace:
        """The place that torchrun's variables name; `EnergyError` if they are not there."""
        try:
            return cls(*(int(environment[name]) for name in RANK_VARIABLES))
        except KeyError as missing:
            raise EnergyError(
                f"`{missing.args[0]}` is not set: start this module by torchrun, as "
                "docs/multi-gpu.md says"
            ) from None


def meeting(place: RankPlace) -> Any:
    """The store of the ranks of one node, a file; None if torchrun has set them up."""
    path = os.environ.get(STORE_VARIABLE)
    if path is None:
        return None
    from torch.distributed import FileStore  # type: ignore[attr-defined]

    return FileStore(path, place.ranks)


def torchrun_store() -> Any:
    """torchrun's store."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, timeout=STORE_TIMEOUT)


class Launched(ABC):
    """Processes at work on this node, which print to files in `folder`.

    They are ended by whoever ends first: who calls `stop`, this object, or the interpreter.
    """

    def __init__(self) -> None:
        self.folder = PrivateFolder("ranks")
        self.children: list[ChildProcess] = []
        self._end = weakref.finalize(self, _end, self.children, self.folder, os.getpid())

    @property
    def has_ended(self) -> bool:
        """Whether one of them has ended, or has to be."""
        return any(child.wait() is not None or child.floods for child in self.children)

    def wait(self, seconds: float) -> None:
        """Wait until all have ended, for so long at most."""
        give_up = real_time.monotonic() + seconds
        for child in self.children:
            child.wait(max(0.0, give_up - real_time.monotonic()))

    def stop(self) -> None:
        """End them at once; a second call does nothing."""
        self._end()

    @abstractmethod
    def first_end(self, seconds: float) -> tuple[int, str] | None:
        """The rank that ended first, and how, if one does within `seconds`."""

    @abstractmethod
    def printed(self) -> dict[int, Path]:
        """The file in which each rank's errors are."""

    def _start(self, name: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        folder = self.folder.path / name
        folder.mkdir()
        with uninterrupted():
            child = ChildProcess([sys.executable, *arguments], folder, environment=environment)
            self.children.append(child)

    def last_words(self) -> str:
        """The last lines of each rank, else of all."""
        tails = [f"\nrank {rank}: {tail}" for rank, tail in self._tails().items()]
        return "".join(tails) or f"\n{tail_of(self.children[0].output, 1)}".rstrip()

    def _tails(self) -> dict[int, str]:
        tails = {rank: tail_of(file, TAIL_LINES) for rank, file in sorted(self.printed().items())}
        return {rank: tail for rank, tail in tails.items() if tail}

    def _end_of(self, rank: int, exit_code: int) -> tuple[int, str]:
        how, tail = signal_name(exit_code) or f"exit code {exit_code}", self._tails().get(rank)
        return rank, f"{how}:\n{tail}" if tail else f"{how} and wrote nothing to stderr"


def _end(children: list[ChildProcess], folder: PrivateFolder, pid: int) -> None:
    if os.getpid() == pid:  # else a fork of theirs
        stop_all(children)
        folder.remove()


class OwnRanks(Launched):
    """All ranks of a run, on this node."""

    def __init__(
        self, processes: int, program: tuple[str, ...], environment: Mapping[str, str]
    ) -> None:
        super().__init__()
        store = str(self.folder.path / "store")
        shared = {**environment, **LOOPBACK, STORE_VARIABLE: store, "GROUP_RANK": "0"}
        shared |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(processes))
        for rank in range(processes):
            own = dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank))
            self._start(str(rank), program, {**shared, **own})

    def first_end(self, seconds: float) -> tuple[int, str] | None:
        """The rank that ended first: the others take a moment to notice, and then wait."""
        give_up = real_time.monotonic() + seconds
        while real_time.monotonic() < give_up:
            found = [(rank, child.wait(), child.floods) for rank, child in enumerate(self.children)]
            for rank, exit_code, floods in sorted(found, key=lambda each: each[1] == 0):
                if floods:
                    return rank, f"its output: {FLOODS}"
                if exit_code is not None:
                    return self._end_of(rank, exit_code)
            real_time.sleep(POLL_SECONDS)
        return None

    def printed(self) -> dict[int, Path]:
        """What each rank prints."""
        return {rank: child.output for rank, child in enumerate(self.children)}


class Torchrun(Launched):
    """This node's share of the ranks on several nodes, which is the first."""

    def __init__(
        self, processes: int, nodes: int, program: tuple[str, ...], environment: Mapping[str, str]
    ) -> None:
        meeting = rendezvous(processes, nodes)
        super().__init__()
        # The ranks' output goes to files, which are kept until all have ended.
        logs = ["--max-restarts=0", f"--log-dir={self.folder.path / 'ranks'}", "--redirects=3"]
        arguments = ("-m", "torch.distributed.run", *meeting, *logs, *program)
        self._start("torchrun", arguments, environment)

    def first_end(self, seconds: float) -> tuple[int, str] | None:
        """The rank that ended first by what torchrun says; None if it names none."""
        (torchrun,) = self.children
        torchrun.wait(seconds)
        found = _ROOT_CAUSE.search(tail_of(torchrun.output, REPORT_LINES))
        return None if found is None else self._end_of(int(found["rank"]), int(found["code"]))

    def printed(self) -> dict[int, Path]:
        """What each rank writes to stderr."""
        files = (self.folder.path / "ranks").rglob("stderr.log")
        return {int(file.parent.name): file for file in files}


def rendezvous(processes: int, nodes: int) -> list[str]:
    """torchrun's arguments on this node; `EnergyError` if further nodes could not find it."""
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if not address or not port:
        raise EnergyError(
            f"`nodes={nodes}` needs to know where they meet: set `MASTER_ADDR` to this node's "
            "address and `MASTER_PORT` to a free port, here and on the others"
        )
    return [
        f"--nnodes={nodes}",
        "--node-rank=0",
        f"--master-addr={address}",
        f"--master-port={port}",
        f"--nproc-per-node={processes // nodes}",
    ]
