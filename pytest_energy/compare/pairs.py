"""Interleaved rounds in the order ABBA, bought from two sides until every gate is sure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pytest_energy.compare.bench import BASE, HEAD, Bench
from pytest_energy.compare.sameness import RunFacts
from pytest_energy.evidence import Purchases
from pytest_energy.gate import PairedGate
from pytest_energy.metering import Window
from pytest_energy.verdict import Verdict

_WORST_FIRST = ("regression", "invalid", "improvement", "inconclusive", "within")


@dataclass(frozen=True)
class SideRun:
    """A run in a side's process, as `Purchases` buys from one that is at hand."""

    bench: Bench
    side: int
    number: int
    facts: RunFacts

    @property
    def id(self) -> str:
        """The run's name and its side's."""
        return f"{self.facts.id} ({self.bench.places[self.side].name})"

    @property
    def digest(self) -> str | None:
        """Workload digest."""
        return self.facts.digest

    @property
    def padding_overhead(self) -> float | None:
        """Processed tokens over real tokens of a window."""
        return self.facts.padding_overhead

    def window(self) -> Window:
        """Have the side do the work once, metered here."""
        return self.bench.window(self.side, self.number)


@dataclass(frozen=True)
class Judge:
    """A gate, and the figure it is given of a side: of `BASE` or `HEAD`, from its windows."""

    gate: PairedGate
    figure: Callable[[int, Sequence[Window]], float]

    def add(self, rounds: Rounds, index: int) -> None:
        """Show the gate one round, unless it is sure already."""
        if self.gate.verdict is None:
            base, head = (self.figure(s, rounds.windows(s, index)) for s in (BASE, HEAD))
            self.gate.add(base, head)


@dataclass
class Rounds:
    """Windows bought of both sides, one of each run a round: `purchases[side][run]`."""

    purchases: tuple[Sequence[Purchases], Sequence[Purchases]]
    count: int = field(default=0)

    def buy(self) -> None:
        """Buy one round: base first in the first, head first in the second, and so on."""
        # ABBA: what drifts with time weighs on both sides alike.
        order = (BASE, HEAD) if self.count % 2 == 0 else (HEAD, BASE)
        for side in order:
            for purchases in self.purchases[side]:
                purchases.buy()
        self.count += 1

    def windows(self, side: int, index: int) -> list[Window]:
        """The windows of a side's runs in one round."""
        return [purchases.windows[index] for purchases in self.purchases[side]]

    def pairs(self, figure: Callable[[int, Sequence[Window]], float]) -> list[tuple[float, float]]:
        """A figure of (base, head), round by round."""
        return [
            (figure(BASE, self.windows(BASE, i)), figure(HEAD, self.windows(HEAD, i)))
            for i in range(self.count)
        ]

    def rejected(self) -> list[Window]:
        """Windows that were no evidence, of both sides."""
        return [w for side in self.purchases for each in side for w in each.rejected]


def decide(rounds: Rounds, judges: Sequence[Judge]) -> tuple[Judge, Verdict]:
    """Buy rounds until every gate is sure; the worst verdict, and whose it is."""
    for index in range(rounds.count):
        for judge in judges:
            judge.add(rounds, index)
    while any(judge.gate.verdict is None for judge in judges):
        rounds.buy()
        for judge in judges:
            judge.add(rounds, rounds.count - 1)
    decided = [(judge, judge.gate.verdict) for judge in judges if judge.gate.verdict is not None]
    return min(decided, key=lambda each: _rank(each[1]))


def _rank(verdict: Verdict) -> tuple[int, float]:
    return _WORST_FIRST.index(verdict.outcome), -abs(verdict.change or 0.0)
