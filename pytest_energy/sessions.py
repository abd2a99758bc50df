"""What is kept of each session that a baseline is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_energy.errors import EnergyError


@dataclass(frozen=True)
class SessionStats:
    """One session of a baseline: `mean` in J/token, `cv` the windows' SD (n - 1) over the mean.

    `autocorrelation` is that of the windows at lag 1, as estimated; `device` a UUID.
    """

    mean: float
    cv: float
    windows: int
    autocorrelation: float = 0.0
    device: str | None = None

    def __post_init__(self) -> None:
        _positive("mean", self.mean)
        _check_session(self.cv, self.windows, self.autocorrelation)

    @property
    def log_mean(self) -> float:
        """Mean of ln(J/token)."""
        return math.log(self.mean) - self.log_variance / 2

    @property
    def log_variance(self) -> float:
        """Variance of ln(J/token) within the session."""
        return math.log1p(self.cv**2)

    @property
    def count(self) -> int:
        """Values behind the mean."""
        return self.windows


@dataclass(frozen=True)
class PairStats:
    """One session of savings: `mean` is the saved fraction, `sd` that of the pairs' log ratios."""

    mean: float
    sd: float
    pairs: int
    autocorrelation: float = 0.0
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.mean < 1.0 or not math.isfinite(self.mean):
            raise EnergyError(
                f"`mean` is {self.mean}, but a saved fraction is below 1; record savings as "
                f"1 - E(other) / E(base)"
            )
        _check_session(self.sd, self.pairs, self.autocorrelation)

    @property
    def log_mean(self) -> float:
        """Mean log ratio, ln(1 - saved fraction)."""
        return math.log1p(-self.mean)

    @property
    def log_variance(self) -> float:
        """Variance of the log ratios within the session."""
        return self.sd**2

    @property
    def count(self) -> int:
        """Pairs behind the mean."""
        return self.pairs


Session = SessionStats | PairStats


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise EnergyError(f"`{name}` is {value}, but must be positive and finite; record it again")


def _check_session(variation: float, count: int, autocorrelation: float) -> None:
    if not (math.isfinite(variation) and variation >= 0):
        raise EnergyError(f"`cv` is {variation}, but must be 0 or more; record the session again")
    if count < 1:
        raise EnergyError(f"a session of {count} windows says nothing; record at least one")
    if not -1 <= autocorrelation <= 1:
        raise EnergyError(
            f"`autocorrelation` is {autocorrelation}, but lies between -1 and 1; record again"
        )
