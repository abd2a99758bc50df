"""torchrun as a process of its own: started, watched, read when it fails, and ended for good."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.ipc import ADDRESS_VARIABLE, Channel, ClosedError, Listener, Message
from pytest_energy.metering.device_lock import HELD_VARIABLE, held_devices
from pytest_energy.meters.process_tree import ROOT_VARIABLE, tree_root

TAIL_LINES = 15
GRACE_SECONDS = 5.0
"""How long ranks may take to be gone once they are killed."""
_ROOT_CAUSE = re.compile(
    r"Root Cause.*?rank\s*:\s*(?P<rank>\d+).*?exitcode\s*:\s*(?P<code>-?\d+)", re.DOTALL
)


@dataclass(frozen=True)
class Failure:
    """Which rank of this node ended first, how, and the last it wrote to stderr."""

    rank: int
    exit_code: int
    tail: str

    @property
    def how(self) -> str:
        """`exit code 3`, or the signal's name."""
        if self.exit_code >= 0:
            return f"exit code {self.exit_code}"
        with suppress(ValueError):
            return signal.Signals(-self.exit_code).name
        return f"signal {-self.exit_code}"


class Agent:
    """torchrun on this node; its ranks' output goes to files, which are kept until `close`."""

    def __init__(
        self, rendezvous: Sequence[str], program: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pytest-energy-torchrun-"))
        self._log = self._folder / "torchrun.log"
        command = [sys.executable, "-m", "torch.distributed.run", *rendezvous, "--max-restarts=0"]
        command += [f"--log-dir={self._folder / 'ranks'}", "--redirects=3", *program]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us: we end the ranks, and say so once.
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether torchrun has not ended."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> bool:
        """Wait until torchrun ends of itself; says whether it did."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def failure(self) -> Failure | None:
        """What torchrun says of the rank that failed first; None where it names none."""
        found = _ROOT_CAUSE.search(self._log.read_text(errors="replace"))
        if found is None:
            return None
        rank = int(found["rank"])
        return Failure(rank, int(found["code"]), self.tails().get(rank, ""))

    def last_words(self) -> str:
        """The last line of torchrun's own output, which names its error."""
        return _tail(self._log).rpartition("\n")[2]

    def tails(self) -> dict[int, str]:
        """The last lines that each rank of this node wrote to stderr, if it wrote any."""
        files = sorted(self._folder.rglob("stderr.log"))
        tails = {int(file.parent.name): _tail(file) for file in files}
        return {rank: tail for rank, tail in tails.items() if tail}

    def close(self) -> None:
        """End torchrun and all that it started at once; a second call does nothing."""
        # Ranks have sessions of their own, so no signal to torchrun's group would reach them.
        descendants = self._descendants()
        self._process.kill()
        self._process.wait()
        _kill(descendants)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _descendants(self) -> list[Any]:
        psutil: Any = import_module("psutil")
        try:
            found: list[Any] = psutil.Process(self._process.pid).children(recursive=True)
        except psutil.Error:
            return []
        return found


def _kill(processes: Sequence[Any]) -> None:
    psutil: Any = import_module("psutil")
    for process in processes:
        with suppress(psutil.Error):  # psutil knows a process again by when it began
            process.kill()
    deadline = time.monotonic() + GRACE_SECONDS
    while any(_lives(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.02)


def _lives(process: Any) -> bool:
    psutil: Any = import_module("psutil")
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _tail(file: Path) -> str:
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-TAIL_LINES:])


PROGRAM = ("-m", "pytest_energy.workloads.distributed.rank")
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
        "--master-port=$MASTER_PORT -m pytest_energy.workloads.distributed.rank`, each with its "
        "own number"
    )
