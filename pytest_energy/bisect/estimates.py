"""What probes say of a change: means of log ratios, with the noise that all probes share; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_energy.bisect import Estimate, Finding
from pytest_energy.stats.distributions import NORMAL_95, heavy_tail, relative
from pytest_energy.stats.noise import SessionStats
from pytest_energy.stats.steadiness import autocorrelation

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
