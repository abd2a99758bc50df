"""The gate's rule over many runs at once, in numpy; tests hold it to the gate's own verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri, stdtr, stdtrit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OPEN, WITHIN, REGRESSION, IMPROVEMENT, INCONCLUSIVE, INVALID = range(6)
OUTCOMES = ("open", "within", "regression", "improvement", "inconclusive", "invalid")
LEAST = 3
TAIL = 0.016


@dataclass(frozen=True)
class Rule:
    """What is asked of the gate: both levels, both error rates, the most windows or pairs.

    `settled`: pairs follow, so that a session is granted to lie far out.
    """

    tolerance: float = 0.02
    detect: float = 0.05
    alpha: float = 0.01
    beta: float = 0.03
    most: int = 30
    settled: bool = False

    def edges(
        self,
        variance: Floats,
        degrees: Any = np.inf,
        height: float = 1.0,
        doubt: Any = 1.0,
        tail: float = 0.0,
    ) -> tuple[Floats, Floats]:
        """The changes up to which a figure is within (below 0: never), and from which it moved."""
        low, high = math.log1p(self.tolerance), math.log1p(self.detect)
        half, far = (_reach(degrees) * np.sqrt(v) for v in (variance, variance + tail))
        fails, passes = (
            height * math.log(odds)
            for odds in ((1 - self.beta) / self.alpha, (1 - self.alpha) / self.beta)
        )
        within = high - np.maximum(half, distance(high - low, variance, degrees, passes))
        moved = low + np.maximum(far, distance(high - low, variance + tail, degrees, fails))
        unchanged = distance(high, variance + tail, degrees, doubt * math.log(10 / self.alpha))
        return within, np.maximum(moved, unchanged)

    def resolves(self, variance: Floats, degrees: Any) -> Any:
        """Whether estimates tell the two levels apart, whatever they are."""
        gap = math.log1p(self.detect) - math.log1p(self.tolerance)
        return gap >= 1.6 * _reach(degrees) * np.sqrt(variance)


def distance(gap: float, variance: Floats, degrees: Any, bound: Any) -> Floats:
    """How far from a level an estimate lies where the evidence against it reaches `bound`."""
    degrees, bound = np.asarray(degrees, float), np.asarray(bound, float)
    known = np.isinf(degrees)
    finite = np.where(known, 1.0, degrees)
    growth = np.where(known, 0.0, np.expm1(np.minimum(2 * bound / finite, 300.0)))
    needed = np.where(known, 2 * bound, finite * growth) * variance
    share = (1 + growth) * gap
    root = np.sqrt(np.maximum(share * gap - growth * needed, 0.0))
    near: Floats = np.where(
        needed >= gap**2, np.sqrt(needed), (share * gap + needed) / (share + root)
    )
    return near


def _reach(degrees: Any) -> Any:
    degrees = np.asarray(degrees, float)
    known = np.isinf(degrees)
    return np.where(known, 1.959964, stdtrit(np.where(known, 1.0, degrees), 0.975))


def said(change: Floats, edges: tuple[Floats, Floats]) -> Ints:
    """Outcome codes where the edges say one, `OPEN` elsewhere."""
    within, moved = edges
    failed = np.where(change > 0, REGRESSION, IMPROVEMENT)
    passed = np.where(np.abs(change) <= within, WITHIN, OPEN)
    return np.where(np.abs(change) >= moved, failed, passed)


@dataclass(frozen=True)
class Baselines:
    """What each of T baselines says of noise; arrays of T, variances on the log scale."""

    centre: Floats
    between: Floats
    sw2: Floats
    rho: Floats
    within_degrees: int
    degrees: float

    def rows(self, chosen: Any) -> Baselines:
        """The baselines of some runs."""
        return Baselines(
            self.centre[chosen],
            self.between[chosen],
            self.sw2[chosen],
            self.rho[chosen],
            self.within_degrees,
            self.degrees,
        )


@dataclass(frozen=True)
class Decisions:
    """Outcome code and number of windows, or pairs, of each run."""

    outcome: Ints
    count: Ints


@dataclass(frozen=True)
class Recorded:
    """What baseline files keep of T x S sessions."""

    mean: Floats
    cv: Floats
    autocorrelation: Floats
    windows: int


def record(values: Floats) -> Recorded:
    """Sum up sessions of windows in J/token, shape (T, S, windows)."""
    mean = values.mean(-1)
    deviation = values - mean[..., None]
    squares = (deviation**2).sum(-1)
    windows = values.shape[-1]
    return Recorded(
        mean=mean,
        cv=np.sqrt(squares / (windows - 1)) / mean,
        autocorrelation=(deviation[..., 1:] * deviation[..., :-1]).sum(-1) / squares,
        windows=windows,
    )


def learn(recorded: Recorded, days: int | None = None) -> Baselines:
    """Noise as each baseline knows it by itself, on one device.

    Its sessions are of so many days, as many of each, one after the other; None: each of its own.
    """
    windows, sessions = recorded.windows, recorded.mean.shape[1]
    log_variance = np.log1p(recorded.cv**2)
    means = np.log(recorded.mean) - log_variance / 2
    unbiased = (recorded.autocorrelation.mean(-1) + 1 / windows) / (1 - 3 / windows)
    rho = np.clip(unbiased, 0.0, 0.9)
    inflation = variance_inflation(windows, rho)[:, -1]
    sw2 = np.maximum((windows - 1) * log_variance.mean(-1) / (windows - inflation), 0.001**2)
    noise = sw2 * inflation / windows
    days = days or sessions
    each = sessions // days
    by_day = means.reshape(-1, days, each)
    within_day = np.zeros_like(noise)
    if each > 1:
        within_day = np.maximum(by_day.var(-1, ddof=1).mean(-1) - noise, 0.0)
    own = days - 1.0
    tau2 = np.zeros_like(noise)
    if own:
        found = by_day.mean(-1).var(-1, ddof=1) - noise / each + (1 - 1 / each) * within_day
        tau2 = np.maximum(found, 0.0)
    assumed = min(3.0, max(0.0, 4.0 - own))
    degrees = own + assumed
    tau2 = (own * tau2 + assumed * 0.01**2) / degrees
    between = degrees / (degrees - 2) * (tau2 + noise) * (1 + 1 / days) - noise
    return Baselines(means.mean(-1), between, sw2, rho, sessions * (windows - 1), degrees)


def variance_inflation(most: int, rho: Floats) -> Floats:
    """Inflation of the variance of a mean of 1 .. `most` AR(1) values; shape (T, most)."""
    counts = np.arange(1, most + 1)
    lags = np.arange(1, most)
    powers = rho[:, None] ** lags
    total = np.concatenate([np.zeros((len(rho), 1)), np.cumsum(powers, 1)], 1)
    weighted = np.concatenate([np.zeros((len(rho), 1)), np.cumsum(lags * powers, 1)], 1)
    return 1 + 2 * (total - weighted / counts)


def stage_one(baselines: Baselines, logs: Floats, rule: Rule) -> Decisions:
    """Windows against baselines; `logs` of J/token has shape (T, rule.most)."""
    count = np.arange(1, rule.most + 1)
    reach = 4.0 * np.sqrt(baselines.sw2)
    change, squares, outlying = _limited_moments(logs - baselines.centre[:, None], reach)
    worth = min(10.0, baselines.within_degrees)
    sw2, between = baselines.sw2[:, None], baselines.between[:, None]
    inflation = variance_inflation(rule.most, baselines.rho)
    reducible = (worth * sw2 + squares) / (count + worth - 1) * inflation / count
    tail = TAIL**2 if rule.settled else 0.0
    doubt = baselines.degrees / (baselines.degrees - 2)
    outcome = said(change, rule.edges(between + reducible, doubt=doubt, tail=tail))
    middle = (math.log1p(rule.tolerance) + math.log1p(rule.detect)) / 2
    stop = reducible < 0.21 * (between + np.where(np.abs(change) > middle, tail, 0.0))
    stop[:, -1] = True
    outcome = np.where((outcome == OPEN) & stop, INCONCLUSIVE, outcome)
    decisions = _first(outcome)
    at = decisions.count[:, None] - 1
    far = np.take_along_axis(outlying, at, 1) > 0.3 * (at + 1)
    doubted = np.flatnonzero((far | _too_noisy(baselines, squares, inflation, at))[:, 0])
    if len(doubted):
        known, inflation, outcome = baselines.rows(doubted), inflation[doubted], outcome[doubted]
        change, squares, far = change[doubted], squares[doubted], outlying[doubted] > 0.3 * count
        every = np.broadcast_to(count - 1, (len(doubted), rule.most))
        noisy = _too_noisy(known, squares, inflation, every)
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(count > 1, squares / (count - inflation), 0.0)
        share = ((1 - known.rho) / (1 + known.rho))[:, None]
        degrees = np.maximum(share * (count - 1), 2.5)
        variance = between[doubted] + own * degrees / (degrees - 2) * inflation / count
        anew = np.where(far, OPEN, said(change, rule.edges(variance, doubt=doubt, tail=tail)))
        last = np.where(far, INVALID, INCONCLUSIVE)
        anew = np.where((anew == OPEN) & (count >= min(10, rule.most)), last, anew)
        retried = _first(np.where((far | noisy) & (outcome != OPEN), anew, outcome))
        decisions.outcome[doubted], decisions.count[doubted] = retried.outcome, retried.count
    return decisions


def stage_two(
    baselines: Baselines | None, differences: Floats, rule: Rule, *, renewed: bool = False
) -> Decisions:
    """Log ratios of interleaved pairs, shape (T, rule.most); None: from the pairs alone.

    Of `renewed` pairs, from new processes each, baselines say the least that they vary by.
    """
    trials, most = differences.shape
    outcome = np.full((trials, most), OPEN)
    first = np.sqrt(balanced(differences[:, :4])[2] / 2)
    for count in range(LEAST, most + 1):
        change, share, squares = balanced(differences[:, :count])
        own = count - 2.0
        least_noise: Any = 0.0
        if baselines is not None:
            least_noise = 2 * baselines.sw2 * (1 - baselines.rho)
        single = np.maximum(squares / own, least_noise) * (1.1 if renewed else 1.25)
        degrees, alone = np.full(trials, own), np.ones(trials, bool)
        if baselines is not None and not renewed:
            rho, worth = baselines.rho, min(10.0, baselines.within_degrees)
            prior = 2 * baselines.sw2 * (1 - rho)
            known = baselines.within_degrees * (1 - rho) / (1 + rho)
            alone = squares / own / prior > fdtri(own, known, 0.999)
            joined = (worth * prior + squares) / (worth + own) * (1 + rho * (1 - rho))
            single, degrees = np.where(alone, single, joined), np.where(alone, own, worth + own)
        variance = single * share + 0.001**2
        least = degrees.clip(2.001)
        doubt = np.where((first <= 0.005) & (degrees > 2), 1.0, least / (least - 2))
        edges = rule.edges(variance, degrees, doubt=doubt)
        if count == most:
            last = rule.edges(variance, degrees, 1 / 3, doubt)
            sure = rule.resolves(variance, degrees)
            edges = (np.where(sure, last[0], edges[0]), np.where(sure, last[1], edges[1]))
        waits = alone & ((count < 4) | ((count < 6) & (first > 0.02)))
        outcome[:, count - 1] = np.where(waits, OPEN, said(change, edges))
    outcome[:, -1] = np.where(outcome[:, -1] == OPEN, INCONCLUSIVE, outcome[:, -1])
    return _first(outcome)


def balanced(differences: Floats) -> tuple[Floats, float, Floats]:
    """Change, its share of a pair's variance, and squares about each order's mean, of T x n."""
    count = differences.shape[1]
    sizes = np.where(np.arange(count) % 2 == 0, (count + 1) // 2, count // 2)
    apart = _apart(differences) * sizes / (sizes - 1) if count >= 6 else None
    values = differences
    if apart is not None:
        shares = apart**2 * (1 - 1 / sizes)
        rows, farthest = np.arange(len(values)), shares.argmax(1)
        largest = shares[rows, farthest]
        others = np.maximum((apart**2 * (1 - 1 / sizes) ** 2).sum(1) - largest, 0.0)
        limit = stdtrit(count - 3, 1 - 0.0005 / count) ** 2 * others / (count - 3)
        kept = np.sqrt(np.minimum(limit / np.maximum(largest, 1e-300), 1.0))
        values = values.copy()
        values[rows, farthest] -= apart[rows, farthest] * (1 - kept)
    change = (values[:, ::2].mean(1) + values[:, 1::2].mean(1)) / 2
    share = (1 / ((count + 1) // 2) + 1 / (count // 2)) / 4
    return change, share, (_apart(values) ** 2).sum(1)


def _apart(values: Floats) -> Floats:
    found: Floats = np.array(values)
    for order in (0, 1):
        found[:, order::2] -= found[:, order::2].mean(1, keepdims=True)
    return found


def threshold(values: Floats, recorded: Recorded, limit: float) -> NDArray[np.bool_]:
    """Whether a fixed number of windows has a mean above the stored mean by more than `limit`."""
    above: NDArray[np.bool_] = values.mean(-1) > (1 + limit) * recorded.mean.mean(-1)
    return above


def welch(values: Floats, stored: Floats, level: float) -> NDArray[np.bool_]:
    """Whether Welch's test finds the windows different from all stored ones, as if independent."""
    flat = stored.reshape(len(stored), -1)
    parts = [v.var(-1, ddof=1) / v.shape[-1] for v in (values, flat)]
    total = parts[0] + parts[1]
    degrees = total**2 / (
        parts[0] ** 2 / (values.shape[-1] - 1) + parts[1] ** 2 / (flat.shape[-1] - 1)
    )
    statistic = np.abs(values.mean(-1) - flat.mean(-1)) / np.sqrt(total)
    different: NDArray[np.bool_] = 2 * stdtr(degrees, -statistic) < level
    return different


