"""What a check goes by: the run's settings, the test's own, the devices and their baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_energy.baselines.store import BaselineStore
from pytest_energy.checks.settings import Settings, TestSettings
from pytest_energy.metering import Window
from pytest_energy.metering.hardware import Hardware
from pytest_energy.outcomes import Method
from pytest_energy.stats.sequential import ErrorBudget

MISSED = 0.03
"""Share of changes as large as `detect` that one figure's gates may pass."""


@dataclass(frozen=True)
class CheckContext:
    """What the checks of one test go by.

    `on_window` is told of each window by its run's name and number (0: warm-up), `on_output` title
    and text of what a process printed that failed.
    """

    test: str
    asked: TestSettings
    settings: Settings
    hardware: Hardware
    method: Method
    store: BaselineStore
    error_budget: ErrorBudget
    on_window: Callable[[str, int, Window], None]
    on_output: Callable[[str, str], None]

    def alpha(self) -> float:
        """The next check's share of the false failures that one run allows itself."""
        return self.error_budget.take(self.test) / self._stages

    def settling_alpha(self) -> float:
        """The same for the pairs that settle what the latest check left open."""
        return self.error_budget.taken(self.test) / self._stages

    @property
    def beta(self) -> float:
        """The share of changes to be caught that one gate may miss."""
        return MISSED / self._stages

    @property
    def _stages(self) -> int:
        """How many gates may judge one figure, which share its error rates."""
        return 2 if self.settings.settle else 1
