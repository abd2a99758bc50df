"""Interleaved rounds of both sides' windows until the gates are sure, and what processes add."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pytest_energy.ab.protocol import Ready
from pytest_energy.ab.sides import BASE, HEAD, SidePair
from pytest_energy.checks.measuring import Sampler
from pytest_energy.documents import parse_json
from pytest_energy.errors import EnergyError
from pytest_energy.files import read_bytes
from pytest_energy.gate import Verdict
from pytest_energy.gate.carriers import ProfileChange, compared
from pytest_energy.gate.gates import PairedGate, worst
from pytest_energy.metering import Window
from pytest_energy.metering.profile import Profile
from pytest_energy.outcomes import MOVED
from pytest_energy.results.json_codec import as_json, from_json
from pytest_energy.stats.distributions import scatter
from pytest_energy.stats.noise import SessionStats
from pytest_energy.units import difference

NOISE_VARIABLE = "PYTEST_ENERGY_KNOWN_NOISE"
"""Where a program that compares names a file of sessions that tell the noise of windows.

It is read if no baseline tells it.
"""
_MOST_BYTES = 1 << 20

MOST_OF_PROCESSES = 0.1
"""What two processes of the same code are not taken to differ by, relative."""

_LEAST_PAIRS = 2  # that no scatter can be told of

Figure = Callable[[int, Sequence[Window]], float]
"""What a gate is given of a side, `BASE` or `HEAD`, from its windows of one round."""

Gates = Callable[[bool], Sequence[tuple[PairedGate, Figure]]]
"""New gates, each with its figure; told whether each pair comes from new processes."""


@dataclass(frozen=True)
class SideRun:
    """A run in a side's process, as a `Sampler` measures one that is at hand."""

    id: str
    digest: str | None
    padding_overhead: float | None
    window: Callable[[], Window]


