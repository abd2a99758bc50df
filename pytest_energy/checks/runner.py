"""Which way the checks of a run go: against its baselines, by pairs, or in a side of an A/B."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pytest_energy.checks.joules_per_token import JoulesPerToken
from pytest_energy.checks.measuring import Run, require_run
from pytest_energy.checks.policy import CheckContext
from pytest_energy.checks.savings import Savings
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.results import VerdictRecord

__tracebackhide__ = raised_elsewhere

_RUNS = {"joules_per_token": 1, "savings": 2}


class GateRunner(Protocol):
    """Turns a metric of one run, or of two, into the record of a verdict; one for each session."""

    def check(
        self, context: CheckContext, metric: str, runs: Sequence[Run], name: str | None
    ) -> VerdictRecord:
        """The record of one check of a test; `name` is the figure's, None: that of its runs."""


class BaselineRunner:
    """Gates figures against the baselines that are stored for the hardware."""

    def check(
        self, context: CheckContext, metric: str, runs: Sequence[Run], name: str | None
    ) -> VerdictRecord:
        """The record of one check; recorded if there is no baseline to check against."""
        for run in runs:
            require_run(run)
        if metric == "savings":
            return Savings(context, runs[0], runs[1], name).verdict()
        return JoulesPerToken(context, runs[0], name).verdict()


def require_metric(metric: str, runs: Sequence[Run]) -> None:
    """Raise `EnergyError` if a metric is not known, or is not one of so many runs."""
    if _RUNS.get(metric) != len(runs):
        raise EnergyError(
            f"`{metric}` with {'one run' if len(runs) == 1 else 'two runs'} is no check; "
            f"give `joules_per_token` one run, or `savings` the larger and the smaller"
        )
