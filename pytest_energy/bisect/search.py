"""The search for the commits that a change comes from: what to probe next, and when to end.

Pure: probes are asked for and answered. Each gives the level of a commit against the good end.
Levels are fitted by steps; where one is, the middle of its gap is probed, until a gap is one
commit, which is then held against the commit before it. So a change that several commits share is
followed into both parts, a wrong answer is corrected by later ones, and commits without an answer
are stepped around.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_energy.bisect import (
    Conclusion,
    Culprit,
    Decision,
    Estimate,
    Finding,
    Outcome,
    Probe,
    Purpose,
    Told,
)
from pytest_energy.bisect.commits import Graph
from pytest_energy.bisect.levels import (
    FOLLOWED,
    Confirmed,
    Line,
    LogChange,
    change_of_all,
    log_change,
    pair_noise,
)
from pytest_energy.stats.distributions import NORMAL_95, relative
from pytest_energy.stats.steps import Step
from pytest_energy.units import LARGEST_LEVELS

CHANGE = 0.05
"""The change that is looked for unless a person says how large it is: what a gate must catch."""

MOST_PAIRS = 30
"""Of a probe that confirms; as many as a gate has."""
LEAST_PAIRS, MOST_PAIRS_OF_SEARCH = 3, 6
"""Of a probe that searches: it is for a level, and whether the gate is sure matters less.

The ends have as many, and more only if that tells nothing: what is named is confirmed in any case.
"""

_APART = 2.0
"""Standard errors from a step's middle to its sides that a probe's pairs are to give."""

_INSIDE: dict[Purpose, float] = {"ends": 0.15, "search": 0.15, "confirm": 0.25}
"""Share of a step by which a probe's levels lie inside of its two sides.

The farther inside, the more pairs it takes, and the better it is known by how much it changed.
"""
_LEAST_TOLERANCE = 0.001
_GOOD = 0.001
"""SD of the good end's own level, which is 0 by what it means; log scale."""
_CONFIRMATIONS = 3
_FAINT = 1.5
"""Standard errors below which a change that was not confirmed is taken for none."""
_SPARE_PROBES = 10
_PROBES_A_HALVING = 4


@dataclass(frozen=True)
class Asked:
    """What is looked for: a change (below 0: an improvement), and whether merges stay closed."""

    change: float = CHANGE
    first_parent: bool = False


class _GivenUpError(Exception):
    """The search cannot go on; its text is a sentence."""


