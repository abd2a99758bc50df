"""The parts of one run: what it meters with, gates by and has found. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.baselines.reading import known_hardware, qualified
from pytest_energy.baselines.store import BaselineStore
from pytest_energy.baselines.tables import Calibration
from pytest_energy.checks import Settings, TestSettings
from pytest_energy.checks.figures import BaselineRunner, GateRunner
from pytest_energy.checks.policy import CheckContext
from pytest_energy.errors import EnergyError, informing
from pytest_energy.metering import OpenWindow, Window, window
from pytest_energy.metering.device_session import DeviceSession
from pytest_energy.metering.hardware import Budget, Hardware
from pytest_energy.meters import Meter
from pytest_energy.plugin.progress import Progress
from pytest_energy.results import INTERRUPTED, REFERENCE_LOAD, VerdictRecord
from pytest_energy.results.run_results import RunResults
from pytest_energy.stats.sequential import ErrorBudget
from pytest_energy.text import safe_line, safe_lines
from pytest_energy.units import quantity
from pytest_energy.workloads.tasks import TASKS

if TYPE_CHECKING:
    from pytest_energy.results.claims import EnergyClaim
    from pytest_energy.workloads.data.examples import DataSource

Report = Callable[["EnergySession", pytest.Item, VerdictRecord], None]


class EnergySession:
    """One run on one hardware; nothing is opened before a test asks for it.

    `report` is given each verdict. If a `budget` is given, tests' markers do not change it.
    """

    def __init__(
        self,
        settings: Settings,
        cache: Path,
        progress: Progress,
        report: Report,
        *,
        device: DeviceSession | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.settings, self.cache, self.progress = settings, cache, progress
        self.report = report
        self.device = device or DeviceSession(
            settings.meter,
            progress,
            asked=settings.hw,
            known=partial(known_hardware, settings.baselines),
            qualified=partial(qualified, settings.baselines),
            lock_timeout_seconds=settings.lock_timeout_seconds,
            idle_seconds=settings.idle_seconds,
        )
        self.store = BaselineStore(
            self.device,
            settings.baselines,
            cache,
            settings.update,
            settings.tokens,
            settings.demands_baseline,
        )
        self.results = RunResults()
        self.error_budget = ErrorBudget()
        self.runner: GateRunner = BaselineRunner()
        self.bad_input: str | None = None
        self.claim: EnergyClaim | None = None
        """What the test at hand has noted of its claim."""
        self.came: Callable[[EnergySession], None] = lambda _: None
        self._windows_open = 0
        self._measuring: list[Window] = []
        self._budget = budget
        self._remarked = False
        self._owned: list[Callable[[], None]] = [self.device.close]

    @property
    def meter(self) -> Meter:
        """The run's one meter."""
        return self.device.meter

    @property
    def hardware(self) -> Hardware:
        """What is measured on."""
        return self.device.hardware

    @property
    def budget(self) -> Budget:
        """Tokens of a window, and at most so many a batch."""
        return self._budget or self.store.budget

    @property
    def calibration(self) -> Calibration | None:
        """How the devices' joules become joules at the wall, if that was stored."""
        return self.store.calibration

    @cached_property
    def data(self) -> DataSource:
        """The data that workloads train on; one for the run, so that files are read once."""
        from pytest_energy.workloads.data import open_data

        return open_data(self.settings.data, self.settings.models)

    def described_data(self) -> tuple[str, ...]:
        """What was read of the data, a sentence each; empty if nothing was."""
        return self.data.described() if "data" in vars(self) else ()

    def tokens_per_window(self, asked: int | None, task: str | None = None) -> int:
        """Token budget of a task's window, for a test whose marker asks for so many, or for none.

        `task` is None for what is no task, such as a Trainer.
        """
        return (not self._budget and asked) or self.budget.tokens_of(task)

    def require_own_meter(self) -> None:
        """Raise `EnergyError` in a side of an A/B, whose meter belongs to another process."""
        if self._budget:
            raise EnergyError(
                "a run of several processes cannot be compared by A/B: its ranks meter "
                "themselves; leave the test out, or gate it by a baseline"
            )

    @cached_property
    def shared_runs(self) -> SharedRuns:
        """Runs that one test leaves for others; a comparison needs the memory for its sides."""
        alone = self._budget or self.settings.compare or self.settings.settle
        shared = SharedRuns(0 if alone else MOST_IDLE)
        self.close_later(shared.close)
        return shared

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Hold the devices for the block; nests."""
        if self.bad_input is not None:  # an xdist worker cannot end the run, but it spends nothing
            raise EnergyError(self.bad_input)
        with self.device.metered():
            yield

    @contextmanager
    def window(self, name: str) -> Iterator[OpenWindow]:
        """Meter the block as a part of a test; nests."""
        self._windows_open += 1
        try:
            with window(self.meter, name) as opened:
                yield opened
        finally:
            self._windows_open -= 1

    def keep(self, record: VerdictRecord) -> None:
        """Add a record to the results, and to what a run that is killed leaves behind."""
        self._measuring.clear()
        self.results.verdicts.append(record)
        if not self._windows_open:  # whose joules would be those of writing
            self.came(self)

    def begin_test(self) -> None:
        """Let go of windows of an earlier test's figure, which came to no verdict."""
        self._measuring.clear()

    def keep_unfinished(self, test: str) -> None:
        """Add what an interrupt has left unfinished: a figure's windows, and a claim."""
        if self.claim is not None and self.claim.has_noted:
            self.claim.interrupted()
            self.results.claims.append(self.claim.record)
        windows, count = tuple(self._measuring), len(self._measuring)
        if windows:
            reason = f"{INTERRUPTED}, after {count} windows with its warm-up"
            name, method = windows[0].name, windows[0].method
            self.keep(
                VerdictRecord(
                    name, "joules_per_token", test, reason=reason, method=method, windows=windows
                )
            )

    def context(self, item: pytest.Item, asked: TestSettings) -> CheckContext:
        """What the checks of a test go by."""
        self.begin_test()
        return CheckContext(
            test=item.nodeid,
            asked=asked,
            settings=self.settings,
            hardware=self.hardware,
            method=self.meter.method,
            store=self.store,
            error_budget=self.error_budget,
            on_begin=self.progress.begin,
            on_window=self._show,
            reference_joules=self._reference_joules,
            on_output=lambda title, text: item.add_report_section(
                "call", safe_line(title), safe_lines(text)
            ),
        )

    def look_at(self, done: Window) -> None:
        """Remark once on GPUs that a window metered and on which nothing of this run computed."""
        unused = () if self._remarked else self.device.unused_in(done)
        if not unused:
            return
        self._remarked = True
        names = ", ".join(f"`{device.domain}` ({device.name})" for device in unused)
        self.results.remarks += (
            f"{names} drew no more than when idle in `{done.name}`, and no process of this run "
            "computed there: joules of it are not the work's; meter what computes, by "
            "`CUDA_VISIBLE_DEVICES` or `--energy-meter`",
        )

    def take_device(self) -> None:
        """Have the results know of the devices, and of what was spent on them until now."""
        calibration = self.calibration if self.device.identified else None
        self.results.take_device(self.device, calibration)

    def close_later(self, close: Callable[[], None]) -> None:
        """Have something closed with the session."""
        self._owned.insert(0, close)

    def close(self) -> None:
        """Close the meter if it was opened, and what an A/B was made of."""
        for close in self._owned:
            close()

    def _reference_joules(self) -> float | None:
        """The load's joules, unless windows are open, whose joules would be those of the load."""
        return None if self._windows_open else self._load_joules

    @cached_property
    def _load_joules(self) -> float | None:
        """The reference load's joules in this run, metered once; other workers may disturb it."""
        windows = () if self.settings.parallel else self._reference_windows()
        return _reference_record(windows).value if windows else None

    def meter_reference_load(self) -> None:
        """Add the reference load to the results, and to what is recorded, at the session's end.

        Only if the session is one of those that are compared.
        """
        recorded = self.settings.history is not None or self.settings.update is not None
        if not recorded or self.settings.compare is not None or not self.results.verdicts:
            return
        windows = self._reference_windows()
        if windows:
            from pytest_energy.workloads.torch_loads import REFERENCE_VERSION

            record = _reference_record(windows)
            self.results.verdicts.append(record)
            if record.value:
                self.store.add_reference(REFERENCE_VERSION, record.value)

    def _reference_windows(self) -> tuple[Window, ...]:
        """The load's windows; none where it is not wanted, or torch was not used.

        It ends no run: what goes wrong is told.
        """
        if self.settings.reference_load == "off" or "torch" not in sys.modules:
            return ()
        with informing("the reference load", self.progress.note):
            from pytest_energy.workloads.torch_loads import measured_windows

            with self.metered():
                return measured_windows(self.meter)
        return ()

    def _show(self, identifier: str, number: int, window: Window) -> None:
        self._measuring.append(window)
        figure = quantity(window.joules_per_token, "J/token")
        text = f"{figure}  {window.tokens_per_second:,.0f} tokens/s"
        self.progress.window(identifier, number, text, window.seconds)
        stored = self.store.baseline
        if stored is None or not stored.entries:  # else the budget is the baseline's
            task = identifier.partition("/")[0]
            self.progress.propose(window.tokens, window.seconds, task if task in TASKS else None)


def _reference_record(windows: tuple[Window, ...]) -> VerdictRecord:
    valid = [window for window in windows if window.valid]
    reasons = [window.invalid_reason for window in windows if window.invalid_reason]
    return VerdictRecord(
        id=windows[0].name,
        metric=REFERENCE_LOAD,
        unit="J",
        outcome="measured" if valid else "invalid",
        reason="the same work in every session, to tell the device from the code"
        if valid
        else reasons[0],
        value=fmean(window.joules for window in valid) if valid else None,
        uncertainty=fmean(window.uncertainty_joules for window in valid) if valid else None,
        method=windows[0].method,
        windows=windows,
    )


MOST_IDLE = 2
"""Runs that wait for another test: both sides of a comparison."""


class SharedRuns:
    """Runs that no test holds at the moment, by what they were asked for with, the latest last."""

    def __init__(self, most_idle: int = MOST_IDLE) -> None:
        self._most = most_idle
        self._idle: dict[str, Any] = {}

    def take(self, asked: str, build: Callable[[], Any]) -> Any:
        """The run that was asked for, which its test has to itself until it gives it back."""
        run = self._idle.pop(asked, None)
        if run is not None:
            return run
        self._keep(max(self._most - 1, 0))  # no more memory than without sharing
        return build()

    def give_back(self, asked: str, run: Any) -> None:
        """Keep a run for another test, unless its test has closed it or another is kept."""
        if not run.batches or asked in self._idle:
            run.close()
            return
        self._idle[asked] = run
        self._keep(self._most)

    def close(self) -> None:
        """Free the runs that wait, such as for a test that needs the memory."""
        self._keep(0)

    def _keep(self, most: int) -> None:
        while len(self._idle) > most:
            self._idle.pop(next(iter(self._idle))).close()
