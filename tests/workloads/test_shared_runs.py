"""Runs that wait for another test: each by itself, no more than both sides of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_energy.plugin.session import SharedRuns


@dataclass(eq=False)
class _Run:
    batches: tuple[int, ...] = (1,)

    def close(self) -> None:
        self.batches = ()


def test_a_run_is_handed_on_and_belongs_to_one_test_at_a_time() -> None:
    shared = SharedRuns()
    first = shared.take("a", _Run)
    second = shared.take("a", _Run)
    shared.give_back("a", first)

    assert second is not first
    assert shared.take("a", _Run) is first


def test_the_longest_idle_makes_room_before_another_is_built() -> None:
    shared, built = SharedRuns(), {}
    for name in "ab":
        built[name] = shared.take(name, _Run)
    for name in "ab":
        shared.give_back(name, built[name])

    shared.take("c", lambda: _Run() if not built["a"].batches else built["a"])

    assert not built["a"].batches
    assert shared.take("b", _Run) is built["b"]


def test_one_that_its_test_has_closed_is_not_kept() -> None:
    shared = SharedRuns()
    run = shared.take("a", _Run)
    run.close()
    shared.give_back("a", run)

    assert shared.take("a", _Run) is not run


def test_nothing_waits_where_the_memory_is_for_others() -> None:
    shared = SharedRuns(0)
    run = shared.take("a", _Run)
    shared.give_back("a", run)

    assert not run.batches
