"""Searches through planted histories on simulated windows: what is named, and what never is."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bisect_trials import COMMITS, HISTORIES, Planted, SimulatedCard, name, search
from pytest_energy.bisect import Conclusion, Finding, Probe
from pytest_energy.bisect.commits import Graph, reached
from pytest_energy.bisect.search import Asked, Search

SEARCHES = 8


def named(conclusion: Conclusion) -> set[str]:
    return {culprit.commit for culprit in conclusion.culprits}


@pytest.mark.parametrize("kind", HISTORIES)
def test_planted_histories(kind: str) -> None:
    for number in range(SEARCHES):
        planted = HISTORIES[kind](random.Random(f"test {kind} {number}"))
        conclusion, card = search(planted, f"test {kind} {number}")

        assert named(conclusion) == planted.culprits, number
        assert conclusion.outcome == ("found" if planted.culprits else "not reproduced")
        assert card.probes == len([one for one in conclusion.probes if one.estimate])


def test_each_culprit_is_held_against_the_commit_before_it() -> None:
    planted = Planted({20: 0.05})
    (culprit,) = search(planted, "confirm")[0].culprits

    assert (culprit.commit, culprit.against) == ("c20", "c19")
    assert culprit.among == ("c20",)
    assert culprit.estimate.low < 0.05 < culprit.estimate.high
    assert culprit.estimate.low > 0


def test_an_improvement_is_found_if_one_is_looked_for() -> None:
    planted = Planted({33: -0.05})

    conclusion, _ = search(planted, "better", Asked(change=-0.05))
    assert named(conclusion) == {"c33"}
    conclusion, _ = search(planted, "better")
    assert (conclusion.outcome, named(conclusion)) == ("not reproduced", set())


def test_a_change_that_was_brought_back_and_in_again() -> None:
    planted = Planted({10: 0.06, 30: 1 / 1.06 - 1, 50: 0.06})

    found = named(search(planted, "again")[0])
    assert found
    assert found <= {"c10", "c50"}


def test_a_culprit_that_cannot_be_measured_is_not_named_alone() -> None:
    conclusion, _ = search(Planted({40: 0.05}, frozenset({39, 40, 41})), "dark")

    (culprit,) = conclusion.culprits
    assert conclusion.outcome == "can't say"
    assert not culprit.is_one
    assert culprit.among == ("c39", "c40", "c41", "c42")


def test_ends_that_cannot_be_measured() -> None:
    conclusion, _ = search(Planted({40: 0.05}, frozenset({0})), "no ends")

    assert conclusion.outcome == "can't say"
    assert "the ends cannot be compared: it cannot be imported" in conclusion.reason
    assert len(conclusion.probes) == 1


def test_a_broken_commit_is_seldom_asked_twice() -> None:
    planted = Planted({40: 0.05}, frozenset({32}))
    conclusion, _ = search(planted, "around")

    assert named(conclusion) == {"c40"}
    told = {one.finding.probe.commit: one.decision for one in conclusion.probes}
    assert told["c32"] == "broken"
    assert [one.finding.probe.commit for one in conclusion.probes].count("c32") == 1


def test_a_search_with_all_answers_at_hand_ends_the_same() -> None:
    """As one that goes on after an interrupt does."""
    planted = Planted({7: 0.03, 50: 0.03})
    card, kept = SimulatedCard(planted, "kept"), dict[Probe, Finding]()

    def ask(probe: Probe) -> Finding:
        kept[probe] = card.ask(probe)
        return kept[probe]

    first = Search(card.history, ask, Asked()).run()
    assert Search(card.history, kept.__getitem__, Asked()).run() == first


def test_answers_that_contradict_each_other_name_nobody() -> None:
    def ask(probe: Probe) -> Finding:
        """Every commit costs something against the good end, and nothing against its parent."""
        place = int(probe.commit[1:])
        high = 0.00525 if probe.against == "c0" and place == COMMITS else 0.005
        pairs = tuple((0.005 + n * 1e-5, high + n * 1e-5) for n in range(4))
        return Finding(probe, "regression" if high > 0.005 else "within", pairs)

    conclusion = Search(SimulatedCard(Planted(), "x").history, ask, Asked()).run()

    assert conclusion.outcome == "can't say"
    assert not conclusion.culprits


def on_a_graph(parents: dict[str, tuple[str, ...]], costs: set[str]) -> Callable[[Probe], Finding]:
    def ask(probe: Probe) -> Finding:
        head, base = (
            1.05 ** len(reached(commit, parents) & costs)
            for commit in (probe.commit, probe.against)
        )
        noise = (1.001, 0.999, 1.002, 0.998)
        pairs = tuple((0.005 * base, 0.005 * head * each) for each in noise)
        moved = head / base - 1
        outcome = "regression" if moved > probe.tolerance else "within"
        return Finding(probe, outcome, pairs)

    return ask


MERGED = {
    "bad": ("m3",),
    "m3": ("merge",),
    "merge": ("m2", "b2"),
    "m2": ("m1",),
    "m1": ("good",),
    "b2": ("b1",),
    "b1": ("m1",),
}


@pytest.mark.parametrize(
    ("costs", "first_parent", "expected"),
    [("b1", False, "b1"), ("b2", False, "b2"), ("b1", True, "merge"), ("merge", False, "merge"),
     ("m2", False, "m2"), ("bad", False, "bad"), ("m1", False, "m1")],
)  # fmt: skip
def test_what_a_merge_brought(costs: str, first_parent: bool, expected: str) -> None:
    ask = on_a_graph(MERGED, {costs})

    conclusion = Search(Graph("good", "bad", MERGED), ask, Asked(first_parent=first_parent)).run()

    assert named(conclusion) == {expected}


def test_a_good_end_on_a_branch_that_was_merged() -> None:
    parents = {"bad": ("merge",), "merge": ("m1", "good"), "m1": ("root",)}
    ask = on_a_graph(parents, {"bad"})

    assert Graph("good", "bad", parents).main_line() == ["good", "merge", "bad"]
    assert named(Search(Graph("good", "bad", parents), ask, Asked()).run()) == {"bad"}


def test_one_commit_between_the_ends_is_what_all_its_probes_say_together() -> None:
    parents = {"bad": ("good",)}
    found = iter((1.05, 1.15))  # apart by far more than their pairs say

    def ask(probe: Probe) -> Finding:
        cost = next(found)
        noise = (1.001, 0.999, 1.002, 0.998)
        return Finding(probe, "regression", tuple((0.005, 0.005 * cost * each) for each in noise))

    conclusion = Search(Graph("good", "bad", parents), ask, Asked()).run()

    (culprit,) = conclusion.culprits
    assert [told.finding.probe.purpose for told in conclusion.probes] == ["ends", "confirm"]
    assert culprit.estimate.low < 0.05 < culprit.estimate.change < 0.15 < culprit.estimate.high


def test_names_are_places() -> None:
    assert name(0) == "c0"
