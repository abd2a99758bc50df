"""Trials of the gate: noise drawn as a card makes it, and decided by it and by two simpler rules.

A session's level varies between sessions, its windows vary around it and may be autocorrelated.
A baseline of 8 sessions of 10 windows is drawn anew in every trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from vectorised_gate import (
    IMPROVEMENT,
    INCONCLUSIVE,
    INVALID,
    REGRESSION,
    WITHIN,
    Decisions,
    Floats,
    Rule,
    learn,
    record,
    stage_one,
    stage_two,
    threshold,
    welch,
)

WARM_UP = 2
"""Windows spent before the first that is evidence, counted as spent."""

FIXED = 5
"""Windows of the fixed rules, after the same warm-up."""

CHANGES = (0.0, 0.02, 0.05, 0.10)
SESSIONS = 8
WINDOWS = 10
HALF = Rule(alpha=0.005, beta=0.015, settled=True)
WHOLE = Rule()


@dataclass(frozen=True)
class Cell:
    """One kind of noise: standard deviations relative, autocorrelation at lag 1."""

    within: float
    autocorrelation: float
    between: float

    @property
    def quiet(self) -> bool:
        """Whether stage 1 alone is meant to be enough here."""
        return self.within <= 0.01 and self.between <= 0.005


@dataclass(frozen=True)
class Draws:
    """Unchanged windows of T trials: `stored` (T, S, windows) in J/token, the rest on log scale.

    `current` (T, most) are the run's windows, `interleaved` (T, most) the log ratios head over
    base of pairs in the order ABBA that follow in the same session.
    """

    stored: Floats
    current: Floats
    interleaved: Floats


@dataclass(frozen=True)
class Rates:
    """What became of all trials: shares, and windows spent on average, warm-up included."""

    failed: float
    inconclusive: float
    passed: float
    invalid: float
    windows: float


@dataclass(frozen=True)
class Row:
    """One cell at one true change, under every rule."""

    cell: Cell
    change: float
    half: Rates
    whole: Rates
    both: Rates
    above_2: float
    above_5: float
    welch: float


GRID = tuple(
    Cell(within, autocorrelation, between)
    for between, autocorrelation, within in product((0.005, 0.01), (0.0, 0.5), (0.003, 0.01, 0.02))
)


def draw(
    cell: Cell, trials: int, rng: np.random.Generator, sessions: int = SESSIONS, most: int = 30
) -> Draws:
    """Draw unchanged trials of a cell; the baseline's level is 5 mJ/token."""
    level = cell.between * rng.standard_normal((trials, sessions, 1))
    stored = level + _windows(cell, rng, (trials, sessions, WINDOWS))
    current = cell.between * rng.standard_normal((trials, 1))
    series = np.log(0.005) + current + _windows(cell, rng, (trials, 3 * most))
    pairs = series[:, most:].reshape(trials, most, 2)
    order = np.where(np.arange(most) % 2 == 0, 1.0, -1.0)
    differences = order * (pairs[..., 1] - pairs[..., 0])
    return Draws(0.005 * np.exp(stored), series[:, :most], differences)


def simulate(cell: Cell, trials: int, seed: int) -> list[Row]:
    """All rules on the same trials of one cell, at every true change."""
    rng = np.random.default_rng([seed, *(round(1e4 * v) for v in vars(cell).values())])
    draws = draw(cell, trials, rng)
    recorded = record(draws.stored)
    baselines = learn(recorded)
    rows = []
    for change in CHANGES:
        logs = draws.current + np.log1p(change)
        fixed = np.exp(logs[:, :FIXED])
        half = stage_one(baselines, logs, HALF)
        still = half.outcome == INCONCLUSIVE
        second = stage_two(baselines.rows(still), draws.interleaved[still] + np.log1p(change), HALF)
        outcome, windows = half.outcome.copy(), half.count.copy()
        outcome[still] = second.outcome
        windows[still] += 2 * second.count
        rows.append(
            Row(
                cell,
                change,
                half=rates(half),
                whole=rates(stage_one(baselines, logs, WHOLE)),
                both=rates(Decisions(outcome, windows)),
                above_2=float(threshold(fixed, recorded, 0.02).mean()),
                above_5=float(threshold(fixed, recorded, 0.05).mean()),
                welch=float(welch(fixed, draws.stored, 0.01).mean()),
            )
        )
    return rows


def rates(decisions: Decisions) -> Rates:
    """Shares of outcomes; failures are regressions and improvements alike."""
    outcome = decisions.outcome
    return Rates(
        failed=float(np.isin(outcome, (REGRESSION, IMPROVEMENT)).mean()),
        inconclusive=float((outcome == INCONCLUSIVE).mean()),
        passed=float((outcome == WITHIN).mean()),
        invalid=float((outcome == INVALID).mean()),
        windows=float(decisions.count.mean()) + WARM_UP,
    )


def _windows(cell: Cell, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    noise = rng.standard_normal(shape)
    kept = cell.autocorrelation
    for index in range(1, shape[-1]):
        noise[..., index] = kept * noise[..., index - 1] + np.sqrt(1 - kept**2) * noise[..., index]
    return cell.within * noise
