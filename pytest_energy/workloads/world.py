"""The ranks of a run as the test's process sees them: started, told what to do, ended."""

from __future__ import annotations

import os
import time
import weakref
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.locks import HELD_VARIABLE, held_devices
from pytest_energy.meters.processes import ROOT_VARIABLE, tree_root
from pytest_energy.workloads.channel import (
    ADDRESS_VARIABLE,
    Channel,
    ClosedError,
    Listener,
    Message,
)
from pytest_energy.workloads.torchrun import Agent

PROGRAM = ("-m", "pytest_energy.workloads.ranks")
POLL_SECONDS = 0.2
LAST_WORDS_SECONDS = 10.0
"""How long torchrun may take to find out which rank failed first."""


class World:
    """`processes` ranks over `nodes` nodes, this one first; they wait for orders until closed.

    `EnergyError` where they cannot be started or, in an order, one dies or all take longer than
    `timeout_seconds`: every process that was started here has ended by then.
    """

    def __init__(
        self,
        processes: int,
        nodes: int,
        meter: str,
        timeout_seconds: float,
        *,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        self.processes, self.nodes = processes, nodes
        self._timeout_seconds = timeout_seconds
        self._channel: Channel | None = None
        arguments = rendezvous(processes, nodes)
        listener = Listener()
        self._agent = Agent(arguments, program, variables(processes // nodes, listener.address))
        # Closed by whoever ends first: the test, an error, or the interpreter.
        self._end = weakref.finalize(self, Agent.close, self._agent)
        try:
            self._channel = self._accept(listener)
            self.ask("open", meter=meter, lock_seconds=timeout_seconds / 2)
        except BaseException:
            self.end()
            raise
        finally:
            listener.close()

    @property
    def alive(self) -> bool:
        """Whether it takes orders."""
        return self._channel is not None

    def ask(self, do: str, **what: Any) -> Message:
        """Have all ranks do something; what rank 0 answers."""
        if self._channel is None:
            raise EnergyError(f"the {self.processes} processes have ended: make the run again")
        try:
            self._channel.send({"do": do, **what})
            answer = self._answer(self._channel, do)
        except ClosedError:
            answer = {}
        except BaseException:  # Ctrl-C, too
            self.end()
            raise
        if "done" not in answer:
            self._fail(answer)
        done: Message = answer["done"]
        return done

    def close(self) -> None:
        """Let the ranks end, here and on other nodes; a second call does nothing."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
            self._agent.wait(LAST_WORDS_SECONDS)
        self.end()

    def end(self) -> None:
        """End them at once."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._end()

    def _accept(self, listener: Listener) -> Channel:
        give_up = time.monotonic() + self._timeout_seconds
        while time.monotonic() < give_up:
            channel = listener.accept(POLL_SECONDS)
            if channel is not None:
                return channel
            if not self._agent.running:
                self._fail({})
        raise EnergyError(
            f"{self.processes} processes did not begin within {self._timeout_seconds:g} s: "
            f"{_how_to_join(self.processes, self.nodes)}{self._words()}"
        )

    def _answer(self, channel: Channel, do: str) -> Message:
        give_up = time.monotonic() + self._timeout_seconds
        while time.monotonic() < give_up:
            answer = channel.receive(POLL_SECONDS)
            if answer is not None:
                return answer
            if not self._agent.running:
                raise ClosedError
        raise EnergyError(
            f"`{do}` of {self.processes} processes took longer than {self._timeout_seconds:g} s, "
            f"so they were ended: give more with `timeout_seconds`, or see what hangs"
            f"{self._words()}"
        )

    def _fail(self, answer: Message) -> None:
        """Raise for whoever ended first, by torchrun's finding or by what a rank said of itself."""
        self._agent.wait(LAST_WORDS_SECONDS)
        found = self._agent.failure()
        said, rank = answer.get("error"), answer.get("rank")
        others = "" if self.nodes == 1 else "; the cause may stand in the output of another node"
        if said is not None and (found is None or found.rank == rank or self.nodes > 1):
            text = f"rank {rank} of {self.processes}: {said}"
        elif found is not None:
            tail = f":\n{found.tail}" if found.tail else " and wrote nothing to stderr"
            text = f"rank {found.rank} of {self.processes} ended with {found.how}{tail}{others}"
        else:
            text = f"torchrun ended before its {self.processes} processes did{self._words()}"
        self.end()
        raise EnergyError(text)

    def _words(self) -> str:
        tails = [f"\nrank {rank}: {tail}" for rank, tail in self._agent.tails().items()]
        return "".join(tails) or f"\n{self._agent.last_words()}".rstrip()


def rendezvous(processes: int, nodes: int) -> list[str]:
    """torchrun's arguments on this node; `EnergyError` where further nodes could not find it."""
    each = f"--nproc-per-node={processes // nodes}"
    if nodes == 1:
        return ["--standalone", each]
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
        each,
    ]


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
        return "give more with `timeout_seconds`, or see what hangs"
    return (
        "start on each of the others `torchrun --nnodes="
        f"{nodes} --node-rank=1 --nproc-per-node={processes // nodes} --master-addr=$MASTER_ADDR "
        "--master-port=$MASTER_PORT -m pytest_energy.workloads.ranks`, each with its own number"
    )
