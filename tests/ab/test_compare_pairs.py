"""The order in which both sides' windows are measured, and which gate's verdict counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_energy.ab.measurement import PairedMeasurement
from pytest_energy.ab.protocol import Ready, RunFacts
from pytest_energy.ab.side_place import SidePlace
from pytest_energy.ab.sides import BASE, HEAD, SidePair, SideProcess
from pytest_energy.gate.gates import PairedGate
from pytest_energy.metering import Window

measured: list[str] = []

READY = Ready(0, "joules_per_token", None, (RunFacts("mine", None, None, 1000, None, {}),), {})


class Process:
    """A side whose J/token climb with each window that either side measures."""

    def __init__(self, name: str, joules_per_token: float) -> None:
        self._name, self._joules_per_token = name, joules_per_token

    def come_to(self, index: int, earlier: Sequence[Any]) -> Ready:
        return READY

    def window(self, run: int) -> Window:
        measured.append(self._name)
        joules = 1000 * self._joules_per_token * (1 + 0.004 * len(measured))
        return Window("work", "counter", {"gpu:0": joules}, 1.0, 0.0, 0.0, tokens=1000)


def rounds(base: float, head: float) -> PairedMeasurement:
    measured.clear()
    costs = {"A": base, "B": head}
    places = [SidePlace(name, name, "python", Path(), Path(), ()) for name in costs]

    def start(place: SidePlace) -> SideProcess:
        return cast("SideProcess", Process(place.name, costs[place.name]))

    return PairedMeasurement(SidePair(places, start), (READY, READY), lambda *_: None)


def figure(side: int, windows: Sequence[Window]) -> float:
    del side
    return windows[0].joules_per_token


def test_abba_cancels_what_drifts_with_time() -> None:
    both = rounds(0.005, 0.005)

    number, verdict = both.decide(lambda _: [(PairedGate(), figure)])

    assert "".join(measured).startswith("ABBAABBA")
    assert number == 0
    assert verdict.outcome == "within"
    assert verdict.change == pytest.approx(0, abs=1e-3)
    assert verdict.drift == pytest.approx(0.004, abs=1e-3)
    assert both.pairs(figure)[1] == (both.round(BASE, 1)[0].joules_per_token,
                                     both.round(HEAD, 1)[0].joules_per_token)  # fmt: skip


def test_the_worst_of_two_figures_counts_and_rounds_measured_before_count_too() -> None:
    both = rounds(0.005, 0.005)
    both.measure()

    def heavier(side: int, windows: Sequence[Window]) -> float:
        return figure(side, windows) * (1.1 if side == HEAD else 1.0)

    gates = [(PairedGate(), figure), (PairedGate(), heavier)]
    number, verdict = both.decide(lambda _: gates, informs=True)

    assert number == 1
    assert verdict.outcome == "regression"
    assert len(verdict.windows) == both.count
