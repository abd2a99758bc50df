"""How A/B fares where pairs are not as quiet, as like or as free of order as one would wish.

Run `python perf/pair_trials.py`: each line is a kind of noise, 20,000 trials of it decided by the
paired gate's own rule (`vectorised_gate`, which tests hold to the gate). Given are the share of
unchanged code that fails, of +5 % (or more, where the line says so) that is caught and that is
passed, and the mean number of pairs; the rest is `inconclusive`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vectorised_gate import (
    IMPROVEMENT,
    REGRESSION,
    WITHIN,
    Baselines,
    Decisions,
    Floats,
    Rule,
    learn,
    record,
    stage_one,
    stage_two,
)

MOST = 30
LARGE_MOST = 20
SESSIONS, WINDOWS = 8, 10

Generator = np.random.Generator
Draw = Callable[[Generator, int, int], Floats]
"""Log ratios of so many trials of so many unchanged pairs, from a generator."""


def noise(kind: str, sd: float) -> Draw:
    """Pairs of independent noise of one shape."""

    def draw(rng: Generator, trials: int, most: int) -> Floats:
        shape = (trials, most)
        if kind == "uniform":
            return sd * rng.uniform(-np.sqrt(3), np.sqrt(3), shape)
        unit: Floats = rng.standard_normal(shape)
        if kind == "t3":
            unit = rng.standard_t(3, shape) / np.sqrt(3)
        return sd * unit

    return draw


def windows(sd: float, autocorrelation: float, switch: float = 0.0) -> Draw:
    """Pairs of windows in the order ABBA; the first after a switch costs more by `switch`."""

    def draw(rng: Generator, trials: int, most: int) -> Floats:
        series = rng.standard_normal((trials, 2 * most))
        for index in range(1, 2 * most):
            fresh = np.sqrt(1 - autocorrelation**2) * series[:, index]
            series[:, index] = autocorrelation * series[:, index - 1] + fresh
        first, second = sd * series[:, ::2], sd * series[:, 1::2] + np.log1p(switch)
        order = np.where(np.arange(most) % 2 == 0, 1.0, -1.0)
        pairs: Floats = order * (second - first)
        return pairs

    return draw


def processes(level: float, sd: float, *, renewed: bool) -> Draw:
    """Pairs of windows where each process has a level of its own; `renewed` at every pair."""

    def draw(rng: Generator, trials: int, most: int) -> Floats:
        levels = level * rng.standard_normal((trials, most if renewed else 1, 2))
        windows = sd * rng.standard_normal((trials, most, 2))
        sides = levels + windows
        pairs: Floats = sides[..., 1] - sides[..., 0]
        return pairs

    return draw


def outlier(sd: float, size: float) -> Draw:
    """Pairs one of which, anywhere among the first six, is off by `size`."""

    def draw(rng: Generator, trials: int, most: int) -> Floats:
        pairs: Floats = sd * rng.standard_normal((trials, most))
        pairs[np.arange(trials), rng.integers(0, min(6, most), trials)] += np.log1p(size)
        return pairs

    return draw


def baselines(rng: Generator, trials: int, sd: float, autocorrelation: float = 0.2) -> Baselines:
    """What 8 sessions of 10 windows say of windows that vary so much."""
    series = rng.standard_normal((trials, SESSIONS, WINDOWS))
    for index in range(1, WINDOWS):
        fresh = np.sqrt(1 - autocorrelation**2) * series[..., index]
        series[..., index] = autocorrelation * series[..., index - 1] + fresh
    level = 0.005 * rng.standard_normal((trials, SESSIONS, 1))
    return learn(record(0.005 * np.exp(level + sd * series)))


@dataclass(frozen=True)
class Case:
    """One line: what is drawn, what must be caught, and by how many pairs; `known` windows' SD."""

    name: str
    draw: Draw
    change: float = 0.05
    most: int = MOST
    known: float | None = None
    renewed: bool = False


@dataclass(frozen=True)
class Found:
    """Shares of all trials, and pairs on average, of unchanged code and of the change."""

    failed: float
    caught: float
    passed: float
    pairs: float
    pairs_changed: float
    by_six: float
    """Share of both that six pairs decide."""


def run(case: Case, trials: int, seed: int) -> Found:
    """A case's figures."""
    rng = np.random.default_rng([seed, *case.name.encode()])
    rule = replace(Rule(), most=case.most)
    pairs = case.draw(rng, trials, case.most)
    known = None if case.known is None else baselines(rng, trials, case.known)
    moved_pairs = pairs + np.log1p(case.change)
    same = stage_two(known, pairs, rule, renewed=case.renewed)
    moved = stage_two(known, moved_pairs, rule, renewed=case.renewed)
    both = np.concatenate([same.count, moved.count])
    return Found(
        failed=_share(same, REGRESSION, IMPROVEMENT),
        caught=_share(moved, REGRESSION),
        passed=_share(moved, WITHIN),
        pairs=float(same.count.mean()),
        pairs_changed=float(moved.count.mean()),
        by_six=float((both <= 6).mean()),
    )


def _share(decisions: Decisions, *outcomes: int) -> float:
    return float(np.isin(decisions.outcome, outcomes).mean())


