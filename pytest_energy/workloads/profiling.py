"""One more pass of a run under torch's profiler, which is not evidence: where its time goes.

Modules are known by hooks that torch calls for every one, and optimizers by their own. So a step of
the user's own, or a Trainer's, is told apart like the package's loop.
"""

from __future__ import annotations

import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from pytest_energy.metering import Window
from pytest_energy.metering.profile import LONGEST_NAME, Profile
from pytest_energy.text import one_line
from pytest_energy.workloads.distributed import DistributedFineTuning
from pytest_energy.workloads.engine import BatchRun
from pytest_energy.workloads.trace import MODULE, profile_of

if TYPE_CHECKING:
    import torch

STEPS = 8
"""Batches of a pass that is profiled, or optimizer steps of a window that has its own length."""

MOST_CALLS = 64
"""Calls of a model in such a window after which nothing more is recorded."""

_WRAPPED = ("_orig_mod", "module", "_fsdp_wrapped_module")
"""What torch's own wrappers, of compiled and of parallel modules, call what they hold."""
_WITHIN = re.compile(r"(?:^|\.)(?:_orig_mod|_fsdp_wrapped_module)(?=\.|$)")
_NUMBERS = re.compile(r"(?<![^.])\d+(?![^.])")


PASSES = 3
"""Passes of a run of which the fastest counts: what disturbs one only makes it slower."""


class _Windows(Protocol):
    """A run; of the package's own more is known."""

    def window(self) -> Window:
        """Do the work once, metered."""


def fastest(run: _Windows) -> Profile | None:
    """The profile of the fastest pass of several; None if a run computes nothing by torch."""
    found = []
    for _ in range(PASSES):
        one = profile(run)
        if one is None:
            return None
        found.append(one)
    return min(found, key=lambda each: each.seconds)


def profile(run: _Windows) -> Profile | None:
    """Where the time of a run's token goes; None if it computes nothing by torch in this process.

    A run whose windows are its own does one more, which is metered and left out.
    """
    # Ranks compute in processes of their own.
    if "torch" not in sys.modules or isinstance(run, DistributedFineTuning):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the profiler; a project may have made them errors
        own = run if isinstance(run, BatchRun) else None
        recording = _Recording(limited=own is None)
        with recording.running():
            tokens = own.unmetered(STEPS) if own else run.window().tokens
        if own:
            return profile_of(recording.events(), min(STEPS, own.steps), tokens)
        steps, calls = recording.recorded
        share = calls / recording.calls if recording.calls else 1.0
        return profile_of(recording.events(), steps or 1, tokens * share)


class _Recording:
    """A profiler that ends, if it is `limited`, before a call of a model once there were enough.

    It counts steps of optimizers and calls of a model; `recorded` are those until its end.
    """

    def __init__(self, *, limited: bool) -> None:
        import torch

        profiler: Any = torch.profiler
        self.steps = self.calls = 0
        self.recorded = (0, 0)
        self._limited = limited
        self._running = False
        self._profiler = profiler.profile(activities=profiler.supported_activities())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record what the block computes, and mark its modules."""
        from torch.nn.modules import module
        from torch.optim.optimizer import register_optimizer_step_post_hook

        marks = _Marks(self._begin_call)
        hooks = [
            module.register_module_forward_pre_hook(marks.enter),
            module.register_module_forward_hook(marks.leave, always_call=True),
            register_optimizer_step_post_hook(self._count),
        ]
        try:
            self._profiler.start()
            self._running = True
            yield
        finally:
            self._stop()
            for hook in hooks:
                hook.remove()

    def events(self) -> list[Any]:
        """What was recorded, `FunctionEvent`s of torch."""
        return list(self._profiler.events() or ())

    def _count(self, *_: Any) -> None:
        self.steps += 1

    def _begin_call(self) -> None:
        if self._limited and (self.steps >= STEPS or self.calls >= MOST_CALLS):
            self._stop()
        self.calls += 1

    def _stop(self) -> None:
        if self._running:
            self._running = False
            self._profiler.stop()
            self.recorded = (self.steps, self.calls)


class _Marks(threading.local):
    """Marks the time of each module by its name in the one that is called first."""

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self._open: list[tuple[str, Any]] = []  # what is shown of each, and its mark
        self._names: dict[int, tuple[str, str]] = {}  # the path in the model, and the class
        self._known: list[torch.nn.Module] = []  # so that no other gets the identity of one

    def enter(self, module: torch.nn.Module, _: Any) -> None:
        """Before a module computes."""
        import torch

        if torch.compiler.is_compiling():
            return
        if not self._open:
            self._on_first()
            self._learn(module)
        name, kind = self._names.get(id(module), ("", type(module).__name__))
        shown = f"{MODULE}{name}|{kind}"
        # What torch has wrapped is marked once, and a graph that it has made of a module is no
        # part of what the user wrote.
        is_wrapped = not name and self._open[-1:] and self._open[-1][0] == shown
        is_graph = isinstance(module, torch.fx.GraphModule) and id(module) not in self._names
        own: Any = torch.profiler.record_function
        mark = nullcontext() if is_wrapped or is_graph else own(shown)
        mark.__enter__()
        self._open.append((shown, mark))

    def leave(self, *_: Any) -> None:
        """After it, whether it raises or not."""
        import torch

        if self._open and not torch.compiler.is_compiling():
            self._open.pop()[1].__exit__(None, None, None)

    def _learn(self, module: torch.nn.Module) -> None:
        if id(module) in self._names:
            return
        self._known.append(module)
        wrappers = list(_wrapping(module))
        own = wrappers.pop()
        for name, each in own.named_modules():
            # The layers of a model are alike, and told together.
            alike = _NUMBERS.sub("*", _WITHIN.sub("", name).lstrip("."))
            if not alike.strip("*."):  # a Sequential names its parts by number alone
                alike = f"{type(own).__name__}.{alike}" if alike else alike
            shown = one_line(alike, LONGEST_NAME)
            self._names.setdefault(id(each), (shown, type(list(_wrapping(each))[-1]).__name__))
        for each in wrappers:
            self._names.setdefault(id(each), ("", type(own).__name__))


def _wrapping(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """A module, and what it holds if torch has wrapped it; the last is the user's own."""
    inner: torch.nn.Module | None = module
    while inner is not None:
        yield inner
        is_torchs = type(inner).__module__.startswith("torch.")
        held = [child for name, child in inner.named_children() if name in _WRAPPED]
        inner = held[0] if is_torchs and held else None
