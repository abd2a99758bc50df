"""Both sides of one test, and interleaved rounds of their windows in the order ABBA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pytest_energy.ab.protocol import Ready, SideFaultError
from pytest_energy.ab.side_place import SidePlace
from pytest_energy.ab.side_process import GRACE_SECONDS, SideProcess, stop_sides
from pytest_energy.checks.measuring import Sampler
from pytest_energy.clocks import real_time
from pytest_energy.gate import Verdict
from pytest_energy.gate.carriers import ProfileChange, compared
from pytest_energy.gate.gates import PairedGate, worst
from pytest_energy.metering import Window
from pytest_energy.metering.profile import Profile
from pytest_energy.processes import uninterrupted
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.steadiness import is_stationary

BASE, HEAD = 0, 1

TURN_WARM_UP = 4
"""Windows, at most, that warm a run up each time its side's turn begins, in a new process."""


class SidePair:
    """The two sides, each started when it is first needed; `earlier` are the verdicts so far.

    `start_seconds` is the longest that a side took to come to a check, `window_seconds` that of
    the shortest window.

    `turns` is None while both are resident, else why they take turns. Then one process lives at
    a time, and a side that is up again begins anew and warms up first.
    """

    def __init__(
        self,
        places: Sequence[SidePlace],
        start: Callable[[SidePlace], SideProcess],
        earlier: Sequence[VerdictRecord] = (),
    ) -> None:
        self.turns: str | None = None
        self.start_seconds = self.window_seconds = 0.0
        self.places = tuple(places)
        self.earlier = list(earlier)
        self._start = start
        self._live: dict[int, SideProcess] = {}
        self._begun: dict[int, float] = {}

    def open(self) -> None:
        """Start both, so that they load at the same time."""
        for side in (BASE, HEAD):
            if side not in self._live and self.turns is None:
                self._begin(side)

    def come_to_check(self, side: int) -> Ready | None:
        """The first check without a verdict that a side comes to; None if its test has ended."""
        ready = self._up(side).come_to(len(self.earlier), self.earlier)
        if (begun := self._begun.pop(side, None)) is not None:
            self.start_seconds = max(self.start_seconds, real_time.monotonic() - begun)
        return ready

    def window(self, side: int, run: int) -> Window:
        """One window of a side's run, from whichever process is to work now."""
        anew = side not in self._live
        process = self._up(side)
        ready = process.come_to(len(self.earlier), self.earlier)
        if anew and self.turns is not None and ready is not None:
            for each in range(len(ready.runs)):
                _warm_up(process, each)
        begun = real_time.monotonic()
        window = process.window(run)
        took = real_time.monotonic() - begun
        self.window_seconds = min(self.window_seconds or took, took)
        return window

    def profile(self, side: int, run: int) -> Profile | None:
        """Where the time of a side's run goes; None if it computes nothing by torch.

        Where that fails, whatever it is, its process is ended: a later check begins anew.
        """
        try:
            process = self._up(side)
            process.come_to(len(self.earlier), self.earlier)
            return process.profile(run)
        except Exception:
            if (failed := self._live.pop(side, None)) is not None:
                stop_sides([failed], 0.0)
            raise

    def renew(self) -> None:
        """Start both sides anew; each of their runs is warmed up by a window that is no evidence.

        Both begin alike, so that what a first window has left to do weighs on both.
        """
        self.close()
        self.open()
        for side in (HEAD, BASE):
            ready = self.come_to_check(side)
            if ready is None:
                raise SideFaultError(self.places[side], "absent", "it comes to no such check again")
            for each in range(len(ready.runs)):
                self._live[side].window(each)

    def answer(self, record: VerdictRecord) -> None:
        """End the check at hand on both sides."""
        self.earlier.append(record)
        for process in self._live.values():
            process.answer(record)

    def take_turns(self, fault: SideFaultError) -> str:
        """Let one process live at a time from now on; says why."""
        self.close()
        self.turns = f"the sides took turns, since with both resident {fault}"
        return self.turns

    def close(self) -> None:
        """End what still runs."""
        self._stop(GRACE_SECONDS)

    def __enter__(self) -> SidePair:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Who breaks a run off, by Ctrl-C or by a job's end, has seconds.
        self._stop(GRACE_SECONDS if kind is None else 0.0)

    def _stop(self, grace_seconds: float) -> None:
        live, self._live = [*self._live.values()], {}
        stop_sides(live, grace_seconds)

    def _up(self, side: int) -> SideProcess:
        if side not in self._live:
            if self.turns is not None:
                self.close()
            self._begin(side)
        return self._live[side]

    def _begin(self, side: int) -> None:
        self._begun[side] = real_time.monotonic()
        with uninterrupted():  # a process that nobody has noted would outlive the run
            self._live[side] = self._start(self.places[side])


def _warm_up(process: SideProcess, run: int) -> None:
    values: list[float] = []
    for _ in range(TURN_WARM_UP):
        window = process.window(run)
        if window.valid:
            values.append(window.joules_per_token)
        if is_stationary(values):
            return


@dataclass(frozen=True)
class SideRun:
    """A run in a side's process, as a `Sampler` measures one that is at hand."""

    id: str
    digest: str | None
    padding_overhead: float | None
    window: Callable[[], Window]


Figure = Callable[[int, Sequence[Window]], float]
"""What a gate is given of a side, `BASE` or `HEAD`, from its windows of one round."""


class PairedSampler:
    """Windows of both sides, one of each run a round: `samplers[side][run]`.

    If it `renews`, each round but the first has new processes.
    """

    def __init__(
        self,
        sides: SidePair,
        ready: tuple[Ready, Ready],
        show: Callable[[str, int, Window], None],
        *,
        renews: bool = False,
    ) -> None:
        self.count = 0
        self.renews, self._sides = renews, sides
        self.samplers = [
            [
                Sampler(
                    SideRun(
                        f"{facts.id} ({sides.places[side].name})",
                        facts.digest,
                        facts.padding_overhead,
                        partial(sides.window, side, number),
                    ),
                    show,
                )
                for number, facts in enumerate(ready[side].runs)
            ]
            for side in (BASE, HEAD)
        ]

    def warm_up(self, limit: int) -> bool:
        """Whether all runs of both sides became steady within so many windows."""
        steady = [sampler.warm_up(limit) for side in self.samplers for sampler in side]
        return all(steady)

    def measure(self) -> None:
        """One round: base first in the first, head first in the second, and so on."""
        if self.renews and self.count:
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

    def decide(self, gates: Sequence[tuple[PairedGate, Figure]]) -> tuple[int, Verdict]:
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
