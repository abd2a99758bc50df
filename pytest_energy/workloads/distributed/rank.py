"""One rank of a run: it does what rank 0 is asked to, with all others."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from pytest_energy.channels import Channel, ClosedError, Message, connect
from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window, window
from pytest_energy.metering.device_lock import FOLDER_VARIABLE, device_lock
from pytest_energy.meters import Conditions, Device, Meter, Method, Reading, open_meter
from pytest_energy.meters.nvml.driver import visible
from pytest_energy.meters.process_tree import ROOT_VARIABLE
from pytest_energy.meters.sensors import from_rows
from pytest_energy.text import decoded
from pytest_energy.workloads.data import open_data
from pytest_energy.workloads.device import require_metered
from pytest_energy.workloads.distributed import Part, join
from pytest_energy.workloads.distributed.launch import (
    END,
    RANK_VARIABLES,
    RankPlace,
    meeting,
    torchrun_store,
)
from pytest_energy.workloads.finetune import FineTuning, Workload

CALL_TIMEOUT = timedelta(days=1)
"""A test may think for long between two windows."""
FAILURE_KEY = "pytest-energy/failure"
LOST = "lost"
"""Rank 0's call to all ranks, itself too, if there is nobody any more who calls it."""
LINGER_SECONDS = 1.0
"""A rank that fails waits so long before it ends: whose end comes first was the first to fail."""
TRACE_LINES = 15


class Collective:
    """What ranks tell each other over gloo, as JSON; gradients go by accelerate's own group.

    Nothing is pickled: to unpickle what comes over a network is to run whatever it says.
    """

    def __init__(self, place: RankPlace, *, cpu: bool) -> None:
        import torch
        from accelerate import PartialState
        from torch import distributed

        self.place = place
        if place.ranks == 1:
            # Or accelerate takes the one process for several, and wraps the model for nothing.
            for name in RANK_VARIABLES:
                os.environ.pop(name, None)
            store = distributed.HashStore()  # type: ignore[attr-defined]
            distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        else:
            own = {"store": meeting(place), "rank": place.rank, "world_size": place.ranks}
            PartialState(cpu=cpu, **(own if own["store"] is not None else {}))
        self._torch, self._distributed = torch, distributed
        self._group = distributed.new_group(backend="gloo", timeout=CALL_TIMEOUT)

    def wait(self) -> None:
        """Wait until every rank has come here."""
        self._distributed.barrier(group=self._group)

    def from_first(self, message: Any) -> Any:
        """What rank 0 passes in here, of what JSON knows."""
        return self._exchanged(message)[0]

    def to_first(self, message: Any) -> list[Any]:
        """On rank 0 what all ranks pass in here, in their order; on others nothing."""
        found = self._exchanged(message)
        return found if self.place.rank == 0 else []

    def leave(self) -> None:
        """End the groups, once all ranks are done."""
        self._distributed.destroy_process_group()

    def _exchanged(self, message: Any) -> list[Any]:
        """What all ranks pass in here, in their order: as many bytes of each as the longest has."""
        data = json.dumps(message).encode()
        size = self._torch.tensor([len(data)])
        sizes = [self._torch.empty_like(size) for _ in range(self.place.ranks)]
        self._distributed.all_gather(sizes, size, group=self._group)
        padded = bytearray(data.ljust(max(map(int, sizes))))  # blanks are nothing in JSON
        mine = self._torch.frombuffer(padded, dtype=self._torch.uint8)
        parts = [self._torch.empty_like(mine) for _ in sizes]
        self._distributed.all_gather(parts, mine, group=self._group)
        return [json.loads(bytes(part.tolist())) for part in parts]


class Shard(FineTuning):
    """A model that is trained together: gradients are averaged over the ranks at each step."""

    def train(self, *, exchange: bool = True) -> float:
        """One pass over this rank's batches; its mean loss. Without `exchange` each for itself."""
        with nullcontext() if exchange else self._accelerator.no_sync(self._model):
            return self.warm_up()

    def adopt_first(self) -> None:
        """Take on rank 0's weights and moments, after a pass that each made for itself."""
        import torch
        from torch.distributed import broadcast

        moments = [
            value
            for state in self._optimizer.optimizer.state.values()
            for value in state.values()
            # Counts of steps are equal already, and need not be where the group can send them.
            if isinstance(value, torch.Tensor) and value.numel() > 1
        ]
        for tensor in [*self._model.parameters(), *moments]:
            broadcast(tensor.detach(), src=0)


