"""Searches through planted histories: probes by the paired gate on simulated windows."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from pytest_energy.bisect import Conclusion, Finding, Probe
from pytest_energy.bisect.commits import Graph
from pytest_energy.bisect.levels import noise_sessions
from pytest_energy.bisect.search import Asked, Search
from pytest_energy.gate.gates import PairedGate

COMMITS = 64
PLAIN_WINDOWS = 4
JOULES_PER_TOKEN = 0.005
NOISE, LAG = 0.01, 0.2
"""SD of a window, and the autocorrelation of windows one after the other."""
ALPHA, BETA = 0.009, 0.03
"""Of a run with one gated test."""


@dataclass(frozen=True)
class Planted:
    """A history: what each commit changes, by place (1 to `COMMITS`), and which are broken."""

    steps: Mapping[int, float] = field(default_factory=dict)
    broken: frozenset[int] = frozenset()

    def level(self, place: int) -> float:
        """J/token at a place, relative to the good end's, log scale."""
        return sum(math.log1p(size) for at, size in self.steps.items() if at <= place)

    @property
    def culprits(self) -> set[str]:
        """The commits that cost what is still there in the end."""
        there = self.level(COMMITS) > 1e-9
        return {name(at) for at, size in self.steps.items() if size > 0 and there}


def name(place: int) -> str:
    """The commit at a place; 0 is the good end."""
    return f"c{place}"


def history() -> Graph:
    """A straight history."""
    return Graph(name(0), name(COMMITS), {name(n): (name(n - 1),) for n in range(1, COMMITS + 1)})


class SimulatedCard:
    """Answers probes; `windows` counts those that were measured."""

    def __init__(self, planted: Planted, seed: str) -> None:
        self._planted, self._random = planted, random.Random(seed)
        self._findings = list[Finding]()
        self.windows = self.probes = 0
        self.history = history()

    def ask(self, probe: Probe) -> Finding:
        """The gate's verdict on simulated pairs, which knows the noise of the probes before."""
        places = [int(each[1:]) for each in (probe.against, probe.commit)]
        if self._planted.broken.intersection(places):
            return Finding(probe, "broken", reason="it cannot be imported")
        levels = [self._planted.level(place) for place in places]
        gate = PairedGate(
            noise_sessions(self._findings) or None,
            probe.tolerance,
            probe.detect,
            ALPHA,
            BETA,
            probe.most_pairs,
        )
        noise, pairs = self._noise(), list[tuple[float, float]]()
        while gate.verdict is None:
            order = (0, 1) if len(pairs) % 2 == 0 else (1, 0)
            pair = {side: JOULES_PER_TOKEN * math.exp(levels[side] + next(noise)) for side in order}
            pairs.append((pair[0], pair[1]))
            gate.add(*pairs[-1])
        finding = Finding(probe, gate.verdict.outcome, tuple(pairs), "joules_per_token")
        self._findings.append(finding)
        self.windows += 2 * len(pairs)
        self.probes += 1
        return finding

    def _noise(self) -> Iterator[float]:
        value = self._random.gauss(0, NOISE)
        while True:
            yield value
            value = LAG * value + math.sqrt(1 - LAG**2) * self._random.gauss(0, NOISE)


def _one(random_: random.Random) -> Planted:
    return Planted({random_.randint(1, COMMITS): 0.05})


def _two(random_: random.Random) -> Planted:
    return Planted(dict.fromkeys(random_.sample(range(1, COMMITS + 1), 2), 0.03))


def _broken(random_: random.Random) -> Planted:
    at = random_.randint(1, COMMITS)
    others = [place for place in range(1, COMMITS) if place not in (at - 1, at)]
    return Planted({at: 0.05}, frozenset(random_.sample(others, 5)))


def _reverted(random_: random.Random) -> Planted:
    first, second = sorted(random_.sample(range(1, COMMITS + 1), 2))
    return Planted({first: 0.05, second: 1 / 1.05 - 1})


HISTORIES: Mapping[str, Callable[[random.Random], Planted]] = {
    "one culprit of +5 %": _one,
    "two of +3 % each": _two,
    "one of +5 %, five broken commits": _broken,
    "+5 % that was reverted": _reverted,
    "none": lambda _: Planted(),
}
"""Planted histories, each made anew from a generator."""


def search(
    planted: Planted, seed: str, asked: Asked | None = None
) -> tuple[Conclusion, SimulatedCard]:
    """One search through a planted history, and the card that it was measured on."""
    card = SimulatedCard(planted, seed)
    return Search(card.history, card.ask, asked or Asked()).run(), card


def plain_bisection(planted: Planted, seed: str) -> str:
    """The commit that `git bisect run` names with a threshold on the mean of a few windows.

    The threshold is half of the whole change; the good end is measured once. A broken commit is
    skipped: the one nearest to it is tried.
    """
    generator = random.Random(f"plain {seed}")

    def mean(place: int) -> float:
        draws = (generator.gauss(0, NOISE) for _ in range(PLAIN_WINDOWS))
        return planted.level(place) + fmean(draws)

    limit = planted.level(COMMITS) / 2 or math.log1p(0.025)
    reference, low, high = mean(0), 0, COMMITS
    while high - low > 1:
        inner = [place for place in range(low + 1, high) if place not in planted.broken]
        if not inner:
            break
        middle = min(inner, key=lambda place: abs(place - (low + high) / 2))
        if mean(middle) - reference > limit:
            high = middle
        else:
            low = middle
    return name(high)
