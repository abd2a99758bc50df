"""What processes of the same code differ by: it fails nothing, and is told from what windows do."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_energy.ab.measurement import Figure, PairedMeasurement
from pytest_energy.ab.protocol import Ready, RunFacts, SideFaultError
from pytest_energy.ab.side_place import SidePlace
from pytest_energy.ab.sides import BASE, HEAD, SidePair, SideProcess
from pytest_energy.clocks import real_time
from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import PairedGate
from pytest_energy.metering import Window

READY = Ready(0, "joules_per_token", None, (RunFacts("mine", None, None, 1000, None, {}),), {})
NOISE = 0.003


class Machine:
    """Starts sides whose processes each have a level of their own, which a list may give."""

    def __init__(
        self,
        seed: int,
        level: float = 0.0,
        change: float = 0.0,
        start_seconds: float = 1.0,
        window_seconds: float = 0.0,
    ) -> None:
        self.source = random.Random(seed)
        self.level, self.change = level, change
        self.seconds, self._start_seconds = 0.0, start_seconds
        self.window_seconds = window_seconds
        self.levels: list[float] = []
        self.started: list[str] = []
        self.windows: list[str] = []
        self.ends = False

    def start(self, place: SidePlace) -> SideProcess:
        self.started.append(place.name)
        self.seconds += self._start_seconds
        own = self.levels.pop(0) if self.levels else self.source.gauss(0, self.level)
        if place.name == "head":
            own += math.log1p(self.change)
        return cast("SideProcess", Process(self, place.name, own))

    def measurement(self) -> PairedMeasurement:
        names = ("base", "head")
        places = [SidePlace(name, name, "python", Path(), Path(), ()) for name in names]
        sides = SidePair(places, self.start)
        sides.open()
        for side in (BASE, HEAD):
            sides.come_to_check(side)
        return PairedMeasurement(sides, (READY, READY), lambda *_: None)


class Process:
    """A side whose windows vary about its level; nothing of it has to be stopped."""

    def __init__(self, machine: Machine, name: str, level: float) -> None:
        self._machine, self._name, self._level = machine, name, level
        self._child = SimpleNamespace(_stopped=True)
        self._folder = SimpleNamespace(remove=lambda: None)

    def come_to(self, index: int, earlier: Sequence[Any]) -> Ready | None:
        return None if self._machine.ends else READY

    def window(self, run: int) -> Window:
        self._machine.windows.append(self._name)
        self._machine.seconds += self._machine.window_seconds
        joules = math.exp(self._level + self._machine.source.gauss(0, NOISE))
        return Window("work", "counter", {"gpu:0": joules}, 1.0, 0.0, 0.0, tokens=1000)

    def dismiss(self) -> None:
        pass


def figure(side: int, windows: Sequence[Window]) -> float:
    del side
    return windows[0].joules_per_token


def gates(renewed: bool) -> list[tuple[PairedGate, Figure]]:
    return [(PairedGate(renewed=renewed), figure)]


def decided(machine: Machine, *, renews: bool = False) -> tuple[PairedMeasurement, Verdict]:
    measurement = machine.measurement()
    measurement.renewed = renews
    _, verdict = measurement.decide(gates)
    return measurement, verdict


def test_new_processes_for_each_pair_are_warmed_up_by_a_window_each() -> None:
    machine = Machine(1)
    measurement, verdict = decided(machine, renews=True)

    assert verdict.outcome == "within"
    pairs = len(verdict.windows)
    assert machine.started == pairs * ["base", "head"]
    # The first pair's were warmed up before; then head and base warm up, and ABBA goes on.
    assert machine.windows[:6] == ["base", "head", "head", "base", "head", "base"]
    assert machine.windows[6:10] == ["head", "base", "base", "head"]
    assert len(machine.windows) == 2 * pairs + 2 * (pairs - 1)
    assert measurement.notes(lambda verdict: verdict) == (
        "each pair was measured in new processes, since those start within a window",
    )


def test_what_passes_in_the_same_two_processes_needs_no_others() -> None:
    machine = Machine(2)
    measurement, verdict = decided(machine)

    assert verdict.outcome == "within"
    assert machine.started == ["base", "head"]
    assert (measurement.renewed, measurement.notes(lambda verdict: verdict)) == (False, ())
    assert measurement.between_processes(figure, 0.004) is None


def test_a_process_that_happens_to_cost_more_fails_nothing() -> None:
    machine = Machine(3)
    machine.levels = [0.0, 0.06]  # those of the first base and head alone
    measurement, verdict = decided(machine)

    assert verdict.outcome == "within"
    # The first two, and then new ones for each pair.
    assert len(machine.started) == 2 + 2 * len(verdict.windows)
    assert (measurement.renewed, measurement.processes) == (True, len(verdict.windows))
    (note,) = measurement.notes(lambda verdict: verdict)
    assert "processes of the same code differ and the first two found +6." in note
    assert measurement.between_processes(figure, None) == pytest.approx(0.0, abs=0.003)


def test_a_change_that_every_process_has_is_caught() -> None:
    machine = Machine(4, change=0.06)
    measurement, verdict = decided(machine)

    assert verdict.outcome == "regression"
    assert (measurement.renewed, measurement.processes) == (True, len(verdict.windows))
    assert machine.started == (1 + len(verdict.windows)) * ["base", "head"]
    assert verdict.change == pytest.approx(0.06, abs=0.005)
    assert measurement.between_processes(figure, None) == pytest.approx(0.0, abs=0.004)


def test_processes_of_two_levels_fail_nothing_by_what_three_pairs_of_them_find() -> None:
    """Three pairs of processes find the same dear head in one of 32 comparisons of this kind."""
    machine = Machine(9)
    machine.levels = [*3 * [0.0, 0.04], *5 * [0.0, 0.0, 0.0, 0.04, 0.04, 0.0, 0.04, 0.04]]
    measurement, verdict = decided(machine)

    assert verdict.outcome in ("within", "inconclusive")
    assert measurement.between_processes(figure, None) == pytest.approx(0.02, abs=0.008)


def test_what_no_process_explains_is_believed_at_once() -> None:
    machine = Machine(5, change=0.3)
    measurement, verdict = decided(machine)

    assert verdict.outcome == "regression"
    assert machine.started == ["base", "head"]
    assert not measurement.renewed


def test_what_informs_only_is_not_worth_new_processes() -> None:
    machine = Machine(6, change=0.06)
    measurement = machine.measurement()
    _, verdict = measurement.decide(gates, informs=True)

    assert verdict.outcome == "regression"
    assert machine.started == ["base", "head"]


def test_processes_that_differ_are_measured_by_how_much() -> None:
    found = []
    for seed in range(12):
        machine = Machine(seed, level=0.02, change=0.3)
        measurement, _ = decided(machine, renews=True)
        found.append(measurement.between_processes(figure, math.sqrt(2) * NOISE))
    assert all(one is not None for one in found)
    mean_square = sum((one or 0.0) ** 2 for one in found) / len(found)
    assert math.sqrt(mean_square) == pytest.approx(0.02, rel=0.35)
    assert measurement.between_processes(figure, None) is None


@pytest.mark.parametrize("level", [0.01, 0.02])
def test_levels_of_processes_fail_no_unchanged_code(level: float) -> None:
    outcomes = [decided(Machine(seed, level=level))[1].outcome for seed in range(60)]
    assert set(outcomes) <= {"within", "inconclusive"}


def test_a_side_that_comes_to_no_check_again_is_a_fault() -> None:
    machine = Machine(7)
    measurement = machine.measurement()
    measurement.renewed = True
    measurement.measure()
    machine.ends = True
    with pytest.raises(SideFaultError, match="it comes to no such check again"):
        measurement.measure()


@pytest.mark.parametrize(("start", "renewed"), [(0.5, True), (1.5, False)])
def test_processes_are_renewed_where_a_start_takes_no_longer_than_a_window(
    start: float, renewed: bool
) -> None:
    """Both start at the same time, and neither is there before the other's start is over."""
    machine = Machine(8, start_seconds=start, window_seconds=2.0)
    with real_time.simulated(lambda: machine.seconds, lambda _: None):
        measurement = machine.measurement()
        assert measurement.warm_up(4)
    assert measurement.renewed == renewed
