"""What scores and joules say beyond chance: whether a model learnt, and ratios of pairs; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pytest_energy import EnergyError
from pytest_energy.stats.distributions import NORMAL_95, student_t

Ratio = tuple[float, tuple[float, float]]
"""A ratio, and its 95 % interval."""

LEARNT = 2.0
"""Standard deviations by which a score has to be above chance."""


@dataclass(frozen=True)
class Score:
    """A model's score on `count` held-out examples, and that of the best constant answer (%)."""

    value: float
    chance: float
    count: int

    @property
    def above_chance(self) -> float:
        """What the model has learnt (points)."""
        return self.value - self.chance

    @property
    def deviation(self) -> float:
        """The standard deviation of the score, as that of a share of the examples (points)."""
        share = self.value / 100
        return 100 * math.sqrt(share * (1 - share) / self.count)

    @property
    def least_learnt(self) -> float:
        """The score that a model which knows nothing of the task hardly ever reaches (%).

        Guesses that do not depend on the example are right at most as often as the best constant.
        """
        guessing = Score(self.chance, self.chance, self.count).deviation
        return self.chance + LEARNT * max(guessing, self.deviation)

    @property
    def is_learnt(self) -> bool:
        """Whether the score is above what guessing gives."""
        return self.value > self.least_learnt


def score_kept(larger: Score, smaller: Score) -> Ratio:
    """What share of a model's score above chance another one has.

    The interval takes the two scores for independent: that is wide, for both are of the same
    examples. `EnergyError` unless the larger one has learnt.
    """
    if not larger.is_learnt:
        raise EnergyError("a model that learnt nothing has no score to keep")
    kept = smaller.above_chance / larger.above_chance
    half = NORMAL_95 * math.hypot(smaller.deviation, kept * larger.deviation) / larger.above_chance
    return kept, (kept - half, kept + half)


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """The mean ratio of pairs (Student's t of their logarithms); `EnergyError` for one pair alone.

    Each pair was measured one after the other, so that what drifts weighs on both.
    """
    logs = [math.log(a / b) for a, b in zip(above, below, strict=True)]
    if len(logs) < 2:
        raise EnergyError("one pair of windows says nothing of how pairs vary: measure more")
    middle, half = fmean(logs), student_t(len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), (math.exp(middle - half), math.exp(middle + half))
