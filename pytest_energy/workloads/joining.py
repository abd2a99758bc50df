"""What the nodes of a distributed run measured at the same time, added up to one window; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window
from pytest_energy.meters.protocol import Method

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
    `EnergyError` where ranks took unequal numbers of steps, or a node was not metered once.
    """
    metered = sorted(
        ((part.node, part.window) for part in parts if part.window is not None),
        key=lambda found: found[0],
    )
    nodes = [node for node, _ in metered]
    if not nodes or nodes != sorted({part.node for part in parts}):
        raise EnergyError(
            f"`{name}`: nodes {sorted({part.node for part in parts})} took part, but metered were "
            f"{nodes}: each node must be metered once"
        )
    steps = {part.steps for part in parts}
    if len(steps) > 1:
        raise EnergyError(f"`{name}`: ranks took {sorted(steps)} steps, but must take as many each")
    several = len(nodes) > 1
    windows = [window for _, window in metered]
    return Window(
        name=name,
        method=max((window.method for window in windows), key=_SUREST_FIRST.index),
        joules_by_domain=_by_node(metered, "joules_by_domain", several),
        seconds=max(window.seconds for window in windows),
        uncertainty_joules=sum(window.uncertainty_joules for window in windows),
        started=min(window.started for window in windows),
        invalid_reason=_reason(metered, several),
        tokens=sum(part.tokens for part in parts),
        real_tokens=sum(part.real_tokens for part in parts),
        steps=steps.pop(),
        loss=sum(part.loss for part in parts) / len(parts),
        notes=_by_node(metered, "notes", several),
    )


def _by_node(
    metered: Sequence[tuple[int, Window]], field: str, several: bool
) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for node, window in metered:
        values: Mapping[str, Any] = getattr(window, field)
        prefix = f"node{node}/" if several else ""
        found.update({f"{prefix}{name}": value for name, value in values.items()})
    return found


def _reason(metered: Sequence[tuple[int, Window]], several: bool) -> str | None:
    # The vocabulary's word stays first, since that is how reasons are told apart.
    reasons = [
        f"{window.invalid_reason} (node{node})" if several else window.invalid_reason
        for node, window in metered
        if window.invalid_reason is not None
    ]
    return "; ".join(reasons) or None
