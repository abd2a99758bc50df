"""Fine-tuning on several ranks: runs of one test, and their nodes' windows added up to one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError, check_choice, check_count
from pytest_energy.files import digest_of
from pytest_energy.metering import Window
from pytest_energy.meters import Meter, meter_names
from pytest_energy.meters.sensors import as_rows
from pytest_energy.outcomes import Method
from pytest_energy.workloads.data.examples import DataSource
from pytest_energy.workloads.data.sources import LocalSource
from pytest_energy.workloads.device import default_device
from pytest_energy.workloads.finetune import SETTINGS, Workload, make_workload
from pytest_energy.workloads.tasks import Task

if TYPE_CHECKING:
    from pytest_energy.workloads.distributed.rank_group import RankGroup

_SUREST_FIRST: tuple[Method, ...] = ("counter", "integrated", "external", "modelled")


@dataclass(frozen=True)
class Part:
    """One rank's share of a window; `window` is what its node metered, of its first rank alone.

    `tokens` and `real_tokens` are those the rank processed in `steps` steps at a mean `loss`.
    """

    node: int
    tokens: int
    real_tokens: int
    steps: int
    loss: float
    window: Window | None = None


def join(name: str, parts: Sequence[Part]) -> Window:
    """The window of the whole run: joules and tokens summed, seconds of the slowest node.

    Uncertainties are added up, since nodes of one kind err alike. Domains and notes of several
    nodes begin with the node's number, `node0/gpu:0`. What is wrong on one node is wrong with all.
    `EnergyError` if ranks took unequal numbers of steps, or a node was not metered once.
    """
    metered = {part.node: part.window for part in parts if part.window is not None}
    nodes = sorted(part.node for part in parts if part.window is not None)
    taking_part = sorted({part.node for part in parts})
    if not nodes or nodes != taking_part:
        raise EnergyError(
            f"`{name}`: nodes {taking_part} took part, but metered were {nodes}: each node must be "
            f"metered once"
        )
    steps = {part.steps for part in parts}
    if len(steps) > 1:
        raise EnergyError(f"`{name}`: ranks took {sorted(steps)} steps, but must take as many each")
    joules: dict[str, float] = {}
    notes: dict[str, float] = {}
    reasons = []
    for node, window in sorted(metered.items()):
        prefix, which = (f"node{node}/", f" (node{node})") if len(nodes) > 1 else ("", "")
        joules |= {prefix + domain: value for domain, value in window.joules_by_domain.items()}
        notes |= {prefix + note: value for note, value in window.notes.items()}
        if window.invalid_reason is not None:
            # The vocabulary's word stays first, since that is how reasons are told apart.
            reasons.append(window.invalid_reason + which)
    windows = metered.values()
    return Window(
        name=name,
        method=max((window.method for window in windows), key=_SUREST_FIRST.index),
        joules_by_domain=joules,
        seconds=max(window.seconds for window in windows),
        uncertainty_joules=sum(window.uncertainty_joules for window in windows),
        started=min(window.started for window in windows),
        invalid_reason="; ".join(reasons) or None,
        tokens=sum(part.tokens for part in parts),
        real_tokens=sum(part.real_tokens for part in parts),
        steps=steps.pop(),
        loss=sum(part.loss for part in parts) / len(parts),
        notes=notes,
    )


class DistributedFineTuning:
    """A model in training on several ranks; each window is the same batches, shared among them.

    `tokens` and `real_tokens` are what all ranks process in a window of `steps` steps each;
    `parameters` is (trainable, total).
    """

    def __init__(self, group: RankGroup, number: int, workload: Workload, loaded: dict[str, Any]):
        self.workload = workload
        self.processes, self.nodes = group.processes, group.nodes
        self.tokens = int(loaded["tokens"])
        self.real_tokens = int(loaded["real_tokens"])
        self.steps = int(loaded["steps"])
        self.parameters: tuple[int, int] = tuple(loaded["parameters"])
        self.padding_overhead = self.tokens / self.real_tokens
        self._group = group
        self._number: int | None = number

    @property
    def id(self) -> str:
        """The workload's name and the number of ranks, `sst2/bert-base-uncased/x2`."""
        several = f"n{self.nodes}" if self.nodes > 1 else ""
        return f"{self.workload.id}/x{self.processes}{several}"

    @property
    def digest(self) -> str:
        """Eight hex digits of the workload, the number of ranks and that of nodes."""
        fields = [self.workload.digest, self.processes, self.nodes]
        return digest_of(fields, separators=(", ", ": "))

    def window(self) -> Window:
        """One window: every node meters its devices from one moment to another."""
        return self._window(exchange=True)

    def window_without_exchange(self) -> Window:
        """A window in which each rank trains for itself; afterwards all take on rank 0's model."""
        return self._window(exchange=False)

    def warm_up(self) -> None:
        """One pass over the batches that no meter sees."""
        self._call("warm_up")

    def close(self) -> None:
        """Free the model on all ranks; a second call does nothing."""
        number, self._number = self._number, None
        if number in self._group.runs:
            self._group.runs.remove(number)
            if self._group.alive:
                self._group.call("drop", run=number)

    def _window(self, *, exchange: bool) -> Window:
        return Window(**{**self._call("window", exchange=exchange), "name": self.id})

    def _call(self, method: str, **arguments: Any) -> Any:
        if self._number is None:
            raise EnergyError(f"`{self.id}` was closed: prepare it again to measure another window")
        return self._group.call(method, run=self._number, **arguments)