class PairedMeasurement:
    """Rounds of both sides' windows, one of each run: `samplers[side][run]`.

    They are of the same two processes, or of new ones for each round (`renewed`). Two processes of
    the same code differ, by what they were given of memory or chose of kernels, and pairs of the
    same two say nothing of that. So each round has new ones if a side starts within its windows of
    one round. If that takes longer, the same two may pass a figure. Of what they would fail, new
    ones for each round decide.
    """

    def __init__(
        self,
        sides: SidePair,
        ready: tuple[Ready, Ready],
        show: Callable[[str, int, Window], None],
    ) -> None:
        self.count, self.renewed = 0, False
        self._sides, self._ready, self._show = sides, ready, show
        self._doubted: tuple[Verdict, float] | None = None
        """What the same two processes would have failed, and the SD of their pairs."""
        self.samplers = self._new_samplers()

    def warm_up(self, limit: int) -> bool:
        """Whether all runs of both sides became steady within so many windows."""
        steady = [sampler.warm_up(limit) for side in self.samplers for sampler in side]
        sides = self._sides
        round_seconds = sides.window_seconds * len(self._ready[HEAD].runs)
        self.renewed = sides.turns is None and sides.start_seconds <= round_seconds
        return all(steady)

    def measure(self) -> None:
        """One round: base first in the first, head first in the second, and so on."""
        if self.renewed and self.count:
            self._sides.renew()
        # ABBA: what drifts with time weighs on both sides alike.
        for side in (BASE, HEAD) if self.count % 2 == 0 else (HEAD, BASE):
            for sampler in self.samplers[side]:
                sampler.measure()
        self.count += 1

    def round(self, side: int, index: int) -> list[Window]:
        """The windows of a side's runs in one round."""
        return [sampler.windows[index] for sampler in self.samplers[side]]

    def windows(self, side: int, run: int = 0) -> list[Window]:
        """All windows of a side's run."""
        return self.samplers[side][run].windows[: self.count]

    def pairs(self, figure: Figure) -> list[tuple[float, float]]:
        """A figure of (base, head), round by round."""
        return [self._pair(figure, index) for index in range(self.count)]

    def rejected(self) -> list[Window]:
        """Windows that were no evidence, of both sides."""
        return [w for side in self.samplers for each in side for w in each.rejected]

    @property
    def processes(self) -> int:
        """How many pairs of processes the pairs that decide come from."""
        return self.count if self.renewed else 1

    def decide(self, gates: Gates, *, informs: bool = False) -> tuple[int, Verdict]:
        """The verdict that counts, and the number of its gate; one that `informs` fails nothing."""
        made = gates(self.renewed)
        number, verdict = self._worst(made)
        if informs or self.renewed or self._sides.turns is not None or not _in_doubt(verdict):
            return number, verdict
        self._doubted = verdict, self._noise(made[number][1])
        self._sides.renew()
        self.count, self.renewed, self.samplers = 0, True, self._new_samplers()
        return self._worst(gates(True))

    def between_processes(self, figure: Figure, windows: float | None) -> float | None:
        """What processes of the same code differ by (SD, relative), if that can be told.

        `windows` is the SD of pairs of the same two processes, if a baseline knows it.
        """
        if self._doubted is not None:
            _, windows = self._doubted
        if not self.renewed or windows is None or self.count <= _LEAST_PAIRS:
            return None
        beyond = self._noise(figure) ** 2 - windows**2
        return math.sqrt(max(beyond, 0.0) / 2)

    def notes(self, shown: Callable[[Verdict], Verdict]) -> tuple[str, ...]:
        """What to know of the processes, a sentence each; `shown` gives a verdict its unit."""
        if self._sides.turns is not None:
            return (self._sides.turns,)
        if self._doubted is not None:
            verdict = shown(self._doubted[0])
            found = difference(verdict.change or 0.0, verdict.unit)
            return (
                f"each pair was measured in new processes, since processes of the same code differ "
                f"and the first two found {found}",
            )
        if self.renewed:
            return ("each pair was measured in new processes, since those start within a window",)
        return ()

    def _worst(self, gates: Sequence[tuple[PairedGate, Figure]]) -> tuple[int, Verdict]:
        """The worst verdict, and the number of its gate; measures until every gate is sure."""
        index = 0
        while any(gate.verdict is None for gate, _ in gates):
            if index == self.count:
                self.measure()
            for gate, figure in gates:
                if gate.verdict is None:
                    gate.add(*self._pair(figure, index))
            index += 1
        verdicts = [gate.verdict for gate, _ in gates if gate.verdict is not None]
        verdict = worst(verdicts)
        return verdicts.index(verdict), verdict

    def _pair(self, figure: Figure, index: int) -> tuple[float, float]:
        return figure(BASE, self.round(BASE, index)), figure(HEAD, self.round(HEAD, index))

    def _noise(self, figure: Figure) -> float:
        return scatter([math.log(head / base) for base, head in self.pairs(figure)])

    def _new_samplers(self) -> list[list[Sampler]]:
        return [
            [
                Sampler(
                    SideRun(
                        f"{facts.id} ({self._sides.places[side].name})",
                        facts.digest,
                        facts.padding_overhead,
                        partial(self._sides.window, side, number),
                    ),
                    self._show,
                )
                for number, facts in enumerate(self._ready[side].runs)
            ]
            for side in (BASE, HEAD)
        ]


def _in_doubt(verdict: Verdict) -> bool:
    """Whether a verdict would fail what two processes may differ by."""
    if verdict.outcome not in MOVED or verdict.interval is None:
        return False
    return min(map(abs, verdict.interval)) < verdict.tolerance + MOST_OF_PROCESSES


_IN_TURN = (BASE, HEAD, HEAD, BASE, BASE, HEAD)


def profile_change(sides: SidePair, run: int, change: float) -> ProfileChange | None:
    """What carries the `change` (relative) of a run; None if a side computes nothing by torch.

    Of each side's passes the fastest counts: what disturbs a pass only makes it slower. Raises
    `EnergyError` if a side cannot go on.
    """
    found: tuple[list[Profile], list[Profile]] = ([], [])
    # Where one process lives at a time, each begins once.
    for side in sorted(_IN_TURN) if sides.turns is not None else _IN_TURN:
        profile = sides.profile(side, run)
        if profile is None:
            return None
        found[side].append(profile)
    base, head = (min(each, key=lambda profile: profile.seconds) for each in found)
    return compared(base, head, change)


def known_noise() -> list[SessionStats] | None:
    """What the caller knows of the noise of windows; None if it knows nothing."""
    path = os.environ.get(NOISE_VARIABLE)
    if not path:
        return None
    try:
        rows = parse_json(read_bytes(Path(path), _MOST_BYTES))
        return [from_json(SessionStats, row) for row in rows] or None
    except (EnergyError, ValueError, TypeError):
        return None  # it only spares windows


def noise_text(sessions: Sequence[SessionStats]) -> str:
    """What the file of `NOISE_VARIABLE` holds."""
    return json.dumps([as_json(session) for session in sessions]) + "\n"
