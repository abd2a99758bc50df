"""Both sides of one test: resident at once, or taking turns where memory does not do for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pytest_energy.ab.messages import SideFaultError
from pytest_energy.ab.same_work import RunFacts
from pytest_energy.ab.side_place import SidePlace
from pytest_energy.ab.side_process import Ready, SideProcess
from pytest_energy.checks.measuring import Purchases
from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import PairedGate
from pytest_energy.metering import Window
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.steadiness import is_stationary

BASE, HEAD = 0, 1
TURN_WARM_UP = 4
"""Windows, at most, that warm a run up each time its side's turn begins, in a new process."""


class Bench:
    """The two sides, each started when it is first needed; `earlier` are the verdicts so far.

    `turns` is None while both are resident, else why they take turns: then one process lives at
    a time, and a side that is up again begins anew and warms up first.
    """

    def __init__(
        self,
        places: Sequence[SidePlace],
        start: Callable[[SidePlace], SideProcess],
        earlier: Sequence[VerdictRecord] = (),
    ) -> None:
        self.turns: str | None = None
        self.places = tuple(places)
        self.earlier = list(earlier)
        self._start = start
        self._live: dict[int, SideProcess] = {}

    def open(self) -> None:
        """Start both, so that they load at the same time."""
        for side in (BASE, HEAD):
            if side not in self._live and self.turns is None:
                self._live[side] = self._start(self.places[side])

    def come_to_check(self, side: int) -> Ready | None:
        """Bring a side to the first check without a verdict; None where its test has ended."""
        return self._up(side).come_to(len(self.earlier), self.earlier)

    def window(self, side: int, run: int) -> Window:
        """Buy one window of a side's run, from whichever process is to work now."""
        anew = side not in self._live
        process = self._up(side)
        ready = process.come_to(len(self.earlier), self.earlier)
        if anew and self.turns is not None and ready is not None:
            for each in range(len(ready.runs)):
                _warm_up(process, each)
        return process.window(run)

    def answer(self, record: VerdictRecord) -> None:
        """End the check at hand on both sides."""
        self.earlier.append(record)
        for process in self._live.values():
            process.answer(record)

    def take_turns(self, fault: SideFaultError) -> None:
        """From now on let one process live at a time."""
        self.close()
        self.turns = f"the sides took turns, since with both resident {fault}"

    def close(self) -> None:
        """End what still runs."""
        for process in self._live.values():
            process.dismiss()
        while self._live:
            self._live.popitem()[1].stop()

    def _up(self, side: int) -> SideProcess:
        if side not in self._live:
            if self.turns is not None:
                self.close()
            self._live[side] = self._start(self.places[side])
        return self._live[side]


def _warm_up(process: SideProcess, run: int) -> None:
    values: list[float] = []
    for _ in range(TURN_WARM_UP):
        window = process.window(run)
        if window.valid:
            values.append(window.joules_per_token)
        if is_stationary(values):
            return


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
