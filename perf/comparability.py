"""Print what becomes of runs that are not comparable with their baseline, by simulation.

A baseline of 8 sessions of 10 windows is drawn anew in every trial; windows vary by 1 %, with an
autocorrelation of 0.2, and sessions by 0.5 %, unless the row says otherwise. What is left open is
settled by pairs. With `--real FILE` each run of real training is judged by the others, too.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from gate_trials import HALF, WHOLE
from pytest_energy.baselines import Entry, StoredSession, session_stats
from pytest_energy.checks.comparability import LOADED
from pytest_energy.gate.gates import PairedGate, SequentialGate
from pytest_energy.stats.distributions import student_t
from pytest_energy.stats.steadiness import (
    BEFORE_TREND,
    COLDER_CELSIUS,
    LASTING,
    LEAST_OF_TREND,
    STEADY,
    STILL_CELSIUS,
    STILL_WINDOWS,
    WARM_UP_LIMIT,
    WARMTH_LIMIT,
    autocorrelation,
    is_stationary,
)
from vectorised_gate import (
    IMPROVEMENT,
    INCONCLUSIVE,
    INVALID,
    REGRESSION,
    WITHIN,
    Baselines,
    Floats,
    Ints,
    learn,
    record,
    stage_one,
    stage_two,
)

SESSIONS, WINDOWS, MOST = 8, 10, 30
CHANGES = (0.0, 0.05, 0.10)
WIDE = 70
_PLACE: Floats = np.arange(WINDOWS, dtype=np.float64)
CURVES: dict[str, Floats] = {
    "every session rises by 2 % over 10 windows": 0.02 * _PLACE / (WINDOWS - 1),
    "every session falls by 2 % over 10 windows": -0.02 * _PLACE / (WINDOWS - 1),
    "the first 3 windows of every session cost 2 % more": np.where(_PLACE < 3, 0.02, 0.0),
    "the first and last 3 windows cost 2 % more": np.where((_PLACE < 3) | (_PLACE > 6), 0.02, 0.0),
    "the first and last 3 windows cost 2 % less": np.where((_PLACE < 3) | (_PLACE > 6), -0.02, 0.0),
}
"""What the first ten windows of all sessions are off by, by the row's name."""

UNUSUAL = ("sessions with heavy tails", "5 bimodal", "comparable")
"""How rows begin that are printed as they are without pairs, too."""


@dataclass(frozen=True)
class Trials:
    """Unchanged trials: `baselines`, windows `logs` (T, most) and pairs (T, most), log scale.

    Runs that are `refused` (T) were not warm enough to be measured; `spent` (T) is the warm-up.
    """

    baselines: Baselines
    logs: Floats
    pairs: Floats
    refused: Any = False
    spent: Any = 2


def drawn(
    rng: np.random.Generator,
    levels: Floats,
    *,
    within: float = 0.01,
    noisier: float = 1.0,
    days: int | None = None,
    curve: Floats | float = 0.0,
    drift: Callable[[Ints], Floats] | None = None,
    begins: Ints | None = None,
    worked: int | None = None,
) -> Trials:
    """Trials of `levels` (T, sessions + 1), the last of which is the run's.

    `curve` is what the first ten windows of every session are off by; later ones are off as the
    tenth is. `drift` is what windows are off by, by their number since the run began to work; those
    that are evidence begin at the run's number `begins`, and those of the baseline after it had
    `worked` for so many windows; None: long enough.
    """
    trials = len(levels)
    shape = (trials, levels.shape[1] - 1, WINDOWS)
    stored = levels[:, :-1, None] + _windows(rng, shape, within)
    series = levels[:, -1:] + _windows(rng, (trials, 3 * MOST), noisier * within)
    places = np.broadcast_to(curve, WINDOWS)
    stored, series[:, WINDOWS:] = stored + places, series[:, WINDOWS:] + places[-1]
    series[:, :WINDOWS] += places
    if drift is not None:
        if worked is not None:
            stored = stored + drift(worked + np.arange(WINDOWS))
        first = np.zeros(trials, np.int64) if begins is None else begins
        series = series + drift(first[:, None] + np.arange(3 * MOST))
    pairs = series[:, MOST:].reshape(trials, MOST, 2)
    order = np.where(np.arange(MOST) % 2 == 0, 1.0, -1.0)
    known = learn(record(np.exp(stored)), days)
    return Trials(known, series[:, :MOST], order * (pairs[..., 1] - pairs[..., 0]))


