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
        return sd * unit(kind, rng, (trials, most))

    return draw


def unit(kind: str, rng: Generator, shape: tuple[int, ...]) -> Floats:
    """Values of one shape of distribution, independent, of an SD of 1."""
    values: Floats
    if kind == "uniform":
        values = rng.uniform(-np.sqrt(3), np.sqrt(3), shape)
    elif kind == "t3":
        values = rng.standard_t(3, shape) / np.sqrt(3)
    elif kind == "two levels":
        values = rng.choice((-1.0, 1.0), shape)
    elif kind == "one in ten apart":
        values = (rng.random(shape) < 0.1) / 0.3
    else:
        values = rng.standard_normal(shape)
    return values


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


def processes(level: float, sd: float, *, renewed: bool, kind: str = "normal") -> Draw:
    """Pairs of windows where each process has a level of its own; `renewed` at every pair."""

    def draw(rng: Generator, trials: int, most: int) -> Floats:
        levels = level * unit(kind, rng, (trials, most if renewed else 1, 2))
        windows = sd * rng.standard_normal((trials, most, 2))
        sides = levels + windows
        pairs: Floats = sides[..., 1] - sides[..., 0]
        return pairs

    return draw


def ahead(sd: float, by: int) -> Draw:
    """Pairs of windows that rise by 2 % over ten places, where the head is ahead `by` windows."""

    def draw(rng: Generator, trials: int, most: int) -> Floats:
        rise = 0.02 * np.minimum(np.arange(most + by), 9) / 9
        sides = sd * rng.standard_normal((trials, most, 2))
        pairs: Floats = sides[..., 1] - sides[..., 0] + rise[by:] - rise[:most]
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
    for sd in (0.003, 0.01):
        yield Case(f"windows {sd:.1%} rise by 2 %, the head 6 windows ahead", ahead(sd, 6))
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
    """Where starts are dear: of what the same two would fail, new ones for each pair decide.

    Starts are those that it takes then, of both sides at a time, after the first.
    """
    columns = "unchanged fails | +2 % fails | +5 % caught | passed | starts"
    lines = [f"{'processes differ by':>26} | {columns}"]
    for kind in ("normal", "t3", "two levels", "one in ten apart"):
        for level in (0.005, 0.01, 0.02, 0.03):
            rng = np.random.default_rng([seed, round(1e4 * level), *kind.encode()])
            same, anew = (
                processes(level, 0.01, renewed=renewed, kind=kind)(rng, trials, MOST)
                for renewed in (False, True)
            )
            shares, starts = [], 0.0
            for change in (0.0, 0.02, 0.05):
                first = stage_two(None, same + np.log1p(change), Rule()).outcome
                again = stage_two(None, anew + np.log1p(change), Rule(), renewed=True)
                fails = np.isin(first, (REGRESSION, IMPROVEMENT))
                outcome = np.where(fails, again.outcome, first)
                shares.append(np.isin(outcome, (REGRESSION, IMPROVEMENT)).mean())
                starts = again.count[fails].mean() if fails.any() else 0.0
            unchanged, allowed, caught = (100 * share for share in shares)
            passed = 100 * (outcome == WITHIN).mean()
            lines.append(
                f"{kind + f' {level:.1%}':>26} | {unchanged:13.3f} % | {allowed:8.2f} % "
                f"| {caught:9.1f} % | {passed:4.1f} % | {starts:6.1f}"
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
        print("\nThe same two processes, and new ones before a failure (windows 1 %):")
        print(renewal_table(options.trials, options.seed))
        print("\nOne session against a baseline of 8:")
        print(sessions_table(options.trials, options.seed))


if __name__ == "__main__":
    main()
