"""Print how often drift alarms on nothing, and how soon it finds what is planted, by simulation.

A year is 365 sessions, one a day, looked at after each. Sizes are in standard deviations between
sessions. Beside the rule stands a plain one: the same statistic with a threshold of 4.4 and no
allowance for autocorrelation.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from pytest_energy.stats.change_points import SCATTER_THRESHOLD as RESTLESS_THRESHOLD
from pytest_energy.stats.change_points import THRESHOLD, evened, replay, threshold
from pytest_energy.stats.segments import LEAST, REFERENCE

YEAR = 365
START = 100
PLAIN_THRESHOLD = 4.4


@dataclass(frozen=True)
class Noise:
    """One kind of noise: name, degrees of freedom of t (0: normal), autocorrelation at lag 1."""

    name: str
    degrees: int = 0
    lag: float = 0.0

    def year(self, seed: int) -> list[float]:
        """A year's values of about unit scale."""
        rng, values = random.Random(f"{self.name}{seed}"), list[float]()
        for _ in range(YEAR):
            value = rng.gauss(0, 1)
            if self.degrees:
                squares = (rng.gauss(0, 1) ** 2 for _ in range(self.degrees))
                value /= (sum(squares) / self.degrees) ** 0.5
            if self.lag and values:
                value = self.lag * values[-1] + (1 - self.lag**2) ** 0.5 * value
            values.append(value)
        return values


NOISES = (
    Noise("normal"),
    Noise("heavy tails (t, 3 df)", 3),
    Noise("autocorrelation 0.2", lag=0.2),
    Noise("autocorrelation 0.5", lag=0.5),
)

SHAPES: tuple[tuple[str, Callable[[int], float]], ...] = (
    ("step of 1 SD", lambda day: 1.0 * (day >= START)),
    ("step of 2 SD", lambda day: 2.0 * (day >= START)),
    ("step of 4 SD", lambda day: 4.0 * (day >= START)),
    ("ramp of 0.01 SD a day", lambda day: 0.01 * max(0, day - START)),
    ("ramp of 0.03 SD a day", lambda day: 0.03 * max(0, day - START)),
    ("ramp of 0.1 SD a day", lambda day: 0.1 * max(0, day - START)),
)


def alarms(years: Sequence[Sequence[float]], of: int) -> float:
    """The share of years with an alarm, where `of` series share the budget."""
    return sum(any(True for _ in replay(year, threshold(of))) for year in years) / len(years)


def restless_alarms(years: Sequence[Sequence[float]]) -> float:
    """The share of years in which unchanged noise is told to scatter more or less than before."""
    rest = [[value - median(year) for value in year] for year in years]
    limit = threshold(1, RESTLESS_THRESHOLD)
    return sum(any(True for _ in replay(evened(year), limit)) for year in rest) / len(years)


def plain_alarms(years: Sequence[Sequence[float]]) -> float:
    """The same for the plain rule, all splits at every look."""
    values = np.array(years)
    centre = np.median(values[:, :REFERENCE], 1, keepdims=True)
    spread = 1.4826 * np.median(abs(values[:, :REFERENCE] - centre), 1, keepdims=True)
    scale = np.maximum(spread, 0.5 * values[:, :REFERENCE].std(1, ddof=1, keepdims=True))
    z = np.clip((values - centre) / scale, -4, 4)
    sums, squares = (np.cumsum(np.pad(part, ((0, 0), (1, 0))), 1) for part in (z, z * z))
    alarmed = np.zeros(len(years), bool)
    for count in range(REFERENCE, YEAR + 1):
        cuts = np.arange(LEAST, count - LEAST + 1)
        left = sums[:, cuts] / cuts
        right = (sums[:, [count]] - sums[:, cuts]) / (count - cuts)
        rest = squares[:, [count]] - cuts * left**2 - (count - cuts) * right**2
        size = np.sqrt(cuts * (count - cuts) / count * (count - 2) / rest)
        alarmed |= (abs(left - right) * size > PLAIN_THRESHOLD).any(1)
    return float(alarmed.mean())


def delays(shape: Callable[[int], float], trials: int) -> list[int]:
    """Sessions from the beginning of a change to its alarm; a year where there was none."""
    found = []
    for seed in range(trials):
        values = [noise + shape(day) for day, noise in enumerate(NOISES[0].year(seed))]
        found.append(_first_alarm(values) - START)
    return found


def restless_delays(times: float, trials: int) -> list[int]:
    """Sessions from a day on which noise grows by a factor to the alarm."""
    found = []
    for seed in range(trials):
        year = NOISES[0].year(seed)
        values = evened([v * (times if day >= START else 1.0) for day, v in enumerate(year)])
        found.append(_first_alarm(values, RESTLESS_THRESHOLD) - START)
    return found


def _first_alarm(values: Sequence[float], alone: float = THRESHOLD) -> int:
    seen = 0

    def watched() -> Iterator[float]:
        nonlocal seen
        for value in values:
            seen += 1
            yield value

    for change in replay(watched(), threshold(1, alone)):
        if change >= START // 2:
            return seen
    return START + YEAR


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="years of each noise (1000)")
    trials = parser.parse_args().trials
    print(f"Years with a false alarm, {trials:,} of each noise, a look after each of 365 sessions:")
    print(f"{'noise':<24}{'one series':>12}{'each of 16':>12}{'plain rule':>12}{'restless':>12}")
    for noise in NOISES:
        years = [noise.year(seed) for seed in range(trials)]
        shares = (alarms(years, 1), alarms(years, 16), plain_alarms(years), restless_alarms(years))
        print(f"{noise.name:<24}" + "".join(f"{share:>12.1%}" for share in shares), flush=True)
    print("\nSessions until the alarm, normal noise, one series:")
    print(f"{'planted':<24}{'median':>12}{'9 of 10 by':>12}{'missed':>12}")
    for name, shape in SHAPES:
        show_delays(name, delays(shape, trials // 5))
    for times in (2.0, 3.0):
        show_delays(f"{times:g} times the noise", restless_delays(times, trials // 5))


def show_delays(name: str, found: list[int]) -> None:
    """Print the median, what nine of ten took, and how many were missed."""
    found = sorted(found)
    late = found[int(0.9 * len(found))]
    missed = sum(delay >= YEAR for delay in found) / len(found)
    print(f"{name:<24}{median(found):>12.0f}{late:>12}{missed:>12.1%}", flush=True)


if __name__ == "__main__":
    main()