def outcomes(trials: Trials, change: float) -> tuple[Ints, Ints]:
    """Outcome codes, and the windows that they cost, warm-up included; pairs settle the rest."""
    log = math.log1p(change)
    one = stage_one(trials.baselines, trials.logs + log, HALF)
    outcome, count = one.outcome.copy(), one.count + trials.spent
    still = outcome == INCONCLUSIVE
    two = stage_two(trials.baselines.rows(still), trials.pairs[still] + log, HALF)
    outcome[still] = two.outcome
    count[still] += 2 * two.count
    outcome[np.broadcast_to(trials.refused, outcome.shape)] = INVALID
    return outcome, count


def rows(trials: int, seed: int) -> Iterator[tuple[str, Trials]]:
    """Each row's name and trials."""

    def rng(number: int) -> np.random.Generator:
        return np.random.default_rng([seed, number])

    for apart in (0.0, 0.01, 0.015, 0.02):
        source = rng(round(1e4 * apart))
        levels = 0.005 * source.standard_normal((trials, SESSIONS + 1))
        levels += apart * source.standard_normal((trials, 2))[:, [0] * SESSIONS + [1]]
        yield f"baseline of one day, days differ by {apart:.1%}", drawn(source, levels, days=1)
    for within, between in ((0.01, 0.005), (0.003, 0.0025)):
        for told in (True, False):
            source = rng(1000 + round(1e4 * within) + told)
            levels = between * source.standard_normal((trials, SESSIONS + 1))
            spent, refused = _warmed(source, trials) if told else (np.full(trials, 2), False)
            cold = drawn(source, levels, within=within, drift=_cold, begins=spent)
            name = f"run 3 % cold, {within:.1%} / {between:.2%}"
            name += "" if told else ", no temperature, load not stored"
            yield name, Trials(cold.baselines, cold.logs, cold.pairs, refused, spent)
        for number, (first, more, drift, worked, most) in enumerate(_UNTOLD):
            source = rng(2000 + 10 * round(1e4 * within) + number)
            levels = between * source.standard_normal((trials, SESSIONS + 1))
            spent = np.minimum(_levelled(source, trials, within, drift), most)
            row = drawn(source, levels, within=within, drift=drift, begins=spent, worked=worked)
            name = f"{first}, {within:.1%} / {between:.2%}, no temperature{more}"
            yield name, Trials(row.baselines, row.logs, row.pairs, False, spent)
    source = rng(2)
    levels = 0.005 * source.standard_normal((trials, SESSIONS + 1))
    yield "run twice as noisy as its baseline", drawn(source, levels, noisier=2.0)
    source = rng(3)
    levels = 0.01 / math.sqrt(3) * source.standard_t(3, (trials, SESSIONS + 1))
    yield "sessions with heavy tails (t3), SD 1 %", drawn(source, levels)
    source = rng(4)
    levels = 0.02 * source.choice((-1.0, 1.0), (trials, 6))
    levels += 0.005 * source.standard_normal((trials, 6))
    yield "5 bimodal sessions, 4 % apart", drawn(source, levels)
    for number, (name, curve) in enumerate(CURVES.items()):
        source = rng(6 if number == 0 else 60 + number)
        levels = 0.005 * source.standard_normal((trials, SESSIONS + 1))
        yield name, drawn(source, levels, curve=curve)
    source = rng(5)
    levels = 0.005 * source.standard_normal((trials, SESSIONS + 1))
    yield "comparable", drawn(source, levels)


