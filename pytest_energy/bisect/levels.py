"""What probes say of a change, and the levels of a line of commits: which step to look into next.

Changes are means of log ratios, with the noise that all probes share. All of it is pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from pytest_energy.bisect import Estimate, Finding
from pytest_energy.stats.distributions import NORMAL_95, heavy_tail, relative
from pytest_energy.stats.noise import SessionStats
from pytest_energy.stats.steadiness import autocorrelation
from pytest_energy.stats.steps import PENALTY, Level, Step, fit_steps, joined

_WORTH = 10.0
"""Pairs that what other probes say of the noise counts for at most."""
_INFLATION = 1.25
"""Of the variance of a mean of interleaved pairs, over all autocorrelations of windows."""
_FLOOR = 0.0015
"""SD between two processes of the same code, which more pairs do not average out; log scale."""
_LEAST_DEGREES = 4.0
_UNKNOWN = 0.02**2
"""Variance of a log ratio if no two pairs say anything."""


@dataclass(frozen=True)
class LogChange:
    """A change on the log scale, and its variance."""

    value: float
    variance: float

    def at(self, place: int) -> Level:
        """The change as a level along a line."""
        return Level(place, self.value, self.variance)

    @property
    def shown(self) -> Estimate:
        """The change with its 95 % interval, relative."""
        half = NORMAL_95 * self.variance**0.5
        low, high = relative(self.value - half), relative(self.value + half)
        return Estimate(relative(self.value), low, high)


def log_change(finding: Finding, others: Sequence[Finding]) -> LogChange:
    """The change that a probe with pairs found; `others` know the noise as well."""
    logs = _log_ratios(finding)
    squares, degrees = _squares(logs), len(logs) - 1.0
    rest = [_log_ratios(other) for other in others if other is not finding and other.pairs]
    known = float(sum(len(each) - 1 for each in rest))
    if known:
        worth = min(_WORTH, known)
        squares += worth * sum(map(_squares, rest)) / known
        degrees += worth
    single = squares / degrees * heavy_tail(max(degrees, _LEAST_DEGREES)) if degrees else _UNKNOWN
    return LogChange(fmean(logs), single * _INFLATION / len(logs) + _FLOOR**2)


def change_of_all(alike: Sequence[Finding], others: Sequence[Finding]) -> LogChange:
    """The change that probes of the same two commits found together, each by its weight.

    If they differ by more than their errors, those are too small, and the interval is wider.
    """
    each = [log_change(finding, others) for finding in alike]
    (mean,) = joined([change.at(0) for change in each])
    apart = sum((change.value - mean.value) ** 2 / change.variance for change in each)
    return LogChange(mean.value, mean.variance * max(1.0, apart / max(len(each) - 1, 1)))


def pair_noise(findings: Sequence[Finding]) -> float:
    """SD of a pair's log ratio, as all probes know it together."""
    logs = [_log_ratios(finding) for finding in findings if len(finding.pairs) > 1]
    degrees = sum(len(each) - 1 for each in logs)
    return math.sqrt(sum(map(_squares, logs)) / degrees) if degrees else _UNKNOWN**0.5


def noise_sessions(findings: Sequence[Finding]) -> list[SessionStats]:
    """Probes as sessions that tell a gate the noise of windows.

    Windows are in the order in which they were measured, ABBA, less what differs between the
    sides, which costs a degree of freedom.
    """
    return [stats for finding in findings if (stats := _session(finding)) is not None]


def _session(finding: Finding) -> SessionStats | None:
    if len(finding.pairs) < 3:
        return None
    base, head = zip(*finding.pairs, strict=True)
    centres = [fmean(map(math.log, side)) for side in (base, head)]
    logs = []
    for number, pair in enumerate(finding.pairs):
        own = [math.log(value) - centre for value, centre in zip(pair, centres, strict=True)]
        logs += own if number % 2 == 0 else own[::-1]
    count = len(logs) - 1
    variation = math.sqrt(math.expm1(_squares(logs) / (count - 1)))
    return SessionStats(math.exp(centres[0]), variation, count, autocorrelation(logs))


def _log_ratios(finding: Finding) -> list[float]:
    return [math.log(head / base) for base, head in finding.pairs]


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)


FOLLOWED = 0.2
"""Share of the whole change that a step has at least which is followed."""

_DOUBTED = 0.5
"""Share of the whole that one more probe of the end tells from all of it, at least."""

_MISSING = 1.0
"""Standard errors of what confirmed steps leave of the whole, beyond which fainter ones count."""

_PENALTIES = (PENALTY, 4.0, 1.0)
"""Of a step in the fit, from the usual one to that of faint ones; what is named is confirmed."""


@dataclass(frozen=True)
class Confirmed:
    """A step, and what a probe of the commit after it against the one before it found."""

    step: Step
    finding: Finding


