"""Windows: joules over a stretch of work, with their uncertainty and whether they are valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_energy.meters.protocol import Method


@dataclass(frozen=True)
class Window:
    """One metered stretch of work; joules are gross (idle included), waits for ticks excluded.

    `seconds` is the work's own time (s); `tokens` counts padding, `real_tokens` does not;
    `uncertainty_joules` is the half-width (J) that covers the true energy 19 times in 20.
    """

    name: str
    method: Method
    joules_by_domain: Mapping[str, float]
    seconds: float
    uncertainty_joules: float
    started: float
    """Unix time (s) at which the window began."""
    invalid_reason: str | None = None
    tokens: int = 0
    real_tokens: int = 0
    steps: int = 0
    loss: float | None = None
    notes: Mapping[str, float] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether the joules can be used as evidence."""
        return self.invalid_reason is None

    @property
    def joules(self) -> float:
        """Joules of all domains together (J)."""
        return sum(self.joules_by_domain.values())

    @property
    def mean_watts(self) -> float:
        """Mean power over the window (W)."""
        return self.joules / self.seconds

    @property
    def joules_per_token(self) -> float:
        """Joules a processed token, padding included (J/token)."""
        return self.joules / self.tokens

    @property
    def joules_per_real_token(self) -> float:
        """Joules a token that is not padding (J/token)."""
        return self.joules / self.real_tokens

    @property
    def tokens_per_second(self) -> float:
        """Processed tokens a second (1/s)."""
        return self.tokens / self.seconds
