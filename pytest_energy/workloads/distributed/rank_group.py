"""The ranks of a run, started by torchrun: asked to work, read when they fail, ended for good."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering.device_lock import HELD_VARIABLE, held_devices
from pytest_energy.meters.process_tree import ROOT_VARIABLE, tree_root
from pytest_energy.processes import (
    ADDRESS_VARIABLE,
    Channel,
    ChildProcess,
    ClosedError,
    Listener,
    Message,
    signal_name,
    tail_of,
)

PROGRAM = ("-m", "pytest_energy.workloads.distributed.rank")
TAIL_LINES = 15
POLL_SECONDS = 0.2
ENDING_SECONDS = 10.0
"""How long torchrun may take to find out which rank failed first, or to end after its ranks."""
_ROOT_CAUSE = re.compile(
    r"Root Cause.*?rank\s*:\s*(?P<rank>\d+).*?exitcode\s*:\s*(?P<code>-?\d+)", re.DOTALL
)

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
        *,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        self.processes, self.nodes = processes, nodes
        self.timeout_seconds = timeout_seconds
        self.runs: set[int] = set()
        self._channel: Channel | None = None
        arguments = rendezvous(processes, nodes)
        folder = Path(tempfile.mkdtemp(prefix="pytest-energy-torchrun-"))
        # The ranks' output goes to files, which are kept until all have ended.
        arguments += ["--max-restarts=0", f"--log-dir={folder / 'ranks'}", "--redirects=3"]
        listener = Listener()
        self._torchrun = ChildProcess(
            [sys.executable, "-m", "torch.distributed.run", *arguments, *program],
            folder,
            environment={**os.environ, **variables(processes // nodes, listener.address)},
        )
        # Closed by whoever ends first: the test, an error, or the interpreter.
        self._end = weakref.finalize(self, self._torchrun.stop)
        try:
            late = f"{processes} processes did not begin within {timeout_seconds:g} s: "
            self._channel = self._in_time(listener.accept, late + _how_to_join(processes, nodes))
            self.call("open", meter=meter, lock_seconds=timeout_seconds / 2)
        except ClosedError:
            raise self._failed({}) from None
        except BaseException:
            self.end()
            raise
        finally:
            listener.close()

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
            self._channel.close()
            self._torchrun.wait(ENDING_SECONDS)
        self.end()

    def end(self) -> None:
        """End them at once."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._end()

    def _in_time(self, attempt: Callable[[float], T | None], late: str) -> T:
        """What an attempt of some seconds yields; `EnergyError` if nothing in time.

        `ClosedError` if torchrun has ended.
        """
        give_up = real_time.monotonic() + self.timeout_seconds
        while real_time.monotonic() < give_up:
            found = attempt(POLL_SECONDS)
            if found is not None:
                return found
            if self._torchrun.wait() is not None:
                raise ClosedError("torchrun has ended")
        raise EnergyError(f"{late}{_last_words(self._torchrun)}")

    def _failed(self, answer: Message) -> EnergyError:
        """Who ended first, by torchrun's finding or by what a rank said of itself."""
        self._torchrun.wait(ENDING_SECONDS)
        found = _first_failure(self._torchrun)
        said, rank = answer.get("error"), answer.get("rank")
        if said is not None and (found is None or found[0] == rank or self.nodes > 1):
            text = f"rank {rank} of {self.processes}: {said}"
        elif found is not None:
            text = f"rank {found[0]} of {self.processes} ended with {found[1]}"
            if self.nodes > 1:
                text += "; the cause may stand in the output of another node"
        else:
            text = f"torchrun ended before its {self.processes} processes did"
            text += _last_words(self._torchrun)
        self.end()
        return EnergyError(text)


def _first_failure(torchrun: ChildProcess) -> tuple[int, str] | None:
    """The rank that failed first by what torchrun says, and how; None if it names none."""
    found = _ROOT_CAUSE.search(torchrun.output.read_text(errors="replace"))
    if found is None:
        return None
    rank, exit_code = int(found["rank"]), int(found["code"])
    how = signal_name(exit_code) or f"exit code {exit_code}"
    tail = _tails(torchrun).get(rank)
    return rank, f"{how}:\n{tail}" if tail else f"{how} and wrote nothing to stderr"


def _last_words(torchrun: ChildProcess) -> str:
    """The last lines of each rank of this node, else torchrun's last, which names its error."""
    tails = [f"\nrank {rank}: {tail}" for rank, tail in _tails(torchrun).items()]
    return "".join(tails) or f"\n{tail_of(torchrun.output, 1)}".rstrip()


def _tails(torchrun: ChildProcess) -> dict[int, str]:
    """The last lines that each rank of this node wrote to stderr, if it wrote any."""
    files = sorted(torchrun.folder.rglob("stderr.log"))
    tails = {int(file.parent.name): tail_of(file, TAIL_LINES) for file in files}
    return {rank: tail for rank, tail in tails.items() if tail}


def rendezvous(processes: int, nodes: int) -> list[str]:
    """torchrun's arguments on this node; `EnergyError` if further nodes could not find it."""
    each = f"--nproc-per-node={processes // nodes}"
    if nodes == 1:
        return ["--standalone", each]
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if not address or not port:
        raise EnergyError(
            f"`nodes={nodes}` needs to know where they meet: set `MASTER_ADDR` to this node's "
            "address and `MASTER_PORT` to a free port, here and on the others"
        )
    meeting = [f"--master-addr={address}", f"--master-port={port}"]
    return [f"--nnodes={nodes}", "--node-rank=0", *meeting, each]


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
