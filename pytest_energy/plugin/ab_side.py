"""An A/B in pytest: a side, and what stands for its tests in the run that meters.

`python -m pytest_energy.plugin.ab_side DESCRIPTOR` is started by the process that meters. There
pytest runs the user's own test, whose gate measures when it is asked to.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Generator, Sequence
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.ab import Comparison, Invocation, PairedRunner, SettlingRunner
from pytest_energy.ab.protocol import VERSION, Ready, RemoteMeter, RunFacts, is_memory, last_error
from pytest_energy.ab.side_place import INSTALLED, foreign_module, foreign_tree, passed_on
from pytest_energy.channels import Channel, ClosedError, Message
from pytest_energy.checks.measuring import Run
from pytest_energy.checks.policy import CheckContext
from pytest_energy.errors import EnergyError, informing
from pytest_energy.metering import Window
from pytest_energy.metering.device_session import DeviceSession
from pytest_energy.metering.hardware import Budget
from pytest_energy.metering.profile import Profile
from pytest_energy.plugin.fixtures import SESSION, session_of, user_errors
from pytest_energy.plugin.marker import asked_by, is_gated
from pytest_energy.plugin.options import OPTIONS, VALUE_FLAGS
from pytest_energy.plugin.progress import Progress
from pytest_energy.plugin.session import EnergySession
from pytest_energy.plugin.settings import settings_of, stay_in_this_process
from pytest_energy.results import VerdictRecord
from pytest_energy.results.json_codec import as_json, from_json

PLUGIN = "pytest_energy.plugin"

START_SECONDS = 60.0
"""How long the first message may take, which is sent as soon as the process has been started."""

_RESET = ("hw", "update", "json", "compare", "settle", "history", "markdown", "html")
"""Options that a side must not have, so that it writes nothing and compares nothing."""


class SideRunner:
    """Announces a check to the process that meters, measures its windows, returns its verdict."""

    def __init__(
        self, channel: Channel, environment: dict[str, str], other_trees: Sequence[str]
    ) -> None:
        self._channel, self._environment = channel, environment
        self._other_trees = other_trees
        self._checks, self._told = 0, False

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
        if not self._told:
            self._told = True
            with contextlib.suppress(ClosedError):
                self._channel.send("fault", fault=kind, text=text)

    def _require_own_code(self) -> None:
        for tree in self._other_trees:
            if found := foreign_module(tree, sys.modules):
                text = (
                    f"`{found[0]}` comes from `{found[1]}`, past this side's path, as editable "
                    "installations do; put the folder that holds it on pytest's `pythonpath`, so "
                    "that each side finds its own"
                )
                self.fault("mixed", text)
                raise EnergyError(text)

    def failed(self, error: BaseException) -> None:
        """Say what was raised."""
        text = " ".join(str(error).split())
        name = type(error).__name__
        kind = "memory" if is_memory(error) else "failed"
        self.fault(kind, f"{name}: {text}" if text else name)

    def _window(self, run: Run) -> Window:
        try:
            return run.window()
        except Exception as error:
            self.failed(error)
            raise

    def _next(self) -> Message:
        message = _received(self._channel)
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
            self._runner.failed(error)
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
    told = _received(channel, START_SECONDS)
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


def _received(channel: Channel, timeout_seconds: float | None = None) -> Message | None:
    try:
        return channel.receive(timeout_seconds)
    except ClosedError:
        return None


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


class ComparedItem(pytest.Item):
    """Stands in for a test, whose fixtures and body run in both sides' processes alone.

    Nothing of the user's is built here, so that no third model lies in the device's memory.
    """

    compared = True

    def __init__(self, *, original: pytest.Item, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._original = original
        self.fixturenames: list[str] = list(getattr(original, "fixturenames", ()))
        self.funcargs: dict[str, object] = {}  # others look for their fixtures there
        self.own_markers = list(original.own_markers)
        self.keywords.update(original.keywords)

    def runtest(self) -> None:
        """Compare each check that the test makes."""
        with user_errors():
            session = session_of(self.config)
        assert isinstance(session.runner, PairedRunner), "collection has chosen it"
        with user_errors(), session.metered():
            context = session.context(self, asked_by(self))
            with contextlib.closing(session.runner.compared(context)) as records:
                for record in records:
                    session.report(session, self, record)

    def reportinfo(self) -> Any:
        """Where the test is."""
        return self._original.reportinfo()


def replace_gated(items: list[pytest.Item]) -> None:
    """Put a `ComparedItem` in the place of each test that has a gate."""
    for index, item in enumerate(items):
        if is_gated(item) and item.parent is not None:
            items[index] = ComparedItem.from_parent(item.parent, name=item.name, original=item)


def choose_runner(session: EnergySession, config: pytest.Config) -> None:
    """Have checks done by an A/B; raises `EnergyError` if there is nothing to compare with."""
    settings = session.settings
    comparison = Comparison(settings, _invocation(config))
    session.close_later(comparison.close)
    paired = PairedRunner(
        comparison, lambda: session.meter, session.results.of, session.progress.note
    )
    session.runner = paired if settings.compare else SettlingRunner(paired)


def _invocation(config: pytest.Config) -> Invocation:
    extra = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    arguments = [*extra, *(str(each) for each in config.invocation_params.args)]
    files = [str(each) for each in config.getoption("file_or_dir")]
    return Invocation(
        configuration=config.inipath,
        passed=tuple(passed_on(arguments, files, VALUE_FLAGS)),
        reset=tuple(
            f"{option.flag}={option.default or ''}" for option in OPTIONS if option.name in _RESET
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