def table(trials: int, seed: int) -> str:
    """A line a row: what fails unchanged, what is caught and passed, and windows."""
    lines = [
        f"{'':{WIDE}}| {'unchanged, %':23}| {'+5 %':23}| +10 %  | windows",
        f"{'':{WIDE}}|  fails passed invalid   | caught passed invalid   | caught | at 0   +5 %",
    ]
    for name, row in rows(trials, seed):
        shares, windows = [], []
        for change in CHANGES:
            outcome, count = outcomes(row, change)
            moved = np.isin(outcome, (REGRESSION, IMPROVEMENT)).mean()
            shares.append((moved, (outcome == WITHIN).mean(), (outcome == INVALID).mean()))
            windows.append(count.mean())
        (same, five, ten) = ([f"{100 * share:6.2f}" for share in found] for found in shares)
        lines.append(
            f"{name:{WIDE}}| {' '.join(same)}    | {' '.join(five)}    | {ten[0]} | "
            f"{windows[0]:5.1f} {windows[1]:5.1f}"
        )
    return "\n".join(lines)


def alone_table(trials: int, seed: int) -> str:
    """What becomes of rows of unusual levels if no pairs follow; the rest is inconclusive."""
    lines = [f"{'without pairs':{WIDE}}| unchanged fails | +5 % caught | +5 % passed"]
    for name, row in rows(trials, seed):
        if name.startswith(UNUSUAL):
            same, moved = (
                stage_one(row.baselines, row.logs + math.log1p(change), WHOLE).outcome
                for change in (0.0, 0.05)
            )
            failed = np.isin(same, (REGRESSION, IMPROVEMENT)).mean()
            shares = [failed, (moved == REGRESSION).mean(), (moved == WITHIN).mean()]
            lines.append(f"{name:{WIDE}}| " + " | ".join(f"{100 * x:11.2f} %" for x in shares))
    return "\n".join(lines)


def _windows(rng: np.random.Generator, shape: tuple[int, ...], sd: float) -> Floats:
    noise, kept = rng.standard_normal(shape), 0.2
    for index in range(1, shape[-1]):
        noise[..., index] = kept * noise[..., index - 1] + (1 - kept**2) ** 0.5 * noise[..., index]
    return sd * noise


def _cold(number: Ints) -> Floats:
    """What the windows of a device are off by that began to work 3 % below its warm level."""
    off: Floats = np.log1p(-0.03 * np.exp(-number / 20))
    return off


def _warmed(rng: np.random.Generator, trials: int) -> tuple[Ints, Any]:
    """Warm-up windows by the temperature, and which runs are refused.

    30 °C below at first, read to a degree; baselines began within 2 °C (SD) of where it ends.
    """
    number = np.arange(1, WARMTH_LIMIT + 1)
    true = 60 - 30 * np.exp(-number / 20) + 0.3 * rng.standard_normal((trials, WARMTH_LIMIT))
    celsius = np.round(true)
    wanted = np.median(60 + 2 * rng.standard_normal((trials, SESSIONS)), 1, keepdims=True)
    warm = celsius >= wanted - COLDER_CELSIUS
    rise = celsius[:, STILL_WINDOWS - 1 :] - celsius[:, : 1 - STILL_WINDOWS]
    warm[:, STILL_WINDOWS - 1 :] |= rise <= STILL_CELSIUS
    warm[:, 0] = False
    reached = warm.any(1)
    return np.where(reached, warm.argmax(1) + 1, WARMTH_LIMIT), ~reached


def _warm(number: Ints) -> Floats:
    """What the windows of a device are off by that was warm before."""
    return np.zeros(number.shape)


# Runs that have not worked before, by what the device did, and the most windows of warm-up; the
# baseline of the second had worked for 20 windows, that of the others for long.
_UNTOLD: tuple[tuple[str, str, Callable[[Ints], Floats], int | None, int], ...] = (
    ("run 3 % cold", "", _cold, None, WARMTH_LIMIT),
    ("run 3 % cold", ", baseline after 20 windows", _cold, 20, math.ceil(LOADED * 20)),
    ("run 3 % cold", ", 8 windows of warm-up", _cold, None, WARM_UP_LIMIT),
    ("warm run that has not worked", "", _warm, None, WARMTH_LIMIT),
)


def _levelled(
    rng: np.random.Generator, trials: int, within: float, drift: Callable[[Ints], Floats]
) -> Ints:
    """Windows after which no trend is left, of a run that has not worked before; else 30."""
    number = np.arange(WARMTH_LIMIT)
    return first_level(_windows(rng, (trials, WARMTH_LIMIT), within) + drift(number))


