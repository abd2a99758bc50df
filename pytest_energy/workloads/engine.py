"""What a window runs: passes over the same batches, by the package's loop or the user's step."""

from __future__ import annotations

import ctypes
import os
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError, check_choice, check_count, raised_elsewhere
from pytest_energy.files import digest_of
from pytest_energy.metering import Window, window
from pytest_energy.meters.protocol import Meter
from pytest_energy.workloads.data.examples import Batch, Batches, DataSource, window_batches
from pytest_energy.workloads.device import default_device
from pytest_energy.workloads.tasks import Task, batch_settings, get_task

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

__tracebackhide__ = raised_elsewhere

# To be raised whenever the same fields come to stand for other work: other synthetic batches,
# other hub revisions, another optimizer step.
FORMAT = 1

LATEST = 3
"""Windows that a run remembers: as many as tell whether it is steady."""


class BatchRun(ABC):
    """A run whose windows do the same work: metered passes over the same batches.

    `id` is its name in baselines and reports, `digest` eight hex digits of the work. `tokens` and
    `real_tokens` are what one pass processes, with and without padding, `examples` how many
    sequences; `batches` are what it is given, on its device, `steps` how many. `latest` are its
    latest windows, oldest first; `earlier` is what one check leaves with it for another.
    `synchronize` waits for that device (None: for every one that torch has used).
    """

    def __init__(
        self, name: str, digest: str, meter: Meter, synchronize: Callable[[], None] | None = None
    ) -> None:
        self.id, self.digest, self.meter = name, digest, meter
        self.latest: deque[Window] = deque(maxlen=LATEST)
        self.earlier: object = None
        self._synchronize = synchronize

    def _give(self, batches: Batches, convert: Callable[[Batch], Batch]) -> None:
        """Work on these from now on, each as `convert` hands it over."""
        self.tokens, self.real_tokens = batches.processed_tokens, batches.real_tokens
        self.examples, self.padding_overhead = batches.examples, batches.padding_overhead
        # All on the device from the start: a window is to meter training, not the loading of data.
        self.batches: tuple[Batch, ...] = tuple(map(convert, batches.batches))
        self.steps = len(self.batches)

    def window(self, passes: int = 1) -> Window:
        """Metered passes over the batches; a loss is the mean of the last pass.

        `EnergyError` once the run was closed.
        """
        check_count("passes", passes)
        with self._working(), window(self.meter, self.id, synchronize=self._synchronize) as w:
            for _ in range(passes):
                losses = self._pass()
            w.count_steps(passes * self.steps)
        done = replace(
            w.record,
            tokens=passes * self.tokens,
            real_tokens=passes * self.real_tokens,
            loss=self._mean(losses),
        )
        self.latest.append(done)
        return done

    def unmetered(self, steps: int) -> int:
        """Work on the first so many batches, which no meter sees; how many tokens they have."""
        batches = self.batches
        with self._working():
            try:
                self.batches = batches[:steps]
                self._pass()
            finally:
                self.batches = batches
        return sum(batch["input_ids"].numel() for batch in batches[:steps])

    def close(self) -> None:
        """Free the batches; a second call does nothing."""
        self.batches = ()

    @abstractmethod
    def _pass(self) -> Any:
        """Work on each batch once; the sum of the losses, if there are any."""

    def _mean(self, losses: Any) -> float | None:
        """The mean loss of a pass; None where there is none."""
        del losses
        return None

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Around a pass; `EnergyError` where the run was closed."""
        if not self.batches:
            raise EnergyError(f"`{self.id}` was closed: prepare it again to measure another window")
        yield


Step = Callable[["dict[str, torch.Tensor]"], object]
"""Takes a batch: `input_ids`, `attention_mask` and `token_type_ids`, with `labels` or, for
questions, `start_positions` and `end_positions`. What it returns is not looked at."""


class Stepping(BatchRun):
    """A step in training; each window calls it with exactly the same batches, one after another.

    `settings` say what work it is; the run's digest is theirs.
    """

    def __init__(
        self,
        step: Step,
        name: str,
        settings: Mapping[str, Any],
        meter: Meter,
        batches: Batches,
        device: str,
    ) -> None:
        super().__init__(name, digest_of({"format": FORMAT, **settings}), meter)
        self.settings = settings
        self._step = step
        self._give(batches, lambda batch: {name: rows.to(device) for name, rows in batch.items()})

    def _pass(self) -> None:
        for batch in self.batches:
            # A dict of its own: what a step takes out is there again in the next pass.
            self._step(dict(batch))


def drive(
    step: Step,
    task: Task | str,
    model: str = "bert-base-uncased",
    *,
    data: DataSource,
    meter: Meter,
    tokens_per_window: int,
    max_tokens_per_batch: int | None = None,
    device: str | None = None,
    **overrides: Any,
) -> Stepping:
    """The user's `step` on a task's batches, ready for windows of about `tokens_per_window`.

    `model` says whose tokenizer is meant; batches are on `device` (default: a GPU where there is
    one). `overrides` are `batch_size`, `max_length`, `padding` and `seed`. The digest is of all
    that and the step's name, not of its code: a change of that is what a gate is to judge.
    """
    if not callable(step):
        raise EnergyError(
            f"`energy_workload` gave {step!r}, which cannot be called: return a function that "
            "takes a batch and trains on it"
        )
    for setting in overrides:
        check_choice("setting of batches", setting, ("batch_size", "max_length", "padding", "seed"))
    check_count("tokens_per_window", tokens_per_window)
    task = get_task(task)
    fields = {"model": model, **batch_settings(task, max_tokens_per_batch, overrides)}
    check_count("seed", fields["seed"], least=0)
    identity = data.identity(task, model=model)
    # Where a step is defined tells two of the same name apart.
    home = step if hasattr(step, "__qualname__") else type(step)
    origin = f"{home.__module__}.{getattr(home, '__qualname__', '')}:{step_name(step)}"
    settings = {"step": origin, "task": task.name, **fields, "data": identity}
    return Stepping(
        step,
        f"{task.name}/{step_name(step)}",
        settings,
        meter,
        window_batches(task, data, tokens=tokens_per_window, **fields),
        device or default_device(),
    )


def step_name(step: Step) -> str:
    """What a step goes by: its `name` where it has one, else its function's or its class's."""
    for attribute in ("name", "__name__"):
        name = getattr(step, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(step).__name__


# As glibc's <malloc.h> numbers them.
_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_NEVER_TRIM = -1

VARIABLES: Mapping[str, str] = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 36)}
"""What does the same to a process that is yet to start."""

_CHOICES = (*VARIABLES, "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next allocation; whether it does now.

    By default it hands large blocks back to the kernel, which zeroes them for each step of training
    again. That is CPU time which differs from step to step and from process to process. What the
    user's environment says of it stands, and another C library is left alone.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _CHOICES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER_TRIM))


def adamw(model: Any, learning_rate: float) -> torch.optim.AdamW:
    """AdamW over the model's parameters, fused where this torch can on their device."""
    import torch

    made = partial(torch.optim.AdamW, lr=learning_rate, weight_decay=0.0)
    try:
        return made(model.parameters(), fused=True)
    except RuntimeError:
        return made(model.parameters())


def accelerator(precision: str, device: str) -> Accelerator:
    """accelerate's engine; its state is global, so another precision has to begin anew."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if device == "cpu":
        keep_freed_memory()
    made = partial(
        Accelerator,
        mixed_precision="bf16" if precision == "bf16" else "no",
        cpu=device == "cpu",
        # The model is on its device already, which need not be the one accelerate would choose.
        device_placement=False,
    )
    try:
        return made()
    except ValueError:
        AcceleratorState._reset_state(reset_partial_state=True)
        return made()
