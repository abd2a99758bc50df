"""Windows of several nodes become one: joules by node, tokens by rank."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window
from pytest_energy.workloads.distributed import Part, join

METERED = Window(
    name="w",
    method="counter",
    joules_by_domain={"gpu:0": 300.0, "gpu:1": 200.0},
    seconds=2.0,
    uncertainty_joules=3.0,
    started=1000.5,
    notes={"gpu:0 temperature_celsius": 50.0},
)
LEADER = Part(node=0, tokens=100, real_tokens=60, steps=4, loss=0.5, window=METERED)
FOLLOWER = Part(node=0, tokens=140, real_tokens=70, steps=4, loss=0.7)


def test_ranks_of_one_node_share_its_joules() -> None:
    window = join("sst2/x2", [LEADER, FOLLOWER])

    assert window.name == "sst2/x2"
    assert window.joules_by_domain == {"gpu:0": 300.0, "gpu:1": 200.0}
    assert (window.tokens, window.real_tokens, window.steps) == (240, 130, 4)
    assert window.loss == pytest.approx(0.6)
    assert window.joules_per_token == 500 / 240
    assert window.notes == {"gpu:0 temperature_celsius": 50.0}
    assert window.valid


def test_nodes_add_up_under_names_of_their_own() -> None:
    other = replace(
        METERED,
        joules_by_domain={"gpu:0": 50.0},
        seconds=2.25,
        uncertainty_joules=1.0,
        started=1000.25,
        method="integrated",
    )
    parts = [replace(LEADER, node=1, window=other), FOLLOWER, LEADER]

    window = join("sst2/x3", parts)

    assert window.joules_by_domain == {"node0/gpu:0": 300, "node0/gpu:1": 200, "node1/gpu:0": 50}
    assert window.joules == 550
    assert window.uncertainty_joules == 4
    assert window.seconds == 2.25
    assert window.started == 1000.25
    assert window.method == "integrated"
    assert "node1/gpu:0 temperature_celsius" in window.notes


@pytest.mark.parametrize(("node", "reason"), [(0, "throttled: a"), (1, "throttled: a (node1)")])
def test_what_is_wrong_on_one_node_is_wrong_with_all(node: int, reason: str) -> None:
    wrong = replace(LEADER, node=node, window=replace(METERED, invalid_reason="throttled: a"))
    parts = [wrong, FOLLOWER] if node == 0 else [LEADER, wrong]

    window = join("w", parts)

    assert not window.valid
    assert window.invalid_reason == reason


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([LEADER, replace(FOLLOWER, node=1)], r"nodes \[0, 1\] took part, but metered were \[0\]"),
        ([LEADER, LEADER], r"metered were \[0, 0\]: each node must be metered once"),
        ([FOLLOWER], r"metered were \[\]"),
        ([LEADER, replace(FOLLOWER, steps=3)], r"ranks took \[3, 4\] steps"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: list[Part], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        join("w", parts)