class Line:
    """Levels along `commits`, from the fit of all that was measured so far.

    `changes` gives a finding's change, which counts from the good end and upwards if it is what is
    looked for. `first` is the level at which the line begins, `whole` that of the bad end.
    """

    def __init__(
        self,
        commits: Sequence[str],
        first: Callable[[], LogChange],
        end: Finding,
        changes: Callable[[Finding], LogChange],
        whole: float,
    ) -> None:
        self.commits = tuple(commits)
        self.last = len(commits) - 1
        self._first, self._changes, self._whole = first, changes, whole
        self._measured = [(self.last, end)]
        self._unmeasurable: set[int] = set()
        self._found: dict[tuple[int, int], Confirmed] = {}
        self._refuted: dict[tuple[int, int], list[Confirmed]] = {}
        self._asked_anew = False
        self._penalty, *self._fainter = _PENALTIES

    @property
    def confirmed(self) -> list[Confirmed]:
        """The confirmed steps, in order."""
        return [self._found[gap] for gap in sorted(self._found)]

    def add(self, place: int, finding: Finding) -> None:
        """Take in what was found of the commit at a place, even that it says nothing."""
        if finding.is_broken:
            self._unmeasurable.add(place)
        else:
            self._measured.append((place, finding))

    def confirm(self, step: Step, finding: Finding, *, is_there: bool) -> None:
        """Take in what a probe of a step alone has found, and whether the step is there."""
        if is_there:
            self._found[step.gap] = Confirmed(step, finding)
        else:
            self._refuted.setdefault(step.gap, []).append(Confirmed(step, finding))

    def next_step(self) -> Step | None:
        """The highest step that is worth following and not confirmed yet."""
        steps = fit_steps(self._levels(), self._costs(), self._penalty)
        worth = (each for each in steps if each.gap not in self._found and self._is_worth(each))
        return max(worth, key=lambda each: each.height, default=None)

    def middle(self, step: Step) -> int | None:
        """The place nearest to the middle of a step's gap; None if none in it can be measured."""
        inner = [p for p in range(step.before + 1, step.after) if p not in self._unmeasurable]
        middle = (step.before + step.after) / 2
        return min(inner, key=lambda place: abs(place - middle), default=None)

    def among(self, step: Step) -> tuple[str, ...]:
        """The commits between which a step lies."""
        return self.commits[step.before + 1 : step.after + 1]

    def doubted(self) -> Step | None:
        """What confirmed steps leave of the change, as a step to hold the end against; once.

        It costs one probe: what is left after one of two culprits must not be overlooked. Of a
        line of one commit nothing is.
        """
        if self._asked_anew or not self._found or self.last == 1:
            return None
        self._asked_anew = True
        rest = self._rest()
        least = rest.high - _DOUBTED * self._whole
        return replace(rest, lower=replace(rest.lower, value=min(rest.low, least)))

    @property
    def whole(self) -> Step:
        """All of the change, from the beginning of the line to its end."""
        return replace(self._rest(), lower=self._first().at(0))

    def look_closer(self) -> bool:
        """Follow fainter steps from now on, if so much of the change is left; else False."""
        rest = self._rest()
        error = (rest.lower.variance + rest.upper.variance) ** 0.5
        is_left = self._is_worth(rest) and rest.height > _MISSING * error
        if not self._fainter or not is_left:
            return False
        self._penalty = self._fainter.pop(0)
        return True

    def _costs(self) -> dict[tuple[int, int], float]:
        """What steps cost the fit where they were looked at: nothing, or how unlikely they are."""
        refuted = {
            gap: self._penalty + sum(map(self._against, tries))
            for gap, tries in self._refuted.items()
        }
        return {**refuted, **dict.fromkeys(self._found, 0.0)}

    def _against(self, refuted: Confirmed) -> float:
        """How far a finding is from a step of the height that was looked for, squared errors."""
        change = self._changes(refuted.finding)
        return max(refuted.step.height - change.value, 0.0) ** 2 / change.variance

    def _rest(self) -> Step:
        """From the sum of the confirmed steps to the level of the end."""
        parts = [self._first(), *(self._changes(each.finding) for each in self._found.values())]
        value, variance = sum(p.value for p in parts), sum(p.variance for p in parts)
        at_end = [self._changes(f).at(p) for p, f in self._measured if p == self.last]
        return Step(0, self.last, Level(0, value, variance), joined(at_end)[0])

    def _is_worth(self, step: Step) -> bool:
        return step.height >= FOLLOWED * self._whole

    def _levels(self) -> list[Level]:
        measured = [self._changes(finding).at(place) for place, finding in self._measured]
        confirmed = [level for each in self._found.values() for level in self._beside(each)]
        return [self._first().at(0), *measured, *confirmed]

    def _beside(self, confirmed: Confirmed) -> list[Level]:
        """What a confirmed step says of the levels beside it: each from the other one.

        They say the same twice, so each counts for half.
        """
        step, height = confirmed.step, self._changes(confirmed.finding)
        below = 2 * (step.upper.variance + height.variance)
        above = 2 * (step.lower.variance + height.variance)
        return [
            Level(step.before, step.high - height.value, below),
            Level(step.after, step.low + height.value, above),
        ]
