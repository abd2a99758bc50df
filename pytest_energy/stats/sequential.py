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
    NORMAL_95,
    Interleaved,
    effective_share,
    f_quantile,
    heavy_tail,
    interleaved,
    moments,
    scatter,
    student_t,
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
_RESTLESS_PAIRS = 6  # the least if the first four of them vary by more than this:
_RESTLESS = 0.02
_CALM = 0.005  # of the first four pairs: so little is no chance of pairs that vary much
_PRIOR_WORTH = 10.0  # values that the baseline's within-session variance counts for
_LEAST_TAIL = 2.001  # degrees: of two or fewer the tail has no end, and the doubt is as large
_STOP_SHARE = 0.21  # of B: what more windows could still take off is no longer worth them
_LAST_LOOK = 1 / 3  # height of the bounds at the last pair, if the pairs resolve the levels:
_RESOLVED = 1.6  # half-widths of the mean's 95 % interval between the two levels
_WORST_INFLATION = 1.25  # of a mean of interleaved pairs, over all autocorrelations
_RENEWED_INFLATION = 1.1  # the same if two windows of warm-up lie between pairs
_PAIR_FLOOR = 0.001**2
_USUAL_NOISE = 0.999
_LIKELY_NOISE = 0.95  # beyond which a session's own variance counts in place of the baseline's
_PATIENCE = 10  # windows before noise is held against a session: one outlier in three is chance
_OUTLYING_SHARE = 0.3  # of windows: if more lie far out, it is no outlier but another noise
_LEAST_DEGREES = 2.5  # so that few windows have a tail that is finite
_LARGEST_EXPONENT = 300.0  # below where the exponential overflows
_UNCHANGED = 10.0  # times less often than a figure at the tolerance may an unchanged one fail


def distance(gap: float, variance: float, degrees: float, bound: float) -> float:
    """How far from one level an estimate must lie for the evidence against it to reach `bound`.

    The evidence is the log likelihood ratio of the likeliest value at the other level, `gap` away,
    or beyond it. The estimate has a `variance` that is known from so many `degrees` of freedom. The
    ratio is `degrees / 2 * ln((degrees + t**2) / (degrees + u**2))`. In standard deviations, t is
    the distance from this level, and u the one from the other, 0 beyond it. Of infinite degrees
    that is `(t**2 - u**2) / 2`.
    """
    if math.isinf(degrees):
        growth, needed = 0.0, 2 * bound * variance
    else:
        growth = math.expm1(min(2 * bound / degrees, _LARGEST_EXPONENT))
        needed = degrees * growth * variance
    if needed >= gap**2:
        return math.sqrt(needed)
    share = (1 + growth) * gap
    return (share * gap + needed) / (share + math.sqrt(share * gap - growth * needed))


class SequentialTest:
    """A sequential test of two levels of change, relative to `base` and on the log scale.

    The evidence is a generalised likelihood ratio of `distance`. A figure has changed if that of
    `caught` or more reaches `fails_at` against `allowed`, and `unchanged_at` against no change at
    all. It has not if that of `allowed` or less reaches `passes_at` against `caught`. Neither is
    said where the 95 % interval says otherwise. `EnergyError` if levels make no test.
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
        self.passes_at = math.log((1 - alpha) / beta)
        self.unchanged_at = math.log(_UNCHANGED / alpha)

    def edges(
        self,
        variance: float,
        degrees: float = math.inf,
        height: float = 1.0,
        doubt: float = 1.0,
        tail: float = 0.0,
    ) -> tuple[float | None, float]:
        """The changes up to which a figure is within (None: never), and from which it has moved.

        `height` lowers the bounds of both levels; `doubt` raises that of no change, and
        `tail` is variance that may feign a change.
        """
        gap, half = self.caught - self.allowed, half_width(variance, degrees)
        within = self.caught - max(half, distance(gap, variance, degrees, height * self.passes_at))
        far = variance + tail
        changed = max(
            self.allowed + half_width(far, degrees),
            self.allowed + distance(gap, far, degrees, height * self.fails_at),
            distance(self.caught, far, degrees, doubt * self.unchanged_at),
        )
        return within if within >= 0 else None, changed

    def resolves(self, variance: float, degrees: float) -> bool:
        """Whether an estimate tells the two levels apart, whatever it is."""
        return self.caught - self.allowed >= _RESOLVED * half_width(variance, degrees)


def half_width(variance: float, degrees: float = math.inf) -> float:
    """Half of the 95 % interval of an estimate whose variance is known from so many degrees."""
    reach = NORMAL_95 if math.isinf(degrees) else student_t(degrees)
    return reach * math.sqrt(variance)


@dataclass(frozen=True)
class Look:
    """The test after one more value, on the log scale.

    The change's `variance` is known from so many `degrees` of freedom. Up to `within` (None:
    never) the figure has not changed, from `changed` on it has. `noise` is the SD of a value, and
    `order` what the second window of a pair takes more than the first.
    """

    change: float
    variance: float
    degrees: float = math.inf
    within: float | None = None
    changed: float = math.inf
    exhausted: bool = False
    noise: float | None = None
    order: float = 0.0
    outcome: Outcome | None = None

    @property
    def half_width(self) -> float:
        """Half of the change's 95 % interval."""
        return half_width(self.variance, self.degrees)

    @property
    def said(self) -> Outcome | None:
        """What the edges say of the change."""
        if abs(self.change) >= self.changed:
            return "regression" if self.change > 0 else "improvement"
        inside = self.within is not None and abs(self.change) <= self.within
        return "within" if inside else None


