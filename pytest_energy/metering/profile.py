"""Where the time of a token goes: by phase of a step, by operator and by module; values alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_energy.documents import Count, NotNegative, Positive

PHASES = ("forward", "backward", "optimizer", "data", "gaps")
"""What a step is made of; gaps are the time in which no operator, or no kernel, runs."""

MOST_PARTS = 400
"""Operators, modules and kernels, each, that a profile tells; a step of BERT has some 80."""

LONGEST_NAME = 120
"""Characters of a name."""


@dataclass(frozen=True)
class Part:
    """A part of a step: seconds a token, and how often it is called in a step, if that is known."""

    name: str
    seconds: NotNegative
    calls: NotNegative | None = None


@dataclass(frozen=True)
class Profile:
    """Parts of the time of a token (s), each list the longest first.

    `clock` says what the times are of: the kernels of a device, or the operators on the host.
    Operators and modules have their own time alone, without that of what they call; modules have
    that of their backward pass as well. `attention` is what computes attention, by how it does so.
    """

    clock: Literal["device", "host"]
    steps: Count
    seconds: Positive
    phases: tuple[Part, ...]
    operators: tuple[Part, ...]
    modules: tuple[Part, ...] = ()
    kernels: tuple[Part, ...] = ()
    attention: Part | None = None