class NoMeter:
    """What ranks hold that are not the first of their node: it has no device."""

    name = "none"
    method: Method = "counter"
    devices: tuple[Device, ...] = ()
    update_period_seconds = 0.0
    resolution_joules = 0.0

    def read(self) -> Reading:
        """Nothing."""
        return Reading(real_time.monotonic(), {})

    def conditions(self) -> Conditions:
        """Nothing to see."""
        return Conditions()

    def close(self) -> None:
        """Nothing to release."""


class Rank:
    """One rank at work; the group calls each method on all ranks together."""

    def __init__(self, collective: Collective, device: str, held: ExitStack) -> None:
        self._collective, self._place = collective, collective.place
        self._device = device
        self._held = held
        self._meter: Meter = NoMeter()
        self._runs: dict[int, Shard] = {}

    def open(
        self, meter: str, lock_seconds: float, qualified: Sequence[Sequence[Any]] = ()
    ) -> None:
        """Open the node's meter, on its first rank; it must see all that the node computes on."""
        names: list[str] = []
        if self._place.local_rank == 0:
            self._meter = open_meter(meter, qualified=from_rows(qualified))
            self._held.callback(self._meter.close)
            for device in self._computing():
                require_metered("finetune", device, self._meter.devices)
            names = [device.uuid or device.domain for device in self._meter.devices]
        require_own_devices(self._collective.to_first([self._place.node, machine(), names]))
        self._collective.wait()
        say = partial(print, file=sys.stderr, flush=True)
        self._held.enter_context(device_lock(names, lock_seconds, say))
        self._collective.wait()

    def _computing(self) -> list[str]:
        """torch's devices that this node's ranks compute on."""
        if self._device == "cpu":
            return ["cpu"]
        return [f"cuda:{rank}" for rank in range(self._place.local_ranks)]

    def load(
        self, run: int, workload: dict[str, Any], tokens: int, data: str, models: str | None
    ) -> Message:
        """Make the model and this rank's batches; tells what a window of all ranks processes."""
        folder = None if models is None else Path(models)
        wanted, source = Workload(**workload), open_data(data, folder)
        found = source.identity(wanted.task, model=wanted.model)
        if found != wanted.data:
            raise EnergyError(
                f"`{data}` of node {self._place.node} holds `{found}`, the test's `{wanted.data}`: "
                "give all nodes the same files"
            )
        place = (self._place.rank, self._place.ranks)
        shard = Shard(wanted, source, self._meter, tokens, self._device, place, folder)
        self._runs[run] = shard
        counts = self._collective.to_first((shard.tokens, shard.real_tokens))
        return {
            "tokens": sum(processed for processed, _ in counts),
            "real_tokens": sum(real for _, real in counts),
            "steps": shard.steps,
            "parameters": shard.parameters,
        }

    def warm_up(self, run: int) -> None:
        """One pass that no meter sees."""
        self._runs[run].train()
        self._collective.wait()

    def window(self, run: int, exchange: bool) -> Message:
        """One pass that every node meters from the same moment to the same moment."""
        shard = self._runs[run]
        with window(self._meter, shard.id, synchronize=partial(self._together, shard)) as w:
            self._collective.wait()  # meters begin on ticks of their own
            w.work_started()
            loss = shard.train(exchange=exchange)
            w.count_steps(shard.steps)
        metered = w.record if self._place.local_rank == 0 else None
        part = Part(self._place.node, shard.tokens, shard.real_tokens, shard.steps, loss, metered)
        told = self._collective.to_first(asdict(part))
        parts = [Part(**{**t, "window": t["window"] and Window(**t["window"])}) for t in told]
        if not exchange and self._place.ranks > 1:
            shard.adopt_first()
        return asdict(join(shard.id, parts)) if parts else {}

    def drop(self, run: int) -> None:
        """Free a model."""
        self._runs.pop(run).close()

    def _together(self, shard: Shard) -> None:
        shard.synchronize()
        self._collective.wait()