class RankGroups:
    """The ranks that runs of one test share, since to start them takes seconds."""

    def __init__(self) -> None:
        self._groups: dict[tuple[object, ...], RankGroup] = {}
        self._numbers = itertools.count()

    def prepare(
        self,
        task: Task | str,
        model: str = "bert-base-uncased",
        *,
        data: DataSource,
        meter: Meter,
        tokens_per_window: int,
        processes: int = 0,
        nodes: int = 1,
        timeout_seconds: float = 600.0,
        max_tokens_per_batch: int | None = None,
        models: Path | None = None,
        **overrides: Any,
    ) -> DistributedFineTuning:
        """The fine-tuning of `task` on `processes` ranks in all, as many on each of `nodes`.

        `batch_size` is each rank's, `tokens_per_window` all ranks' together; further `overrides`
        are those of `finetune.prepare`. The meter is opened anew on each node, by its name.
        """
        check_count("tokens_per_window", tokens_per_window)
        check_places(processes, nodes, meter)
        for name in overrides:
            check_choice("setting of a workload", name, SETTINGS)
        workload = make_workload(
            task,
            model,
            device=default_device(),
            data=data,
            max_tokens_per_batch=max_tokens_per_batch,
            models=models,
            **overrides,
        )
        qualified = as_rows(getattr(meter, "qualified", {}))
        group = self._group(processes, nodes, meter.name, float(timeout_seconds), qualified)
        number = next(self._numbers)
        loaded = group.call(
            "load",
            run=number,
            workload=asdict(workload),
            tokens=tokens_per_window,
            data=str(data.root.resolve()) if isinstance(data, LocalSource) else data.kind,
            models=None if models is None else str(models.resolve()),
        )
        group.runs.add(number)
        return DistributedFineTuning(group, number, workload, loaded)

    def close(self) -> None:
        """End all ranks."""
        groups, self._groups = self._groups, {}
        for group in groups.values():
            group.close()

    def _group(self, *key: Any) -> RankGroup:
        from pytest_energy.workloads.distributed.rank_group import RankGroup

        known = self._groups.get(key)
        if known is None or not known.alive:
            for group in self._groups.values():
                if not group.runs:  # its models' memory may be needed
                    group.close()
            known = self._groups[key] = RankGroup(*key)
        return known


def visible_gpus(meter: Meter) -> int:
    """How many GPUs of this node can train: those that are metered, else those CUDA sees."""
    import torch

    metered = sum(device.has_gpu for device in meter.devices)
    return metered or torch.cuda.device_count()


def check_places(processes: int, nodes: int, meter: Meter) -> None:
    """Raise `EnergyError` unless so many processes can train and be metered here."""
    check_count("processes", processes)
    check_count("nodes", nodes)
    if processes % nodes:
        raise EnergyError(
            f"`processes={processes}` cannot be shared evenly by `nodes={nodes}`: give a multiple"
        )
    import torch.distributed

    if not torch.distributed.is_available():
        raise EnergyError(
            f"`processes={processes}` needs `torch.distributed`, which this build of torch "
            "lacks: install torch from its official packages, or leave `processes` out"
        )
    if meter.name not in meter_names():
        raise EnergyError(
            f"`processes={processes}`: meter `{meter.name}` cannot be opened on each node, because "
            f"no meter is installed by that name; known are {', '.join(meter_names())}"
        )
    gpus, here = visible_gpus(meter), processes // nodes
    if gpus and here > gpus:
        raise EnergyError(
            f"`processes={processes}` puts {here} on this node, which has "
            f"{gpus} GPU{'s' if gpus > 1 else ''} that CUDA sees: start at most one for each"
        )