def look_at_session(
    values: Sequence[float], spread: Spread, test: SequentialTest, most: int
) -> Look:
    """Compare the logarithms of a session's windows with a baseline of sessions."""
    count = len(values)
    tamed = limited(values, spread)
    mean, squares = moments(tamed)
    worth, inflation = _worth(spread), variance_inflation(count, spread.rho)
    reducible = (worth * spread.sw2 + squares) / (count + worth - 1) * inflation / count
    look = Look(mean - spread.centre, spread.between + reducible)
    if count < LEAST_VALUES:
        return look
    tail = spread.tail if abs(look.change) > (test.allowed + test.caught) / 2 else 0.0
    exhausted = reducible < _STOP_SHARE * (spread.between + tail)
    look = replace(_edged(look, spread, test), exhausted=exhausted)
    outcome = look.said
    if outcome is None and (exhausted or count >= most):
        outcome = "inconclusive"
    if outcome is None:
        return look
    last, noise = count >= min(_PATIENCE, most), _unbiased(moments(values)[1], count, spread.rho)
    if sum(map(operator.ne, tamed, values)) > _OUTLYING_SHARE * count:
        return replace(look, noise=math.sqrt(noise), outcome="invalid" if last else None)
    if not _too_noisy(squares, count, spread, _LIKELY_NOISE):
        return replace(look, outcome=outcome)
    # What the baseline says of windows is not true of these: their own variance counts.
    degrees = max(effective_share(spread.rho) * (count - 1), _LEAST_DEGREES)
    own = _unbiased(squares, count, spread.rho) * heavy_tail(degrees) * inflation / count
    look = _edged(replace(look, variance=spread.between + own), spread, test)
    noisy = _too_noisy(squares, count, spread, _USUAL_NOISE)
    outcome = look.said or ("inconclusive" if last else None)
    return replace(look, noise=math.sqrt(noise) if noisy else None, outcome=outcome)


def _edged(look: Look, spread: Spread, test: SequentialTest) -> Look:
    doubt = _doubt(spread.degrees)
    within, changed = test.edges(look.variance, doubt=doubt, tail=spread.tail)
    return replace(look, within=within, changed=changed)


def look_at_pairs(
    differences: Sequence[float],
    spread: Spread | None,
    test: SequentialTest,
    most: int,
    *,
    least: bool = False,
    renewed: bool = False,
) -> Look:
    """Judge log ratios of interleaved pairs; without `spread` from the pairs alone.

    The pairs are also left to themselves if they vary more than the baseline's windows could, or
    if what it knows is only the `least` that they vary by. `renewed` pairs come from new processes
    each, so that neighbours have less in common.
    """
    count, last = len(differences), len(differences) >= most
    pairs = interleaved(differences)
    known = None if least else _known_noise(pairs, spread)
    if known is None and count < _PAIRS_ALONE:
        return Look(pairs.change, math.inf, order=pairs.order)
    single, degrees, inflation = known or (
        max(pairs.squares / pairs.degrees, 0.0 if spread is None else pair_variance(spread)),
        float(pairs.degrees),
        _RENEWED_INFLATION if renewed else _WORST_INFLATION,
    )
    variance = single * inflation * pairs.share + _PAIR_FLOOR
    look = Look(pairs.change, variance, degrees, order=pairs.order)
    if count < LEAST_VALUES:
        return look
    look = replace(look, noise=math.sqrt(pairs.squares / pairs.degrees))
    first = scatter(differences[:_PAIRS_ALONE])
    if known is not None or count >= _RESTLESS_PAIRS or first <= _RESTLESS:
        calm = first <= _CALM and degrees > 2
        doubt = 1.0 if calm else _doubt(degrees)
        height = _LAST_LOOK if last and test.resolves(variance, degrees) else 1.0
        within, changed = test.edges(variance, degrees, height, doubt)
        look = replace(look, within=within, changed=changed)
    return replace(look, outcome=look.said or ("inconclusive" if last else None))


def _doubt(degrees: float) -> float:
    """How much more evidence of a change at all an estimate of so few degrees takes."""
    return heavy_tail(max(degrees, _LEAST_TAIL))


def pair_variance(spread: Spread) -> float:
    """How a pair of neighbouring windows varies by what a baseline knows of its own."""
    return 2 * spread.sw2 * (1 - spread.rho)


def _known_noise(pairs: Interleaved, spread: Spread | None) -> tuple[float, float, float] | None:
    """Variance of a pair, its degrees, and its inflation, joined with what a baseline knows.

    None without a baseline, or if the pairs vary more than its windows could.
    """
    if spread is None:
        return None
    prior = pair_variance(spread)
    if _exceeds(pairs.squares, pairs.degrees, prior, spread):
        return None
    worth = _worth(spread)
    degrees = worth + pairs.degrees
    single = (worth * prior + pairs.squares) / degrees
    return single, degrees, 1 + spread.rho * (1 - spread.rho)


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