def _too_noisy(
    baselines: Baselines, squares: Floats, inflation: Floats, at: Ints
) -> NDArray[np.bool_]:
    """Whether windows vary beyond the 95 % quantile of F, after `at` + 1 of them."""
    share = ((1 - baselines.rho) / (1 + baselines.rho))[:, None]
    squares, inflation = (np.take_along_axis(v, at, 1) for v in (squares, inflation))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = squares / (at + 1 - inflation) / baselines.sw2[:, None]
        limit = fdtri(share * at, share * baselines.within_degrees, 0.95)
        noisy: NDArray[np.bool_] = ratio > limit
    return noisy


def _limited_moments(values: Floats, reach: Floats) -> tuple[Floats, Floats, Ints]:
    """As `_moments`, of values pulled in to within reach of their median, and how many are."""
    mean, squares = _moments(values)
    outlying = np.zeros(values.shape, np.int64)
    for count in range(2, values.shape[1] + 1):
        some = values[:, :count]
        middle = np.median(some, 1)
        far = np.flatnonzero(np.abs(some - middle[:, None]).max(1) > reach)
        low, high = (middle[far] - reach[far])[:, None], (middle[far] + reach[far])[:, None]
        tamed = np.clip(some[far], low, high)
        outlying[far, count - 1] = (tamed != some[far]).sum(1)
        mean[far, count - 1] = tamed.mean(1)
        squares[far, count - 1] = ((tamed - tamed.mean(1, keepdims=True)) ** 2).sum(1)
    return mean, squares, outlying


def _moments(values: Floats) -> tuple[Floats, Floats]:
    count = np.arange(1, values.shape[1] + 1)
    mean = np.cumsum(values, 1) / count
    squares = np.maximum(np.cumsum(values**2, 1) - count * mean**2, 0.0)
    return mean, squares


def _first(outcome: Ints) -> Decisions:
    decided = outcome != OPEN
    decided[:, : LEAST - 1] = False
    first = decided.argmax(1)
    return Decisions(outcome[np.arange(len(outcome)), first], first + 1)