def cases() -> Iterator[Case]:
    """All lines."""
    for kind in ("normal", "uniform", "t3"):
        for sd in (0.003, 0.01, 0.02, 0.03, 0.06, 0.09, 0.12, 0.15):
            yield Case(f"pairs alone, {kind}, SD {sd:.1%}", noise(kind, sd))
    for sd in (0.003, 0.01, 0.02):
        for r in (0.0, 0.2, 0.5):
            yield Case(f"windows {sd:.1%}, autocorrelation {r}", windows(sd, r))
    for change, sd in ((0.25, 0.09), (0.25, 0.13), (0.5, 0.13), (0.5, 0.2)):
        name = f"pairs alone, SD {sd:.0%}, {LARGE_MOST} pairs at most, {change:+.0%}"
        yield Case(name, noise("normal", sd), change, LARGE_MOST)
    for sd in (0.003, 0.01):
        for known in (None, sd):
            told = "alone" if known is None else "baseline"
            name = f"first window after a switch +5 %, windows {sd:.1%}, {told}"
            yield Case(name, windows(sd, 0.2, 0.05), known=known)
    for size in (0.1, 0.4):
        yield Case(f"one pair {size:+.0%}, the others SD 0.7%, 12 pairs", outlier(0.007, size),
                   most=12)  # fmt: skip
    for level in (0.01, 0.02):
        for known in (None, 0.01):
            told = "alone" if known is None else "baseline"
            for renewed in (False, True):
                how = "new for each pair" if renewed else "the same two"
                name = f"processes differ by {level:.0%}, {how}, windows 1%, {told}"
                draw = processes(level, 0.01, renewed=renewed)
                yield Case(name, draw, known=known, renewed=renewed)


def renewal_table(trials: int, seed: int) -> str:
    """Where starts are dear: what the same two would fail, two more pairs of processes confirm.

    Where they do not all find the same, new processes for each pair decide.
    """
    lines = [f"{'processes differ by':>20} | unchanged fails | +5 % caught | +5 % passed"]
    for level in (0.005, 0.01, 0.015, 0.02):
        rng = np.random.default_rng([seed, round(1e4 * level)])
        same, anew = (processes(level, 0.01, renewed=renewed) for renewed in (False, True))
        shares = []
        for change in (0.0, np.log1p(0.05)):
            draws = [same(rng, trials, MOST) for _ in range(3)] + [anew(rng, trials, MOST)]
            first, *more, last = (
                stage_two(None, pairs + change, Rule(), renewed=number == 3).outcome
                for number, pairs in enumerate(draws)
            )
            fails = np.isin(first, (REGRESSION, IMPROVEMENT))
            agree = (first == more[0]) & (first == more[1])
            shares.append(np.where(fails & ~agree, last, first))
        unchanged, changed = shares
        lines.append(
            f"{level:20.1%} | {100 * np.isin(unchanged, (REGRESSION, IMPROVEMENT)).mean():13.2f} % "
            f"| {100 * (changed == REGRESSION).mean():9.2f} % "
            f"| {100 * (changed == WITHIN).mean():9.2f} %"
        )
    return "\n".join(lines)


def sessions_table(trials: int, seed: int) -> str:
    """The baseline's gate where sessions differ much: unchanged, +5 %, +25 % and +50 %."""
    lines = [f"{'sessions differ by':>18} | unchanged fails | caught % at +5, +25, +50 %"]
    for between in (0.005, 0.01, 0.02, 0.04):
        rng = np.random.default_rng([seed, round(1e4 * between)])
        level = between * rng.standard_normal((trials, SESSIONS + 1, 1))
        values = level + 0.01 * rng.standard_normal((trials, SESSIONS + 1, MOST))
        known = learn(record(0.005 * np.exp(values[:, 1:, :WINDOWS])))
        logs = np.log(0.005) + values[:, 0]
        found = [stage_one(known, logs + np.log1p(c), Rule()) for c in (0.0, 0.05, 0.25, 0.5)]
        failed = 100 * _share(found[0], REGRESSION, IMPROVEMENT)
        caught = " ".join(f"{100 * _share(one, REGRESSION):6.1f}" for one in found[1:])
        lines.append(f"{between:18.1%} | {failed:13.2f} % | {caught}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000, help="trials a line (20000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    parser.add_argument("--only", default="", help="lines whose name has this in it")
    options = parser.parse_args(arguments)
    print(f"{'':66} unchanged | the change        | pairs         | six decide")
    print(f"{'':66}    failed |   caught   passed  | at 0   at it  |")
    for case in cases():
        if options.only in case.name:
            found = run(case, options.trials, options.seed)
            print(
                f"{case.name:66}{100 * found.failed:8.3f} % |{100 * found.caught:7.2f} % "
                f"{100 * found.passed:6.2f} % | {found.pairs:5.1f} {found.pairs_changed:6.1f}  "
                f"|{100 * found.by_six:6.1f} %",
                flush=True,
            )
    if not options.only:
        print(
            "\nThe same two processes, and two more pairs of them before a failure (windows 1 %):"
        )
        print(renewal_table(options.trials, options.seed))
        print("\nOne session against a baseline of 8:")
        print(sessions_table(options.trials, options.seed))


if __name__ == "__main__":
    main()