class Search:
    """One search; `ask` answers a probe, whether it is measured now or was before."""

    def __init__(self, graph: Graph, ask: Callable[[Probe], Finding], asked: Asked) -> None:
        self._graph, self._ask, self._asked = graph, ask, asked
        self._sign = math.copysign(1.0, asked.change)
        self._findings: list[Finding] = []
        self._decisions: list[Decision] = []
        self._lines: list[Line] = []
        self._whole = 0.0
        self._most = _SPARE_PROBES + _PROBES_A_HALVING * len(graph.parents).bit_length()

    def run(self) -> Conclusion:
        """Probe until the commits are known, or until it is clear that they cannot be."""
        culprits = list[Culprit]()
        outcome: Outcome = "not reproduced"
        reason = "the change is not there"
        try:
            end = self._reproduced()
            if end is not None:
                culprits.extend(self._culprits_of(self._graph.main_line(), end))
                outcome, reason = _ending(culprits)
        except _GivenUpError as given_up:
            culprits = self._confirmed_so_far()
            outcome, reason = _ending(culprits, str(given_up))
        shown = self._estimate(self._findings[0])
        return Conclusion(outcome, reason, tuple(culprits), self._told(), shown)

    def _reproduced(self) -> Finding | None:
        """What was found of the bad end; None if the gate says that it is no worse."""
        high = self._sign * math.log1p(self._asked.change)
        bad, good = self._graph.bad, self._graph.good
        for pairs in (MOST_PAIRS_OF_SEARCH, MOST_PAIRS):
            probe = self._probe(bad, good, "ends", 0.0, high, pairs)
            finding = self._answer(probe)
            if finding.is_broken:
                self._decisions.append("broken")
                raise _GivenUpError(f"the ends cannot be compared: {finding.reason}")
            wanted = self._is_wanted(finding)
            self._decisions.append("regression" if wanted else "within")
            if finding.outcome != "inconclusive":
                break
        else:
            raise _GivenUpError("the ends cannot be told apart")
        if not wanted:
            return None
        self._whole = self._log(finding).value
        return finding

    def _culprits_of(self, commits: Sequence[str], end: Finding) -> Iterator[Culprit]:
        """The culprits on a line, each merge among them opened if that is asked for."""
        line = self._along(commits, end)
        for each in line.confirmed:
            culprit = self._culprit(line, each)
            opened = list[Culprit]()
            if culprit.is_one and self._graph.is_merge(culprit.commit):
                opened = [] if self._asked.first_parent else self._opened(culprit, each.step)
            yield from opened or [culprit]

    def _confirmed_so_far(self) -> list[Culprit]:
        """All culprits, but for merges whose branches tell more."""
        parts = [[self._culprit(line, each) for each in line.confirmed] for line in self._lines]
        opened = any(parts[1:])
        return [
            culprit
            for number, part in enumerate(parts)
            for culprit in part
            if number or not opened or not self._graph.is_merge(culprit.commit)
        ]

    def _culprit(self, line: Line, confirmed: Confirmed) -> Culprit:
        finding, among = confirmed.finding, line.among(confirmed.step)
        probe = finding.probe
        ends = probe.commit, probe.against
        alike = [f for f in self._findings if f.pairs and (f.probe.commit, f.probe.against) == ends]
        shown = change_of_all(alike, self._findings).shown
        return Culprit(*ends, shown, among, finding.explanation, finding.profile)

    def _opened(self, merge: Culprit, step: Step) -> list[Culprit]:
        """The culprits on the branch that a merge brought the change with; none if it is its own.

        A parent that has the change brought it, unless its branch began with it.
        """
        for parent in self._graph.parents[merge.commit]:
            commits = self._graph.branch(parent, merge.against)
            if not commits or parent == merge.against:
                continue
            tip = self._measured(parent, step)
            if not self._is_upper(tip, step):
                continue
            if commits[0] != self._graph.good:
                start = self._measured(commits[0], step)
                if start.is_broken or self._is_upper(start, step):
                    continue
            return list(self._culprits_of(commits, tip))
        return []

    def _is_upper(self, finding: Finding, step: Step) -> bool:
        if finding.is_broken:
            return False
        return self._log(finding).value > step.low + step.height / 2

    def _along(self, commits: Sequence[str], end: Finding) -> Line:
        """A line of commits, whose ends were measured, with its steps confirmed."""
        line = Line(commits, lambda: self._start(commits[0]), end, self._log, self._whole)
        self._lines.append(line)
        while True:
            step = line.next_step()
            if step is not None:
                place = line.middle(step)
                if place is None:
                    self._confirm(line, step)
                else:
                    line.add(place, self._measured(commits[place], step))
            elif (rest := line.doubted()) is not None:
                line.add(line.last, self._measured(commits[-1], rest, line.whole))
            elif not line.look_closer():
                return line

    def _start(self, commit: str) -> LogChange:
        """The level at which a line begins."""
        good = self._graph.good
        if commit == good:
            return LogChange(0.0, _GOOD**2)
        own = [f for f in self._findings if (f.probe.commit, f.probe.against) == (commit, good)]
        return self._log([finding for finding in own if finding.pairs][-1])

    def _measured(self, commit: str, step: Step, of: Step | None = None) -> Finding:
        """A commit, measured so that a step's two sides are told apart.

        What it says is told of that step, or of the one that it is a part `of`.
        """
        pairs = self._enough_pairs(step)
        probe = self._probe(commit, self._graph.good, "search", step.low, step.high, pairs)
        finding = self._answer(probe)
        decision: Decision = "broken"
        if not finding.is_broken:
            decision = _decision(self._log(finding), of or step)
        self._decisions.append(decision)
        return finding

    def _confirm(self, line: Line, step: Step) -> None:
        """Hold the commit after a step against the one before it.

        A change that is there and smaller than the step looked is asked for as it is.
        """
        commit, before = line.commits[step.after], line.commits[step.before]
        height = step.height
        for _ in range(_CONFIRMATIONS):
            probe = self._probe(commit, before, "confirm", 0.0, height, MOST_PAIRS)
            finding = self._answer(probe)
            if finding.is_broken:
                self._decisions.append("broken")
                raise _GivenUpError(
                    f"`{commit[:9]}` cannot be held against the commit before it: {finding.reason}"
                )
            is_there = self._is_wanted(finding)
            self._decisions.append("regression" if is_there else "within")
            change = self._log(finding)
            height = change.value
            faint = height < FOLLOWED * self._whole or height < _FAINT * change.variance**0.5
            if is_there or faint:
                break
        line.confirm(step, finding, is_there=is_there)

    def _is_wanted(self, finding: Finding) -> bool:
        """Whether the gate found a change in the direction that is looked for."""
        return finding.outcome == ("regression" if self._sign > 0 else "improvement")

    def _probe(
        self, commit: str, against: str, purpose: Purpose, low: float, high: float, pairs: int
    ) -> Probe:
        """An A/B whose levels lie inside of a step's two sides (log scale)."""
        inside = _INSIDE[purpose] * (high - low)
        tolerance = max(relative(max(low, 0.0) + inside), _LEAST_TOLERANCE)
        tolerance = min(tolerance, LARGEST_LEVELS["tolerance"])
        detect = max(relative(high - inside), 1.5 * tolerance)
        earlier = sum(
            (f.probe.commit, f.probe.against, f.probe.purpose) == (commit, against, purpose)
            for f in self._findings
        )
        return Probe(
            commit=commit,
            against=against,
            purpose=purpose,
            tolerance=tolerance,
            detect=min(detect, LARGEST_LEVELS["detect"]),
            most_pairs=pairs,
            attempt=earlier + 1,
        )

    def _enough_pairs(self, step: Step) -> int:
        """How many pairs tell the sides of a step apart, by the noise of those so far."""
        errors = 2 * _APART * pair_noise(self._findings) / step.height
        return min(max(math.ceil(errors**2), LEAST_PAIRS), MOST_PAIRS_OF_SEARCH)

    def _answer(self, probe: Probe) -> Finding:
        if len(self._findings) >= self._most:
            raise _GivenUpError(
                f"{self._most} probes, the most that so many commits may take, do not agree on "
                f"where the change is"
            )
        finding = self._ask(probe)
        self._findings.append(finding)
        return finding

    def _log(self, finding: Finding) -> LogChange:
        """A finding's change, upwards if it is in the direction that is looked for."""
        found = log_change(finding, self._findings)
        return LogChange(self._sign * found.value, found.variance)

    def _estimate(self, finding: Finding) -> Estimate | None:
        return log_change(finding, self._findings).shown if finding.pairs else None

    def _told(self) -> tuple[Told, ...]:
        each = zip(self._findings, self._decisions, strict=True)
        return tuple(Told(finding, said, self._estimate(finding)) for finding, said in each)


def _decision(level: LogChange, step: Step) -> Decision:
    """What a level is of a step, by its 95 % interval."""
    half = NORMAL_95 * level.variance**0.5
    is_low, is_high = level.value - half <= step.low, level.value + half >= step.high
    if is_low == is_high:
        return "between"
    return "within" if is_low else "regression"


def _ending(culprits: Sequence[Culprit], given_up: str = "") -> tuple[Outcome, str]:
    if any(culprit.is_one for culprit in culprits):
        return "found", given_up and f"there may be more: {given_up}"
    if culprits and not given_up:
        given_up = "the commits in which the change is cannot all be measured"
    nobody = "the change is there, and no single commit was confirmed to bring it"
    return "can't say", given_up or nobody
