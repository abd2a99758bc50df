"""From the events of torch's profiler to the time of a token by phase, operator and module."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pytest_energy.metering.profile import LONGEST_NAME, MOST_PARTS, PHASES, Part, Profile
from pytest_energy.text import one_line

MODULE = "pytest-energy module: "
"""How the mark of a module begins; its name and its class follow, with a `|` between."""

_BACKWARD = "autograd::engine::evaluate_function"
_OPTIMIZER = "Optimizer."
_DATA = "enumerate(DataLoader"
_MARKS = (MODULE, _BACKWARD, _OPTIMIZER, _DATA, "ProfilerStep#")
"""Ranges that torch or we draw around operators; their own time is none of an operator's."""

_MICRO = 1e-6

_WORDS_OF_ATTENTION = ("attention", "attn", "scaled_dot_product")
_NO_ATTENTION = ("Linear", "Norm", "Embedding", "Conv", "Output")
"""Classes of modules within an attention whose work is another."""

_WAYS = (
    ("_scaled_dot_product_flash", "sdpa flash"),
    ("_scaled_dot_product_efficient", "sdpa memory-efficient"),
    ("_scaled_dot_product_cudnn", "sdpa cuDNN"),
    ("_scaled_dot_product_fused", "sdpa fused"),
    ("_scaled_dot_product_attention_math", "sdpa math"),
    ("flashattn", "flash-attn"),
    ("flash_attn", "flash-attn"),
    ("flex_attention", "flex"),
)
"""How attention is computed, by what the name of one of its operators holds."""
_EAGER = "eager"


@dataclass(frozen=True)
class _Context:
    """What an event is a part of."""

    phase: str = ""
    module: str = ""
    attention: bool = False


@dataclass
class _Sum:
    micros: float = 0.0
    calls: int = 0

    def add(self, micros: float, calls: int = 1) -> None:
        self.micros += micros
        self.calls += calls


@dataclass
class _Sums:
    phases: dict[str, _Sum] = field(default_factory=lambda: defaultdict(_Sum))
    operators: dict[str, _Sum] = field(default_factory=lambda: defaultdict(_Sum))
    modules: dict[str, _Sum] = field(default_factory=lambda: defaultdict(_Sum))
    kernels: dict[str, _Sum] = field(default_factory=lambda: defaultdict(_Sum))
    attention: _Sum = field(default_factory=_Sum)
    ways: set[str] = field(default_factory=set)


def profile_of(events: Sequence[Any], steps: int, tokens: float) -> Profile | None:
    """The profile of so many steps with so many tokens; None if no operator ran.

    `events` are torch's `FunctionEvent`s.
    """
    host = [each for each in events if _is_of_host(each)]
    kernels = [each for each in events if not _is_of_host(each) and not _is_mark(each)]
    if not host or not tokens > 0:
        return None
    clock: Literal["device", "host"] = "device" if kernels else "host"
    sums = _summed(host, clock)
    for kernel in kernels:
        sums.kernels[_short(kernel.name)].add(kernel.time_range.elapsed_us())
    whole = _span([*host, *kernels])
    busy = _covered(kernels) if kernels else sum(each.micros for each in sums.phases.values())
    if not whole > 0 or not busy > 0:
        return None
    sums.phases["gaps"].add(max(whole - busy, 0.0))
    scale = _MICRO / tokens

    def parts(found: Mapping[str, _Sum]) -> tuple[Part, ...]:
        told = [
            Part(name, each.micros * scale, each.calls / steps)
            for name, each in found.items()
            if each.micros
        ]
        return tuple(sorted(told, key=lambda part: -part.seconds)[:MOST_PARTS])

    attention = sums.attention.micros * scale
    # The softmax of a way that has a name is no way of its own.
    ways = " and ".join(sorted(sums.ways - {_EAGER} or sums.ways))
    return Profile(
        clock=clock,
        steps=steps,
        seconds=whole * scale,
        phases=tuple(Part(n, sums.phases[n].micros * scale) for n in PHASES if n in sums.phases),
        operators=parts(sums.operators),
        modules=parts(sums.modules),
        kernels=parts(sums.kernels),
        attention=Part(ways, attention) if attention else None,
    )


def _summed(host: Sequence[Any], clock: str) -> _Sums:
    """What runs on the host, each event with its own time of the clock."""
    sums, contexts = _Sums(), dict[int, _Context]()
    forward: dict[int, _Context] = {}
    last = "forward"
    # What is around an event begins before it.
    for event in sorted(host, key=lambda each: (each.time_range.start, -each.time_range.end)):
        around = contexts.get(id(event.cpu_parent), _Context())
        context = _context(event, around, forward)
        marked = context.phase
        if marked:
            last = marked
        else:
            # Between the backward pass and the optimizer gradients are clipped or scaled.
            context = replace(context, phase="optimizer" if last == "backward" else "forward")
        contexts[id(event)] = replace(context, phase=marked)
        if context.phase == "forward" and event.sequence_nr >= 0:
            forward[event.sequence_nr] = context
        if event.name.startswith(MODULE):
            sums.modules[context.module].add(0.0)
        if not _is_mark(event):
            _add(sums, event, context, _own_time(event, clock))
    return sums


def _context(event: Any, around: _Context, forward: Mapping[int, _Context]) -> _Context:
    name = event.name
    if name.startswith(MODULE):
        path, _, kind = name.removeprefix(MODULE).rpartition("|")
        own = _speaks_of_attention(kind)
        inside = around.attention and not any(word in kind for word in _NO_ATTENTION)
        return _Context(around.phase or "forward", path or kind, own or inside)
    if name.startswith(_BACKWARD):
        return replace(forward.get(event.sequence_nr, _Context()), phase="backward")
    if name.startswith(_OPTIMIZER):
        return _Context("optimizer")
    if name.startswith(_DATA):
        return _Context("data")
    if not around.attention and _speaks_of_attention(name):
        return replace(around, attention=True)
    return around


def _add(sums: _Sums, event: Any, context: _Context, micros: float) -> None:
    name = _short(event.name)
    sums.phases[context.phase].add(micros)
    sums.operators[name].add(micros)
    if context.module:
        sums.modules[context.module].add(micros, 0)
    if context.attention:
        sums.attention.add(micros, 0)
        lowered = name.lower()
        sums.ways |= {way for word, way in _WAYS if word in lowered}
        if lowered.endswith("softmax"):
            sums.ways.add(_EAGER)


def _speaks_of_attention(name: str) -> bool:
    lowered = name.lower()
    return any(word in lowered for word in _WORDS_OF_ATTENTION)


def _own_time(event: Any, clock: str) -> float:
    own = event.self_device_time_total if clock == "device" else event.self_cpu_time_total
    return max(float(own), 0.0)


def _is_of_host(event: Any) -> bool:
    return str(event.device_type).endswith("CPU")


def _is_mark(event: Any) -> bool:
    return event.name.startswith(_MARKS) or bool(getattr(event, "is_user_annotation", False))


def _short(name: str) -> str:
    return one_line(name, LONGEST_NAME).replace("`", "'")


def _span(events: Iterable[Any]) -> float:
    ranges = [each.time_range for each in events]
    return float(max(each.end for each in ranges) - min(each.start for each in ranges))


def _covered(kernels: Iterable[Any]) -> float:
    """How long at least one of them runs (µs)."""
    covered, until = 0.0, -math.inf
    for start, end in sorted((each.time_range.start, each.time_range.end) for each in kernels):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered
