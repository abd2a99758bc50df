"""Windows for a claim: warmed up, valid, of as many passes as asked, the middle one of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import pytest

from pytest_energy import EnergySession, Sampler, Window, quantity, user_errors
from pytest_energy.checks.comparability import require_undisturbed
from pytest_energy.checks.measuring import InvalidEvidenceError, Run, latest_windows
from pytest_energy.stats.steadiness import WARM_UP_LIMIT
from pytest_energy.workloads.device import default_device
from pytest_energy.workloads.finetune import make_workload

MOST_PASSES = 64
"""Of a window that warms up."""

ROUNDS = 3
"""Windows of which the middle one counts: one that something disturbed moves nothing."""


class PassingRun(Run, Protocol):
    """A run with windows of several passes, such as `finetune` makes."""

    def window(self, passes: int = 1) -> Window:
        """Do the work of `passes` passes, metered."""


class ClaimSampler:
    """Measures windows of runs for a session; a test that gets no valid ones ends with the reason.

    It is skipped then, and fails where `CI` is set or with `--energy-strict`.
    """

    def __init__(self, session: EnergySession) -> None:
        self._session = session
        self._tokens_per_second = 0.0

    def warm_up(self, run: PassingRun) -> float:
        """Windows that are no evidence, until J/token is steady; one where joules are modelled.

        Returns the last one's tokens/s.
        """
        limit = self._warm_up_limit
        with self.evidence():
            require_undisturbed(self._session.settings, self._session.hardware)
            warm = latest_windows(run)
            self._tokens_per_second = warm[-1].tokens_per_second if warm else 0.0
            if not (warm and limit == 1):
                Sampler(_LongEnough(run), self._show).warm_up(limit, latest=warm)
        return self._tokens_per_second

    def measured(self, workload: str | None) -> list[Window]:
        """The valid windows that this session's J/token of that work was found from, if it was.

        `workload` is its digest.
        """
        return [
            window
            for verdict in self._session.results.verdicts
            if verdict.metric == "joules_per_token" and verdict.workload == workload is not None
            for window in verdict.windows
            if window.valid
        ]

    def windows(
        self, run: PassingRun, passes: Sequence[int] = (1,), rounds: int = ROUNDS
    ) -> list[Window]:
        """For each number of passes the window of middle J/token out of `rounds`, up and down.

        A drift is no trend over the passes then.
        """
        with self.evidence():
            samplers = [self._sampler(run, count) for count in passes]
            return [middle(windows) for windows in _rounds(samplers, rounds)]

    def in_turn(self, runs: Sequence[PassingRun], rounds: int = ROUNDS) -> list[list[Window]]:
        """Of each run its windows; runs take turns, so that a drift is no effect.

        Each is warmed up first.
        """
        self._session.progress.begin(len(runs) * (self._warm_up_limit + rounds))
        for run in runs:
            self.warm_up(run)
        with self.evidence():
            return _rounds([self._sampler(run, 1) for run in runs], rounds)

    def joules_per_token(self, run: PassingRun, rounds: int = ROUNDS) -> float:
        """Warm a run up, and the middle J/token of its windows after that."""
        self.warm_up(run)
        (window,) = self.windows(run, rounds=rounds)
        return window.joules_per_token

    @property
    def _warm_up_limit(self) -> int:
        return 1 if self._session.meter.method == "modelled" else WARM_UP_LIMIT

    def _sampler(self, run: PassingRun, passes: int) -> Sampler:
        return Sampler(_Passes(run, passes), self._show)

    def _show(self, identifier: str, number: int, window: Window) -> None:
        text = f"{window.tokens:,} tokens  {quantity(window.joules, 'J')}"
        self._tokens_per_second = window.tokens_per_second
        self._session.progress.window(identifier, number, text, window.seconds)

    @contextmanager
    def evidence(self) -> Iterator[None]:
        """Around what measures: ends the test with the reason if windows stay invalid."""
        with user_errors():
            try:
                yield
                return
            except InvalidEvidenceError as error:
                reason = f"invalid, so not a pass: {error}"
        if self._session.settings.ci or self._session.settings.strict:
            raise pytest.fail.Exception(reason, pytrace=False) from None
        raise pytest.skip.Exception(reason) from None


class _Passes:
    """A run whose windows are all of so many passes."""

    def __init__(self, run: PassingRun, passes: int) -> None:
        self.id, self.digest, self.padding_overhead = run.id, run.digest, run.padding_overhead
        self._run, self._passes = run, passes

    def window(self) -> Window:
        return self._run.window(self._passes)


class _LongEnough(_Passes):
    """A run to warm up with: windows of more passes where those are too short for the meter."""

    def __init__(self, run: PassingRun) -> None:
        super().__init__(run, 1)

    def window(self) -> Window:
        window = super().window()
        while window.is_too_short and self._passes < MOST_PASSES:
            self._passes *= 4
            window = super().window()
        return window


def _rounds(samplers: Sequence[Sampler], rounds: int) -> list[list[Window]]:
    """So many windows of each, measured there and back."""
    for number in range(rounds):
        for one in samplers if number % 2 == 0 else reversed(samplers):
            one.measure()
    return [one.windows for one in samplers]


def middle(windows: Sequence[Window]) -> Window:
    """The window of middle J/token."""
    ordered = sorted(windows, key=lambda window: window.joules_per_token)
    return ordered[(len(ordered) - 1) // 2]


def standard_digest(session: EnergySession, task: str, model: str) -> str:
    """The digest of what `finetune(task, model)` trains, without building it."""
    workload = make_workload(
        task,
        model,
        device=default_device(),
        data=session.data,
        max_tokens_per_batch=session.budget.max_tokens_per_batch,
        models=session.settings.models,
    )
    return workload.digest
