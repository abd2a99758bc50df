"""The sequential test, and how the false failures that a run allows itself are shared out."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_energy.errors import EnergyError
from pytest_energy.outcomes import Outcome
from pytest_energy.stats.distributions import (
    effective_share,
    f_quantile,
    heavy_tail,
    moments,
    variance_inflation,
)
from pytest_energy.stats.noise import Spread, limited

ERROR_BUDGET = 0.01
"""False failures that one run allows itself; all its checks share it."""

FIRST_CHECK = 0.9
"""Of a test's share, what its first check takes; most tests make no other."""


class ErrorBudget:
    """Hands out `alpha`, check by check, so that a run's checks never take more than there is.

    Tests are counted before they run, and none says beforehand how often it checks: each gets an
    equal share. Its first check takes nine tenths of that, each further one half of what is left.
    """

    def __init__(self, tests: int = 1) -> None:
        self._share = ERROR_BUDGET / max(1, tests)
        self._checks: Counter[str] = Counter()

    def take(self, test: str) -> float:
        """The next check's probability of a false failure at most."""
        self._checks[test] += 1
        return self.taken(test)

    def taken(self, test: str) -> float:
        """What the test's latest check took."""
        made = self._checks[test] - 1
        if made <= 0:
            return FIRST_CHECK * self._share
        return (1 - FIRST_CHECK) * 2.0**-made * self._share


LEAST_VALUES = 3
"""Windows, or pairs, before which nothing is decided."""

_PAIRS_ALONE = 4  # the least that a variance of their own can be trusted from
_PRIOR_WORTH = 10.0  # values that the baseline's within-session variance counts for
_STOP_SHARE = 0.21  # of B: what more windows could still take off is no longer worth them
_LAST_LOOK = 1 / 3  # height of the bounds at the last pair, if the pairs resolve the levels:
_RESOLVED = 4.0  # standard deviations of the mean between the two levels
_WORST_INFLATION = 1.25  # of a mean of interleaved pairs, over all autocorrelations
_PAIR_FLOOR = 0.001**2
_USUAL_NOISE = 0.999
_LIKELY_NOISE = 0.95  # beyond which a session's own variance counts in place of the baseline's
_PATIENCE = 10  # windows before noise is held against a session: one outlier in three is chance
_OUTLYING_SHARE = 0.3  # of windows: where more lie far out, it is no outlier but another noise
_LEAST_DEGREES = 2.5  # so that few windows have a tail that is finite


class SequentialTest:
    """Wald's sequential test of two levels of change, relative to `base` and on the log scale.

    The evidence is the log likelihood ratio of `caught` against `allowed`; at `fails_at` or more
    the figure has changed, at `passes_at` or less it has not. `EnergyError` if levels make no test.
    """

    def __init__(
        self, tolerance: float, detect: float, alpha: float, beta: float, base: float = 1.0
    ) -> None:
        if not (math.isfinite(detect) and 0 <= tolerance < detect):
            raise EnergyError(
                f"`detect` ({detect:g}) must be above `tolerance` ({tolerance:g}), and neither "
                f"negative; raise the one or lower the other"
            )
        for name, budget in (("alpha", alpha), ("beta", beta)):
            if not 0 < budget < 0.5:
                raise EnergyError(f"`{name}` is {budget:g}; choose an error rate from 0 to 0.5")
        self.tolerance, self.detect = tolerance, detect
        self.allowed, self.caught = math.log1p(tolerance / base), math.log1p(detect / base)
        self.fails_at = math.log((1 - beta) / alpha)
        self.passes_at = -math.log((1 - alpha) / beta)

    def evidence(self, change: float, variance: float, tail: float = 0.0) -> float:
        """The evidence of a change in either direction; `tail` is variance that may feign one."""
        beyond = abs(change) - (self.allowed + self.caught) / 2
        return (self.caught - self.allowed) * beyond / (variance + (tail if beyond > 0 else 0.0))

    def edges(
        self, variance: float, height: float = 1.0, tail: float = 0.0
    ) -> tuple[float | None, float]:
        """The changes up to which a figure is within (None: never), and from which it has moved."""
        middle, gap = (self.allowed + self.caught) / 2, self.caught - self.allowed
        within = middle + height * self.passes_at * variance / gap
        moved = middle + height * self.fails_at * (variance + tail) / gap
        return within if within >= 0 else None, moved

    def decide(self, change: float, evidence: float, height: float = 1.0) -> Outcome | None:
        """The outcome that the evidence suffices for; `height` lowers both bounds."""
        if evidence >= height * self.fails_at:
            return "regression" if change > 0 else "improvement"
        return "within" if evidence <= height * self.passes_at else None


