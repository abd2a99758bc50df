"""Tables of what the gate's trials came to: every cell, the promises, few sessions, pairs, gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from gate_trials import CHANGES, HALF, WHOLE, Cell, Rates, Row, draw, rates
from vectorised_gate import learn, record, stage_one, stage_two


def grid_table(rows: Sequence[Row]) -> str:
    """Every cell and change, one line each; shares in per cent."""
    lines = [
        f"{'':29}| {'stage 1 alone':^33}| {'stage 1 before 2':^33}| {'stages 1 and 2':^33}"
        "| fixed: fail %",
        "within   r between   change | "
        + 3 * "  fail  incon   pass inval windows| "
        + "  >2%   >5%  Welch",
    ]
    for row in rows:
        cell = row.cell
        lines.append(
            f"{cell.within:6.1%} {cell.autocorrelation:3.1f} {cell.between:7.1%} "
            f"{row.change:+8.0%} | "
            f"{_rates(row.whole)}| {_rates(row.half)}| {_rates(row.both)}| "
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
        ("alone, unchanged: failed", max(r.whole.failed for r in unchanged), "<= 0.1 %"),
        ("alone, at the tolerance: failed", max(r.whole.failed for r in edge), "<= 2.2 %"),
        ("alone, +5 %: failed, least", min(r.whole.failed for r in caught), ""),
        ("alone, +5 %: failed, most", max(r.whole.failed for r in caught), ""),
        ("alone, +5 %: passed", max(r.whole.passed for r in caught), ""),
        ("alone, any change: inconclusive", max(r.whole.inconclusive for r in rows), ""),
        ("one, unchanged: failed", max(r.half.failed for r in unchanged), "<= 0.1 %"),
        ("one, at the tolerance: failed", max(r.half.failed for r in edge), "<= 1.2 %"),
        ("one, +5 %: passed", max(r.half.passed for r in caught), "<= 2.5 %"),
        ("one, any change: invalid", max(r.half.invalid for r in rows), ""),
        ("both, unchanged: failed", max(r.both.failed for r in unchanged), "<= 0.1 %"),
        ("both, at the tolerance: failed", max(r.both.failed for r in edge), "<= 1.1 %"),
        ("both, +5 %: failed", min(r.both.failed for r in caught), ">= 96 %"),
        ("both, +10 %: failed", min(r.both.failed for r in obvious), "all"),
        ("both, +10 %: passed or left open", _missed(obvious), "none"),
        ("both, unchanged: inconclusive", max(r.both.inconclusive for r in unchanged), "<= 0.1 %"),
        ("both, any change: inconclusive", max(r.both.inconclusive for r in rows), "<= 1 %"),
    ]  # fmt: skip
    windows = [
        ("alone, unchanged, quiet cells", max(r.whole.windows for r in quiet), ""),
        ("alone, unchanged, mean of the grid", _mean([r.whole.windows for r in unchanged]), ""),
        ("one, unchanged, quiet cells", max(r.half.windows for r in quiet), "<= 5.5"),
        ("one, unchanged, mean of the grid", _mean([r.half.windows for r in unchanged]), "<= 8.5"),
        ("both, unchanged, quiet cells", max(r.both.windows for r in quiet), ""),
        ("both, unchanged, mean of the grid", _mean([r.both.windows for r in unchanged]), ""),
    ]
    lines = [
        "  alone: stage 1 with the whole error budget; one, both: stage 1 if stage 2 follows",
        *(f"  {name:<46}{100 * value:8.2f} % {wanted:>10}" for name, value, wanted in shares),
    ]
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
        rule = replace(HALF, detect=HALF.tolerance + gap, settled=False)
        shares = [
            rates(stage_one(baselines, draws.current + np.log1p(change), rule))
            for change in (rule.tolerance, rule.detect, 0.0)
        ]
        decided = _series([r.failed + r.passed for r in shares])
        lines.append(f"{within:6.1%} {between:7.1%} | {gap:12.2%} | {decided}")
    return "\n".join(lines)


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
