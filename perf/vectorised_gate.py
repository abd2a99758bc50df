"""The gate's rule over many runs at once, in numpy; tests hold it to the gate's own verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri, stdtr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OPEN, WITHIN, REGRESSION, IMPROVEMENT, INCONCLUSIVE, INVALID = range(6)
OUTCOMES = ("open", "within", "regression", "improvement", "inconclusive", "invalid")
LEAST = 3
TAIL = 0.0141


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

    @property
    def gap(self) -> float:
        """Between the two levels, log scale."""
        return math.log1p(self.detect) - math.log1p(self.tolerance)

    def evidence(self, change: Floats, variance: Floats, tail: float = 0.0) -> Floats:
        """Log likelihood ratio of the upper level against the lower, either side."""
        beyond = np.abs(change) - (math.log1p(self.detect) + math.log1p(self.tolerance)) / 2
        return self.gap * beyond / (variance + np.where(beyond > 0, tail, 0.0))

    def decide(
        self, change: Floats, variance: Floats, height: Any = 1.0, tail: float = 0.0
    ) -> Ints:
        """Outcome codes where the evidence suffices, `OPEN` elsewhere."""
        evidence = self.evidence(change, variance, tail)
        failed = np.where(change > 0, REGRESSION, IMPROVEMENT)
        passed = evidence <= -height * math.log((1 - self.alpha) / self.beta)
        bound = height * math.log((1 - self.beta) / self.alpha)
        return np.where(evidence >= bound, failed, np.where(passed, WITHIN, OPEN))


@dataclass(frozen=True)
class Baselines:
    """What each of T baselines says of noise; arrays of T, variances on the log scale."""

    centre: Floats
    between: Floats
    sw2: Floats
    rho: Floats
    within_degrees: int

    def rows(self, chosen: Any) -> Baselines:
        """The baselines of some runs."""
        return Baselines(
            self.centre[chosen],
            self.between[chosen],
            self.sw2[chosen],
            self.rho[chosen],
            self.within_degrees,
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
    return Baselines(means.mean(-1), between, sw2, rho, sessions * (windows - 1))


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
    outcome = rule.decide(change, between + reducible, tail=tail)
    stop = reducible < 0.21 * between
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
        anew = np.where(far, OPEN, rule.decide(change, variance, tail=tail))
        last = np.where(far, INVALID, INCONCLUSIVE)
        anew = np.where((anew == OPEN) & (count >= min(10, rule.most)), last, anew)
        retried = _first(np.where((far | noisy) & (outcome != OPEN), anew, outcome))
        decisions.outcome[doubted], decisions.count[doubted] = retried.outcome, retried.count
    return decisions


def stage_two(baselines: Baselines | None, differences: Floats, rule: Rule) -> Decisions:
    """Log ratios of interleaved pairs, shape (T, rule.most); None: from the pairs alone."""
    count = np.arange(1, rule.most + 1)
    change, squares = _moments(differences)
    degrees = np.maximum(count - 1.0, 1.0)
    tails = degrees / np.maximum(degrees - 2, 1)
    variance = np.where(count >= 4, squares / degrees * tails * 1.25 / count, np.inf)
    if baselines is not None:
        rho = baselines.rho[:, None]
        prior = 2 * baselines.sw2[:, None] * (1 - rho)
        worth = min(10.0, baselines.within_degrees)
        known = baselines.within_degrees * (1 - baselines.rho) / (1 + baselines.rho)
        limit = fdtri(degrees, known[:, None], 0.999)
        joined = (worth * prior + squares) / (count + worth - 1) * (1 + rho * (1 - rho)) / count
        variance = np.where(squares / degrees / prior > limit, variance, joined)
    variance = variance + 0.001**2
    height = np.ones_like(variance)
    height[:, -1] = np.where(rule.gap >= 4 * np.sqrt(variance[:, -1]), 1 / 3, 1.0)
    outcome = rule.decide(change, variance, height)
    outcome[:, -1] = np.where(outcome[:, -1] == OPEN, INCONCLUSIVE, outcome[:, -1])
    return _first(outcome)


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