@dataclass(frozen=True)
class Look:
    """The test after one more value, on the log scale; `height` is the bounds' share of usual."""

    change: float
    variance: float
    evidence: float
    outcome: Outcome | None
    exhausted: bool = False
    noise: float | None = None
    height: float = 1.0
    tail: float = 0.0


def look_at_session(
    values: Sequence[float], spread: Spread, test: SequentialTest, most: int
) -> Look:
    """Compare the logarithms of a session's windows with a baseline of sessions."""
    count = len(values)
    tamed = limited(values, spread)
    mean, squares = moments(tamed)
    change = mean - spread.centre
    inflation = variance_inflation(count, spread.rho)
    worth = _worth(spread)
    reducible = (worth * spread.sw2 + squares) / (count + worth - 1) * inflation / count
    look = _judged(test, change, spread.between + reducible, spread.tail)
    if count < LEAST_VALUES:
        return replace(look, outcome=None)
    exhausted = reducible < _STOP_SHARE * spread.between
    if look.outcome is None and (exhausted or count >= most):
        look = replace(look, outcome="inconclusive")
    look = replace(look, exhausted=exhausted)
    if look.outcome is None:
        return look
    last = count >= min(_PATIENCE, most)
    own = _unbiased(moments(values)[1], count, spread.rho)
    if sum(map(operator.ne, tamed, values)) > _OUTLYING_SHARE * count:
        return replace(look, outcome="invalid" if last else None, noise=math.sqrt(own))
    if not _too_noisy(squares, count, spread, _LIKELY_NOISE):
        return look
    # What the baseline says of windows is not true of these: their own variance counts.
    degrees = max(effective_share(spread.rho) * (count - 1), _LEAST_DEGREES)
    own_mean = _unbiased(squares, count, spread.rho) * heavy_tail(degrees) * inflation / count
    look = _judged(test, change, spread.between + own_mean, spread.tail)
    if look.outcome is None and last:
        look = replace(look, outcome="inconclusive")
    noisy = _too_noisy(squares, count, spread, _USUAL_NOISE)
    return replace(look, noise=math.sqrt(own) if noisy else None)


def _judged(test: SequentialTest, change: float, variance: float, tail: float) -> Look:
    evidence = test.evidence(change, variance, tail)
    return Look(change, variance, evidence, test.decide(change, evidence), tail=tail)


def look_at_pairs(
    differences: Sequence[float], spread: Spread | None, test: SequentialTest, most: int
) -> Look:
    """Judge log ratios of interleaved pairs; without `spread` from the pairs alone.

    The pairs are also left to themselves if they vary more than the baseline's windows could.
    """
    count = len(differences)
    change, squares = moments(differences)
    prior = None if spread is None else 2 * spread.sw2 * (1 - spread.rho)
    degrees = float(count - 1)
    if spread is not None and prior is not None and not _exceeds(squares, degrees, prior, spread):
        worth = _worth(spread)
        single = (worth * prior + squares) / (count + worth - 1)
        inflation = 1 + spread.rho * (1 - spread.rho)
    elif count >= _PAIRS_ALONE:
        single, inflation = squares / degrees * heavy_tail(degrees), _WORST_INFLATION
    else:
        return Look(change, math.inf, 0.0, None)
    variance = single * inflation / count + _PAIR_FLOOR
    evidence = test.evidence(change, variance)
    if count < LEAST_VALUES:
        return Look(change, variance, evidence, None)
    last = count >= most
    resolved = test.caught - test.allowed >= _RESOLVED * math.sqrt(variance)
    height = _LAST_LOOK if last and resolved else 1.0
    outcome = test.decide(change, evidence, height)
    noise = math.sqrt(squares / degrees)
    if last and outcome is None:
        outcome = "inconclusive"
    return Look(change, variance, evidence, outcome, noise=noise, height=height)


def _worth(spread: Spread) -> float:
    return min(_PRIOR_WORTH, max(spread.within_degrees, 1.0))


def _unbiased(squares: float, count: int, rho: float) -> float:
    return squares / (count - variance_inflation(count, rho))


def _too_noisy(squares: float, count: int, spread: Spread, quantile: float) -> bool:
    if not spread.within_degrees:
        return False
    share = effective_share(spread.rho)
    ratio = _unbiased(squares, count, spread.rho) / spread.sw2
    return ratio > f_quantile(quantile, share * (count - 1), share * spread.within_degrees)


def _exceeds(squares: float, degrees: float, prior: float, spread: Spread) -> bool:
    if not degrees:
        return False
    known = max(spread.within_degrees, 1.0) * effective_share(spread.rho)
    return squares / degrees / prior > f_quantile(_USUAL_NOISE, degrees, known)