def machine() -> str:
    """The same text on all nodes that are one machine, and have their locks in one place."""
    try:
        booted = decoded(Path("/proc/sys/kernel/random/boot_id").read_bytes()).strip()
    except OSError:
        booted = str(uuid4())
    return f"{booted} {os.environ.get(FOLDER_VARIABLE, '')}"


def require_own_devices(found: Iterable[tuple[int, str, Sequence[str]]]) -> None:
    """Raise `EnergyError` if a device would be metered by two nodes: (node, machine, devices)."""
    metered: dict[tuple[str, str], int] = {}
    for node, place, names in found:
        for name in names:
            other = metered.setdefault((place, name), node)
            if other != node:
                raise EnergyError(
                    f"nodes {other} and {node} are one machine and would both meter `{name}`: give "
                    "each GPUs of its own (`CUDA_VISIBLE_DEVICES`), or leave `nodes` out"
                )


def serve(rank: Rank, collective: Collective, channel: Channel | None) -> None:
    """Answer calls until one lets the ranks end; `channel` is rank 0's, to who makes them.

    Raises `EnergyError` on all ranks if who makes them is gone: no node takes that for an end.
    """
    while True:
        try:
            call = channel.receive() if channel else None
        except ClosedError:
            call = {"kind": LOST}
        call = collective.from_first(call)
        if call["kind"] == END:
            return
        if call["kind"] == LOST:
            raise EnergyError("the test's process broke off, or was killed, before its ranks ended")
        returned = getattr(rank, call.pop("kind"))(**call)
        if channel:
            channel.send("done", returned=returned)


def main() -> int:
    """A rank's life; 0 if it was told to end."""
    place = RankPlace.of(os.environ)
    os.environ.update(visible(os.environ, place.local_ranks))
    os.environ.setdefault(ROOT_VARIABLE, str(os.getppid()))
    channel = connect() if place.rank == 0 else None
    try:
        if place.rank == 0 and channel is None:
            raise EnergyError("rank 0 has nothing to do: a test starts it, see docs/multi-gpu.md")
        device = _device(place)
        collective = Collective(place, cpu=device == "cpu")
        with ExitStack() as held:
            serve(Rank(collective, device, held), collective, channel)
        collective.leave()
    except Exception as error:
        _fail(place.rank, error, channel)
    return 0


def _device(place: RankPlace) -> str:
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    if torch.cuda.device_count() < place.local_ranks:
        raise EnergyError(
            f"node {place.node} has {place.local_ranks} processes and "
            f"{torch.cuda.device_count()} GPUs that CUDA sees: start at most one for each"
        )
    torch.cuda.set_device(place.local_rank)
    return f"cuda:{place.local_rank}"


def _fail(rank: int, error: Exception, channel: Channel | None) -> None:
    text = str(error)
    if not isinstance(error, EnergyError):
        lines = "".join(traceback.format_exception(error)).strip().splitlines()
        text = "\n".join(lines[-TRACE_LINES:])
    print(text, file=sys.stderr, flush=True)
    first, words = _first_failure(rank, text)
    if first != rank:  # on another node nobody else says it
        print(f"rank {first} failed first: {words}", file=sys.stderr, flush=True)
    if channel is not None:
        with suppress(ClosedError):
            channel.send("failed", rank=first, error=words)
    real_time.sleep(LINGER_SECONDS)
    os._exit(1)  # what a broken group leaves behind may block an orderly end


def _first_failure(rank: int, text: str) -> tuple[int, str]:
    """Tell all ranks why this one fails; the rank that said so first, and its words."""
    mine = json.dumps([rank, text])
    with suppress(Exception):  # without a store each rank speaks for itself
        store = meeting(RankPlace.of(os.environ)) or torchrun_store()
        mine = store.compare_set(FAILURE_KEY, "", mine).decode()
    first, words = json.loads(mine)
    return int(first), str(words)


if __name__ == "__main__":
    raise SystemExit(main())
