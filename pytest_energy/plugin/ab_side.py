"""A side of an A/B: pytest runs the user's own test here, whose gate measures when it is asked to.

`python -m pytest_energy.plugin.ab_side DESCRIPTOR` is started by the process that meters.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Sequence
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.ab.protocol import VERSION, Ready, RemoteMeter, RunFacts, is_memory, last_error
from pytest_energy.ab.side_place import INSTALLED, foreign_module, foreign_tree
from pytest_energy.channels import Channel, ClosedError, Message
from pytest_energy.checks.measuring import Run
from pytest_energy.checks.policy import CheckContext
from pytest_energy.errors import EnergyError, informing
from pytest_energy.metering import Window
from pytest_energy.metering.device_session import DeviceSession
from pytest_energy.metering.hardware import Budget
from pytest_energy.metering.profile import Profile
from pytest_energy.plugin.fixtures import SESSION
from pytest_energy.plugin.neighbours import stay_in_this_process
from pytest_energy.plugin.options import settings_of
from pytest_energy.plugin.progress import Progress
from pytest_energy.plugin.session import EnergySession
from pytest_energy.results import VerdictRecord
from pytest_energy.results.json_codec import as_json, from_json

PLUGIN = "pytest_energy.plugin"

START_SECONDS = 60.0
"""How long the first message may take, which is sent as soon as the process has been started."""


class SideRunner:
    """Announces a check to the process that meters, measures its windows, returns its verdict."""

    def __init__(
        self, channel: Channel, environment: dict[str, str], other_trees: Sequence[str]
    ) -> None:
        self.told = False
        self._channel = channel
        self._environment = environment
        self._other_trees = other_trees
        self._checks = 0

    def check(
        self, context: CheckContext, metric: str, runs: Sequence[Run], name: str | None
    ) -> VerdictRecord:
        """The record of the verdict, once it comes."""
        del context  # the process that meters has its own
        self._require_own_code()
        facts = tuple(RunFacts.of(run) for run in runs)
        ready = Ready(self._checks, metric, name, facts, self._environment)
        self._channel.send("ready", **as_json(ready))
        self._checks += 1
        while True:
            message = self._next()
            if message["kind"] == "done":
                return from_json(VerdictRecord, message["record"])
            run = runs[message["run"]]
            if message["kind"] == "profile":
                self._channel.send("profile", **_profiled(run))
            else:
                self._channel.send("window", window=as_json(self._window(run)))

    def fault(self, kind: str, text: str) -> None:
        """Say once what went wrong; nobody may be listening any more."""
        if not self.told:
            self.told = True
            with contextlib.suppress(ClosedError):
                self._channel.send("fault", fault=kind, text=text)

    def _require_own_code(self) -> None:
        looked = (foreign_module(tree, sys.modules) for tree in self._other_trees)
        found = next((module for module in looked if module is not None), None)
        if found is None:
            return
        name, file = found
        text = (
            f"`{name}` comes from `{file}`, past this side's path, as editable installations do; "
            "put the folder that holds it on pytest's `pythonpath`, so that each side finds its own"
        )
        self.fault("mixed", text)
        raise EnergyError(text)

    def _window(self, run: Run) -> Window:
        try:
            return run.window()
        except Exception as error:
            self.fault("memory" if is_memory(error) else "failed", _in_a_line(error))
            raise

    def _next(self) -> Message:
        try:
            message = self._channel.receive()
        except ClosedError:
            message = None
        if message is None:
            pytest.exit("the comparison is over", returncode=0)
        return message


class SidePlugin:
    """The hooks of a side's pytest, in place of those of a run that meters."""

    def __init__(self, channel: Channel, told: Message) -> None:
        self._channel, self._told = channel, told
        self._runner: SideRunner | None = None
        self._collected = 0
        self._broken: str | None = None
        self._skipped: str | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Put a session in place whose meter and budget are the other process's."""
        stay_in_this_process(config)
        told = self._told
        session = EnergySession(
            settings_of(config),
            Path(),
            Progress(),
            lambda *_: None,  # the process that meters reports
            device=DeviceSession.over(RemoteMeter(self._channel, told["meter"])),
            budget=Budget(told["tokens"], told["max_tokens_per_batch"], told["tokens_of_tasks"]),
        )
        environment = dict(session.hardware.environment)
        self._runner = SideRunner(self._channel, environment, _other_trees(told))
        session.runner = self._runner
        config.stash[SESSION] = session

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember what could not be imported."""
        if report.failed and self._broken is None:
            self._broken = last_error(report.longreprtext) or "pytest could not collect it"

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what was found."""
        self._collected = len(session.items)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell of a test that fails, or is skipped by its last report: others are of subtests."""
        report = yield
        if self._runner is None:
            return report
        if report.when == "teardown" and self._skipped is not None:
            self._runner.fault("skipped", self._skipped)
        error = None if call.excinfo is None else call.excinfo.value
        self._skipped = str(error) if report.skipped else None
        if error is not None and report.failed and not isinstance(error, pytest.exit.Exception):
            self._runner.fault("memory" if is_memory(error) else "failed", _in_a_line(error))
        return report

    def finished(self, code: int) -> None:
        """Say how pytest ended: what was not found or not imported, or that all is done."""
        with contextlib.suppress(ClosedError):
            if self._broken is not None:
                self._channel.send("fault", fault="import", text=self._broken)
            elif self._runner is None:
                self._channel.send("fault", fault="start", text=f"pytest ended with code {code}")
            elif not self._collected:
                text = "pytest finds nothing by its name there"
                self._channel.send("fault", fault="absent", text=text)
            else:
                self._channel.send("finished", code=code)


def main(arguments: Sequence[str]) -> int:
    """Run the test and answer until it is over; the argument is the inherited descriptor."""
    channel = Channel(Connection(int(arguments[0])))
    try:
        told = channel.receive(START_SECONDS)
    except ClosedError:
        told = None
    if told is None:
        return 1
    if told["version"] != VERSION:
        channel.send("fault", fault="version", text=f"{VERSION}, not {told['version']}")
        return 1
    for tree in _other_trees(told):
        _ignore(tree)
    side = SidePlugin(channel, told)
    code = pytest.main([*plugin_arguments(), *told["arguments"]], plugins=[side])
    side.finished(int(code))
    return int(code)


def plugin_arguments() -> list[str]:
    """What loads our plugin if it is not installed."""
    installed = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", PLUGIN]


def _other_trees(told: Message) -> list[str]:
    """The trees whose code this side must not run."""
    return [tree for tree in (told["ignored"], foreign_tree()) if tree is not None]


def _ignore(folder: str) -> None:
    """Take another tree off the path, so that this side imports none of its code."""
    sys.path[:] = [
        entry
        for entry in sys.path
        if not Path(entry or ".").resolve().is_relative_to(folder)
        or any(part in INSTALLED for part in Path(entry).parts)
    ]


def _profiled(run: Run) -> dict[str, Any]:
    """The profile of a run, None if there is none, and why it could not be made, if it could not.

    Only the check's own channel ends a side: what only informs does not.
    """
    found: Profile | None = None
    wrong: list[str] = []
    with informing("", wrong.append, passing=(ClosedError,)):
        from pytest_energy.workloads.profiling import profile

        found = profile(run)
    return {"profile": as_json(found), "error": wrong[0] if wrong else None}


def _in_a_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
