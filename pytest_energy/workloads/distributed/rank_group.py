"""The ranks of a run: asked to work, read when they fail, ended for good."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, TypeVar

from pytest_energy.channels import ADDRESS_VARIABLE, Channel, ClosedError, Listener, Message
from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering.device_lock import HELD_VARIABLE, held_devices
from pytest_energy.meters.process_tree import ROOT_VARIABLE, tree_root
from pytest_energy.meters.sensors import Rows
from pytest_energy.text import encodable
from pytest_energy.workloads.distributed.launch import END, Launched, OwnRanks, Torchrun

PROGRAM = ("-m", "pytest_energy.workloads.distributed.rank")
POLL_SECONDS = 0.2
ENDING_SECONDS = 10.0
"""How long ranks that fail may take until the first has ended, and torchrun to say which it was."""
CLOSING_SECONDS = 3.0
"""How long ranks that are not needed any more may take to end by themselves."""

_GIVE_MORE = "give more with `timeout_seconds`, or see what hangs"

T = TypeVar("T")


class RankGroup:
    """`processes` ranks over `nodes` nodes, this one first; they wait for calls until closed.

    `runs` are the numbers of those that still need them. `EnergyError` if they cannot be started
    or, in a call, one dies or all take longer than `timeout_seconds`: every process that was
    started here has ended by then.
    """

    def __init__(
        self,
        processes: int,
        nodes: int,
        meter: str,
        timeout_seconds: float,
        qualified: Rows = (),
        *,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        self.processes, self.nodes = processes, nodes
        self.timeout_seconds = timeout_seconds
        self.runs: set[int] = set()
        self._channel: Channel | None = None
        with closing(Listener()) as listener:
            environment = {**os.environ, **variables(processes // nodes, listener.address)}
            self._launched: Launched
            if nodes == 1:
                self._launched = OwnRanks(processes, program, environment)
            else:
                self._launched = Torchrun(processes, nodes, program, environment)
            late = f"{processes} processes did not begin within {timeout_seconds:g} s: "
            late += _how_to_join(processes, nodes)
            try:
                self._channel = self._in_time(listener.accept, late)
                held = {"lock_seconds": timeout_seconds / 2, "qualified": qualified}
                self.call("open", meter=meter, **held)
            except ClosedError:
                raise self._failed({}) from None
            except BaseException:
                self.end()
                raise

    @property
    def alive(self) -> bool:
        """Whether it can be called."""
        return self._channel is not None

    def call(self, method: str, **arguments: Any) -> Any:
        """Have all ranks run a method of `rank.Rank`; what it returns on rank 0."""
        if self._channel is None:
            raise EnergyError(f"the {self.processes} processes have ended: make the run again")
        late = (
            f"`{method}` of {self.processes} processes took longer than "
            f"{self.timeout_seconds:g} s, so they were ended: {_GIVE_MORE}"
        )
        try:
            self._channel.send(method, **arguments)
            answer = self._in_time(self._channel.receive, late)
        except ClosedError:
            answer = {}
        except BaseException:  # Ctrl-C, too
            self.end()
            raise
        if "returned" not in answer:
            raise self._failed(answer)
        return answer["returned"]

    def close(self) -> None:
        """Let the ranks end, here and on other nodes; a second call does nothing."""
        if self._channel is not None:
            with suppress(ClosedError):
                self._channel.send(END)
            self._launched.wait(CLOSING_SECONDS)
        self.end()

    def end(self) -> None:
        """End them at once."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._launched.stop()

    def _in_time(self, attempt: Callable[[float], T | None], late: str) -> T:
        """What an attempt of some seconds yields; `EnergyError` if nothing in time.

        `ClosedError` if a process has ended.
        """
        give_up = real_time.monotonic() + self.timeout_seconds
        while real_time.monotonic() < give_up:
            found = attempt(POLL_SECONDS)
            if found is not None:
                return found
            if self._launched.has_ended:
                raise ClosedError("a process has ended")
        raise EnergyError(f"{late}{self._launched.last_words()}")

    def _failed(self, answer: Message) -> EnergyError:
        """Who ended first, by how it ended or by what a rank said of itself."""
        found = self._launched.first_end(ENDING_SECONDS)
        said, rank = answer.get("error"), answer.get("rank")
        if said is not None and (found is None or found[0] == rank or self.nodes > 1):
            text = f"rank {rank} of {self.processes}: {said}"
        elif found is not None:
            text = f"rank {found[0]} of {self.processes} ended with {found[1]}"
            if self.nodes > 1:
                text += "; the cause may stand in the output of another node"
        else:
            text = f"torchrun ended before its {self.processes} processes did"
            text += self._launched.last_words()
        self.end()
        return EnergyError(encodable(text))


def variables(local_ranks: int, address: str) -> dict[str, str]:
    """What the ranks of this node are to know besides what is set here already."""
    found = {
        ADDRESS_VARIABLE: address,
        HELD_VARIABLE: "\n".join(held_devices()),
        ROOT_VARIABLE: str(tree_root()),
        # Modules in the working directory are not meant to stand in for installed ones.
        "PYTHONSAFEPATH": "1",
    }
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0))
        found["OMP_NUM_THREADS"] = str(max(1, cores // local_ranks))
    return found


def _how_to_join(processes: int, nodes: int) -> str:
    if nodes == 1:
        return _GIVE_MORE
    return (
        "start on each of the others `torchrun --nnodes="
        f"{nodes} --node-rank=1 --nproc-per-node={processes // nodes} --master-addr=$MASTER_ADDR "
        "--master-port=$MASTER_PORT -m pytest_energy.workloads.distributed.rank`, each with its "
        "own number"
    )
