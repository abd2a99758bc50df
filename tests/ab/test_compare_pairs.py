"""The order in which both sides' windows are bought, and who judges them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from pytest_energy.ab.rounds import BASE, HEAD, Judge, Rounds, decide
from pytest_energy.checks.measuring import Purchases
from pytest_energy.gate.gates import PairedGate
from pytest_energy.metering import Window

bought: list[str] = []


@dataclass
class Side:
    """Sells windows whose J/token climb with each window that anyone sells."""

    id: str
    joules_per_token: float
    digest: str | None = None
    padding_overhead: float | None = None

    def window(self) -> Window:
        bought.append(self.id)
        joules = 1000 * self.joules_per_token * (1 + 0.004 * len(bought))
        return Window("work", "counter", {"gpu:0": joules}, 1.0, 0.0, 0.0, tokens=1000)


def rounds(base: float, head: float) -> Rounds:
    bought.clear()
    sides = (Side("A", base), Side("B", head))
    old, new = ([Purchases(side, lambda *_: None)] for side in sides)
    return Rounds((old, new))


def figure(side: int, windows: Sequence[Window]) -> float:
    del side
    return windows[0].joules_per_token


def test_abba_cancels_what_drifts_with_time() -> None:
    both = rounds(0.005, 0.005)

    judge, verdict = decide(both, [Judge(PairedGate(), figure)])

    assert "".join(bought).startswith("ABBAABBA")
    assert judge.gate.verdict is verdict
    assert verdict.outcome == "within"
    assert verdict.change == pytest.approx(0, abs=1e-3)
    assert verdict.drift == pytest.approx(0.004, abs=1e-3)
    assert both.pairs(figure)[1] == (both.windows(BASE, 1)[0].joules_per_token,
                                     both.windows(HEAD, 1)[0].joules_per_token)  # fmt: skip


def test_the_worst_of_two_figures_counts_and_rounds_bought_before_count_too() -> None:
    both = rounds(0.005, 0.005)
    both.buy()

    def heavier(side: int, windows: Sequence[Window]) -> float:
        return figure(side, windows) * (1.1 if side == HEAD else 1.0)

    judges = [Judge(PairedGate(), figure), Judge(PairedGate(), heavier)]
    judge, verdict = decide(both, judges)

    assert judge is judges[1]
    assert verdict.outcome == "regression"
    assert len(verdict.windows) == both.count
