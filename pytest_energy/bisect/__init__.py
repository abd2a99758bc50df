"""From a change of J/token to its commit: what is probed, what was found, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_energy.documents import Count, Positive
from pytest_energy.gate.carriers import ProfileChange

Purpose = Literal["ends", "search", "confirm"]
"""What a probe is for: is the change there at all, where is it, is it this commit's."""

Decision = Literal["within", "between", "regression", "broken"]
"""What a probe says: none of the change that is looked for, a part, all of it; or nothing."""

Outcome = Literal["found", "not reproduced", "can't say"]

EXIT_CODES: dict[Outcome, int] = {"found": 0, "not reproduced": 1, "can't say": 2}


@dataclass(frozen=True)
class Probe:
    """An A/B of a commit `against` another, with the gate's levels (fractions) and most pairs.

    `attempt` tells probes apart that ask the same again.
    """

    commit: str
    against: str
    purpose: Purpose
    tolerance: float
    detect: float
    most_pairs: Count
    attempt: Count = 1


@dataclass(frozen=True)
class Finding:
    """What a probe found: pairs of J/token, (base, head), and the gate's `outcome`.

    A `broken` one has no pairs; `reason` says why. `metric` is what the pairs are of, `explanation`
    why the figure differs, `device` what was metered, `profile` where the time of a token goes.
    """

    probe: Probe
    outcome: str
    pairs: tuple[tuple[Positive, Positive], ...] = ()
    metric: str = ""
    reason: str = ""
    explanation: str | None = None
    device: str = ""
    profile: ProfileChange | None = None

    @property
    def is_broken(self) -> bool:
        """Whether it says nothing of the figure."""
        return not self.pairs


@dataclass(frozen=True)
class Estimate:
    """A change relative to what a probe was held against, with its 95 % interval."""

    change: float
    low: float
    high: float


@dataclass(frozen=True)
class Told:
    """A probe as reports show it; `estimate` is None where it was broken."""

    finding: Finding
    decision: Decision
    estimate: Estimate | None


@dataclass(frozen=True)
class Culprit:
    """A commit whose change was confirmed `against` the commit before it.

    `among` are the commits of which it is one, the last of them: more than one if those between
    could not be measured. `explanation` says why the figure differs, `profile` where the time of a
    token goes on both sides.
    """

    commit: str
    against: str
    estimate: Estimate
    among: tuple[str, ...]
    explanation: str | None = None
    profile: ProfileChange | None = None

    @property
    def is_one(self) -> bool:
        """Whether it is known which commit it is."""
        return len(self.among) == 1


@dataclass(frozen=True)
class Conclusion:
    """How a search ended, and by all probes that it took; `reason` is a sentence."""

    outcome: Outcome
    reason: str
    culprits: tuple[Culprit, ...]
    probes: tuple[Told, ...]
    estimate: Estimate | None = None
    """The change of the bad end against the good one."""
