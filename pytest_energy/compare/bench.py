"""Both sides of one test: resident at once, or taking turns where memory does not do for both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_energy.compare.faults import SideFaultError
from pytest_energy.compare.places import Place
from pytest_energy.compare.sides import Ready, Side
from pytest_energy.metering import Window
from pytest_energy.records import VerdictRecord
from pytest_energy.stationarity import is_stationary

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
        places: Sequence[Place],
        start: Callable[[Place], Side],
        earlier: Sequence[VerdictRecord] = (),
    ) -> None:
        self.turns: str | None = None
        self.places = tuple(places)
        self.earlier = list(earlier)
        self._start = start
        self._live: dict[int, Side] = {}

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

    def _up(self, side: int) -> Side:
        if side not in self._live:
            if self.turns is not None:
                self.close()
            self._live[side] = self._start(self.places[side])
        return self._live[side]


def _warm_up(process: Side, run: int) -> None:
    values: list[float] = []
    for _ in range(TURN_WARM_UP):
        window = process.window(run)
        if window.valid:
            values.append(window.joules_per_token)
        if is_stationary(values):
            return
