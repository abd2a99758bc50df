"""Print how often the gate is wrong and what it costs, by simulation, beside two simpler rules.

The noise is that of a card: a session's level varies between sessions, its windows vary around it
and may be autocorrelated. A baseline of 8 sessions of 10 windows is drawn anew in every trial.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
HALF = Rule(alpha=0.005, beta=0.015)
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


def grid_table(rows: Sequence[Row]) -> str:
    """Every cell and change, one line each; shares in per cent."""
    lines = [
        f"{'':29}| {'stage 1':^33}| {'stages 1 and 2':^33}| fixed: fail %",
        "within   r between   change | "
        + 2 * "  fail  incon   pass inval windows| "
        + "  >2%   >5%  Welch",
    ]
    for row in rows:
        cell = row.cell
        lines.append(
            f"{cell.within:6.1%} {cell.autocorrelation:3.1f} {cell.between:7.1%} "
            f"{row.change:+8.0%} | "
            f"{_rates(row.half)}| {_rates(row.both)}| "
            f"{100 * row.above_2:5.1f} {100 * row.above_5:5.1f} {100 * row.welch:6.1f}"
        )
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """The worst cell of each figure that is promised, beside the promise."""

    def at(change: float) -> list[Row]:
        return [row for row in rows if row.change == change]

    unchanged, edge, caught, obvious = (at(change) for change in CHANGES)
    quiet = [row for row in unchanged if row.cell.quiet]
    shares = [
        ("one, unchanged: failed", max(r.half.failed for r in unchanged), "<= 0.1 %"),
        ("the same, whole budget", max(r.whole.failed for r in unchanged), "<= 0.1 %"),
        ("one, at the tolerance: failed", max(r.half.failed for r in edge), "<= 1.2 %"),
        ("the same, whole budget", max(r.whole.failed for r in edge), "<= 2.2 %"),
        ("one, +5 %: passed", max(r.half.passed for r in caught), "<= 2.5 %"),
        ("one, any change: invalid", max(r.half.invalid for r in rows), ""),
        ("both, unchanged: failed", max(r.both.failed for r in unchanged), "<= 0.1 %"),
        ("both, at the tolerance: failed", max(r.both.failed for r in edge), "<= 1.1 %"),
        ("both, +5 %: failed", min(r.both.failed for r in caught), ">= 96 %"),
        ("both, +10 %: failed", min(r.both.failed for r in obvious), "all"),
        ("both, +10 %: passed or left open", _missed(obvious), "none"),
        ("both, any change: inconclusive", max(r.both.inconclusive for r in rows), "<= 0.5 %"),
    ]  # fmt: skip
    windows = [
        ("one, unchanged, quiet cells", max(r.half.windows for r in quiet), "<= 5.5"),
        ("one, unchanged, mean of the grid", _mean([r.half.windows for r in unchanged]), "<= 8.5"),
        ("one, the same, whole budget", _mean([r.whole.windows for r in unchanged]), ""),
        ("both, unchanged, quiet cells", max(r.both.windows for r in quiet), ""),
        ("both, unchanged, mean of the grid", _mean([r.both.windows for r in unchanged]), ""),
    ]
    lines = [f"  {name:<46}{100 * value:8.2f} % {wanted:>10}" for name, value, wanted in shares]
    lines += [
        f"  windows, {name:<37}{value:8.2f}   {wanted:>10}" for name, value, wanted in windows
    ]
    return "\n".join([f"{'worst cell, stages':<48}{'found':>8}   {'promised':>10}", *lines])


def sessions_table(trials: int, seed: int) -> str:
    """How baselines of few or many sessions fare, stage 1 with the whole budget."""
    at = "at 0, +2 %, +5 %, +10 %"
    lines = [f"sessions between | {'fail % ' + at:31} | {'pass % ' + at}"]
    for sessions, between in product((1, 2, 3, 5, 8, 20), (0.005, 0.01, 0.02)):
        rng = np.random.default_rng([seed, sessions, round(1e4 * between)])
        draws = draw(Cell(0.01, 0.2, between), trials, rng, sessions)
        baselines = learn(record(draws.stored))
        found = [rates(stage_one(baselines, draws.current + np.log1p(c), WHOLE)) for c in CHANGES]
        lines.append(
            f"{sessions:8} {between:7.1%} | {_series([r.failed for r in found])} | "
            f"{_series([r.passed for r in found])}"
        )
    return "\n".join(lines)


def pairs_table(trials: int, seed: int) -> str:
    """A/B by itself, without any baseline, with the whole budget."""
    lines = [
        "within   r | fail % at 0, +2 %, +5 %, +10 % | pass % at 0, +2 %, +5 %, +10 % | pairs at 0"
    ]
    for within, autocorrelation in product((0.003, 0.01, 0.02, 0.03), (0.0, 0.5)):
        rng = np.random.default_rng([seed, round(1e4 * within), round(10 * autocorrelation)])
        draws = draw(Cell(within, autocorrelation, 0.01), trials, rng, sessions=1)
        found = [stage_two(None, draws.interleaved + np.log1p(c), WHOLE) for c in CHANGES]
        shares = [rates(decisions) for decisions in found]
        lines.append(
            f"{within:6.1%} {autocorrelation:3.1f} | {_series([r.failed for r in shares])} | "
            f"{_series([r.passed for r in shares])} | {found[0].count.mean():10.1f}"
        )
    return "\n".join(lines)


def gap_table(trials: int, seed: int) -> str:
    """What share one session decides where the levels are as far apart as the baseline resolves."""
    lines = ["within between | smallest gap | decided % at tolerance, at detect, unchanged"]
    for within, between in product((0.003, 0.01), (0.005, 0.01)):
        rng = np.random.default_rng([seed, round(1e4 * within), round(1e4 * between), 7])
        draws = draw(Cell(within, 0.2, between), trials, rng)
        baselines = learn(record(draws.stored))
        gap = float(np.median(np.expm1(3.55 * np.sqrt(baselines.between))))
        rule = replace(HALF, detect=HALF.tolerance + gap)
        shares = [
            rates(stage_one(baselines, draws.current + np.log1p(change), rule))
            for change in (rule.tolerance, rule.detect, 0.0)
        ]
        decided = _series([r.failed + r.passed for r in shares])
        lines.append(f"{within:6.1%} {between:7.1%} | {gap:12.2%} | {decided}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the whole grid and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000, help="trials a cell (20000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    options = parser.parse_args(arguments)
    rows = [row for cell in GRID for row in simulate(cell, options.trials, options.seed)]
    print(
        f"The gate, simulated: {options.trials:,} trials a cell, seed {options.seed}; tolerance "
        f"2 %, detect 5 %, half of the error budget a stage.\n"
        f"Windows spent include {WARM_UP} of warm-up; a pair is two windows. Fixed rules take "
        f"{FIXED} windows after the same warm-up:\nmean above the stored mean by 2 % or 5 %, and "
        f"Welch's test at 1 % against all stored windows.\n"
    )
    print(grid_table(rows), summary(rows), sep="\n\n")
    print("\nBaselines of few and many sessions (within 1 %, r 0.2, stage 1, whole budget):")
    print(sessions_table(options.trials, options.seed))
    print("\nA/B without a baseline (whole budget):")
    print(pairs_table(options.trials, options.seed))
    print("\nThe smallest gap that a baseline resolves:")
    print(gap_table(options.trials, options.seed))


def _windows(cell: Cell, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    noise = rng.standard_normal(shape)
    kept = cell.autocorrelation
    for index in range(1, shape[-1]):
        noise[..., index] = kept * noise[..., index - 1] + np.sqrt(1 - kept**2) * noise[..., index]
    return cell.within * noise


def _rates(rates: Rates) -> str:
    return (
        f"{100 * rates.failed:6.2f} {100 * rates.inconclusive:6.2f} {100 * rates.passed:6.2f} "
        f"{100 * rates.invalid:5.2f} {rates.windows:7.2f}"
    )


def _missed(rows: Sequence[Row]) -> float:
    return max(row.both.passed + row.both.inconclusive for row in rows)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _series(shares: Sequence[float]) -> str:
    return " ".join(f"{100 * share:7.2f}" for share in shares)


if __name__ == "__main__":
    main()