def first_level(logs: Floats) -> Ints:
    """After how many windows of each row (T, most) `has_levelled` first says so; else all."""
    found = np.full(len(logs), logs.shape[1])
    for count in reversed(range(BEFORE_TREND + LEAST_OF_TREND, logs.shape[1] + 1)):
        values = logs[:, BEFORE_TREND:count]
        place = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
        squares = (place**2).sum()
        slope = values @ place / squares
        rest = values - values.mean(1, keepdims=True) - slope[:, None] * place
        degrees = values.shape[1] - 2
        reach = student_t(degrees) * np.sqrt((rest**2).sum(1) / degrees / squares)
        found[(np.abs(slope) + reach) * LASTING <= STEADY] = count
    return found


def real_table(path: Path) -> str:
    """Each real run judged by the others of its set, at three changes."""
    sets = json.loads(path.read_text(encoding="utf-8"))["sets"]
    lines = ["real runs, each judged by the others    |  runs | within moved invalid open"]
    for change in CHANGES:
        found = [ended for runs in sets.values() for ended in left_out(runs, change)]
        counts = [
            sum(ended in outcome for ended in found)
            for outcome in (("within",), ("regression",), ("invalid",), ("inconclusive",))
        ]
        others = len(found) - sum(counts)
        counts[1] += others  # improvements
        shown = " ".join(f"{count:6}" for count in counts)
        lines.append(f"  changed by {change:4.0%}{'':24}| {len(found):5} | {shown}")
    return "\n".join(lines)


def left_out(runs: Sequence[Mapping[str, Any]], change: float) -> Iterator[str]:
    """The outcome of each run of a set, its windows changed, against all others."""
    for index, run in enumerate(runs):
        others = tuple(_session(other) for place, other in enumerate(runs) if place != index)
        entry = Entry("joules_per_token", "real", others)
        sessions = session_stats(entry, _began(run))
        gate = SequentialGate(sessions, alpha=HALF.alpha, beta=HALF.beta, settled=True)
        windows = _evidence(run)
        for window in windows[: HALF.most]:
            if gate.add(window * (1 + change)) is not None:
                break
        outcome = gate.verdict.outcome if gate.verdict else "inconclusive"
        yield _settled(sessions, windows, change) if outcome == "inconclusive" else outcome


def _settled(sessions: Sequence[Any], windows: Sequence[float], change: float) -> str:
    """The outcome of pairs of the run's own windows; from the beginning again if they run out."""
    gate = PairedGate(sessions, alpha=HALF.alpha, beta=HALF.beta)
    for number in range(HALF.most):
        pair = [windows[(2 * number + side) % len(windows)] for side in (0, 1)]
        base, head = pair if number % 2 == 0 else pair[::-1]
        if gate.add(base, head * (1 + change)) is not None:
            break
    assert gate.verdict is not None
    return gate.verdict.outcome


def _session(run: Mapping[str, Any]) -> StoredSession:
    values = _evidence(run)[:WINDOWS]
    mean = float(np.mean(values))
    cv = float(np.std(values, ddof=1)) / mean
    date = _began(run).isoformat()
    return StoredSession(date, len(values), mean, cv, autocorrelation(values))


def _began(run: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(run["start_ms"] / 1000, timezone.utc)


def _evidence(run: Mapping[str, Any]) -> list[float]:
    """Windows after warming up."""
    values: list[float] = run["joules"]
    steady = (n for n in range(2, WARM_UP_LIMIT) if is_stationary(values[:n]))
    return values[next(steady, WARM_UP_LIMIT) :]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20_000, help="trials a row (20000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    parser.add_argument("--real", type=Path, help="windows of real training, as JSON")
    options = parser.parse_args(arguments)
    print(f"{options.trials:,} trials a row, seed {options.seed}")
    print(table(options.trials, options.seed))
    print(alone_table(options.trials, options.seed))
    if options.real:
        print(real_table(options.real))


if __name__ == "__main__":
    main()
