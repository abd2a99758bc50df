"""Pairs of both sides until their gates are sure, and what processes themselves have in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_energy.ab.protocol import Ready
from pytest_energy.ab.rounds import HEAD, Figure, PairedSampler, SidePair
from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import PairedGate
from pytest_energy.gate.sentences import compared
from pytest_energy.metering import Window
from pytest_energy.outcomes import MOVED
from pytest_energy.stats.interleaved import scatter

MOST_OF_PROCESSES = 0.1
"""What two processes of the same code are not taken to differ by, relative."""

Gates = Callable[[bool], Sequence[tuple[PairedGate, Figure]]]
"""New gates, each with its figure; told whether each pair comes from new processes."""


@dataclass(frozen=True)
class _First:
    """What the first two processes said, and the SD of their pairs if there were enough."""

    verdict: Verdict
    noise: float | None


class PairedMeasurement:
    """Rounds of both sides' windows: of the same two processes, or of new ones for each round.

    Two processes of the same code differ, by what they were given of memory or chose of kernels,
    and pairs of the same two say nothing of that. So each round has new ones where a side starts
    within its windows of one round. Where that takes longer, the same two may pass a figure, but
    what they would fail is measured anew, in new ones for each round, and those decide.
    """

    def __init__(
        self,
        sides: SidePair,
        ready: tuple[Ready, Ready],
        show: Callable[[str, int, Window], None],
    ) -> None:
        self._sides, self._ready, self._show = sides, ready, show
        self._first: _First | None = None
        self.sampler = PairedSampler(sides, ready, show)

    @property
    def renewed(self) -> bool:
        """Whether each pair comes from new processes."""
        return self.sampler.renews

    def warm_up(self, limit: int) -> bool:
        """Whether both sides became steady within so many windows."""
        steady = self.sampler.warm_up(limit)
        sides = self._sides
        round_seconds = sides.window_seconds * len(self._ready[HEAD].runs)
        self.sampler.renews = sides.turns is None and sides.start_seconds <= round_seconds
        return steady

    def decide(self, gates: Gates, *, informs: bool = False) -> tuple[int, Verdict]:
        """The verdict that counts, and the number of its gate; one that `informs` fails nothing."""
        made = gates(self.renewed)
        number, verdict = self.sampler.decide(made)
        if informs or self.renewed or self._sides.turns is not None or not _in_doubt(verdict):
            return number, verdict
        self._first = _First(verdict, self._noise(made[number][1]))
        self._sides.renew()
        self.sampler = PairedSampler(self._sides, self._ready, self._show, renews=True)
        return self.sampler.decide(gates(True))

    def between_processes(self, figure: Figure, windows: float | None) -> float | None:
        """What processes differ by (SD, relative): by what new ones for each pair vary more.

        `windows` is the SD of pairs of the same two processes, if a baseline knows it. None where
        either is not known.
        """
        known = windows if self._first is None else self._first.noise
        noise = self._noise(figure)
        if not self.renewed or noise is None or known is None:
            return None
        return math.sqrt(max(noise**2 - known**2, 0.0) / 2)

    def notes(self, shown: Callable[[Verdict], Verdict]) -> tuple[str, ...]:
        """What to know of the processes, a sentence each; `shown` gives a verdict its unit."""
        turns = self._sides.turns
        if turns is not None:
            return (turns,)
        if self._first is not None:
            first = shown(self._first.verdict)
            found = compared(
                first.value or 0.0, first.baseline or 0.0, first.change or 0.0, first.interval,
                first.unit,
            )  # fmt: skip
            return (
                f"the first two processes said {found}; since processes differ, each pair was then "
                f"measured in new ones",
            )
        if self.renewed:
            return ("each pair was measured in new processes, since those start within a window",)
        return ()

    def _noise(self, figure: Figure) -> float | None:
        logs = [math.log(head / base) for base, head in self.sampler.pairs(figure)]
        return scatter(logs) if len(logs) > 2 else None


def _in_doubt(verdict: Verdict) -> bool:
    """Whether a verdict would fail what two processes may differ by."""
    if verdict.outcome not in MOVED or verdict.interval is None:
        return False
    return min(map(abs, verdict.interval)) < verdict.tolerance + MOST_OF_PROCESSES
