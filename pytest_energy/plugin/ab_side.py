"""pytest inside a side's process: a session that meters elsewhere, and a gate that only sells."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pytest_energy.ab.messages import VERSION, is_memory, last_error
from pytest_energy.ab.remote_meter import RemoteMeter
from pytest_energy.ab.same_work import facts_of_run, foreign_module
from pytest_energy.checks.measuring import Run
from pytest_energy.errors import EnergyError
from pytest_energy.ipc import Channel, ClosedError, Message
from pytest_energy.metering import Window
from pytest_energy.metering.hardware import Budget, Hardware, identify
from pytest_energy.meters import Meter
from pytest_energy.plugin.fixtures import SESSION
from pytest_energy.plugin.options import EnergyConfig
from pytest_energy.plugin.progress import Progress
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import VerdictRecord, window_as_json

PLUGIN = "pytest_energy.plugin"


class Server:
    """Stands in for the gate: announces a check, sells windows, and passes on its verdict."""

    def __init__(
        self, channel: Channel, environment: dict[str, str], other_tree: str | None
    ) -> None:
        self.told = False
        self._channel = channel
        self._environment = environment
        self._other_tree = other_tree
        self._checks = 0

    def check(self, metric: str, runs: Sequence[Run]) -> VerdictRecord:
        """Sell windows of the runs until the verdict comes."""
        self._require_own_code()
        self._channel.send(
            "ready",
            check=self._checks,
            metric=metric,
            runs=[facts_of_run(run) for run in runs],
            environment=self._environment,
        )
        self._checks += 1
        while True:
            message = self._next()
            if message["kind"] == "done":
                return VerdictRecord.from_json(message["record"])
            window = self._window(runs[message["run"]])
            self._channel.send("window", window=window_as_json(window))

    def fault(self, kind: str, text: str) -> None:
        """Say once what went wrong; nobody may be listening any more."""
        if not self.told:
            self.told = True
            with contextlib.suppress(ClosedError):
                self._channel.send("fault", fault=kind, text=text)

    def _require_own_code(self) -> None:
        found = foreign_module(self._other_tree, sys.modules) if self._other_tree else None
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


class ServedSession(EnergySession):
    """A session whose meter, budget and verdicts are another process's; it stores nothing."""

    def __init__(self, config: EnergyConfig, channel: Channel, order: Message) -> None:
        super().__init__(config, Path(), Progress())
        self._channel = channel
        self._order = order
        self.server = Server(channel, dict(self.hardware.environment), order["ignored"])

    @cached_property
    def meter(self) -> Meter:
        """The meter that the other process has open."""
        return RemoteMeter(self._channel, self._order["meter"])

    @cached_property
    def hardware(self) -> Hardware:
        """What is measured on, with this interpreter's packages."""
        return identify(self.meter)

    @cached_property
    def budget(self) -> Budget:
        """The other process's budget, so that both sides work on the same batches."""
        return Budget(self._order["tokens"], self._order["max_tokens_per_batch"])

    def tokens_per_window(self, asked: int | None) -> int:  # noqa: ARG002
        """The same for both sides, whatever this tree's marker says."""
        return self.budget.tokens

    @contextmanager
    def metered(self) -> Iterator[None]:
        """The other process holds the devices."""
        yield


class Serving:
    """The plugin of a side's pytest."""

    def __init__(self, channel: Channel, order: Message) -> None:
        self._channel = channel
        self._order = order
        self._server: Server | None = None
        self._collected = 0
        self._broken: str | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Put the session in place before anyone asks for one."""
        _stay_in_this_process(config)
        settings = EnergyConfig.from_pytest_config(config)
        session = ServedSession(settings, self._channel, self._order)
        config.stash[SESSION] = session
        self._server = session.server

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
        """Tell of a test that fails or is skipped."""
        report = yield
        if self._server is not None and call.excinfo is not None:
            if report.skipped:
                self._server.fault("skipped", str(call.excinfo.value))
            elif report.failed and not isinstance(call.excinfo.value, pytest.exit.Exception):
                kind = "memory" if is_memory(call.excinfo.value) else "failed"
                self._server.fault(kind, _in_a_line(call.excinfo.value))
        return report

    def finished(self, code: int) -> None:
        """Say how pytest ended: what was not found or not imported, or that all is done."""
        with contextlib.suppress(ClosedError):
            if self._broken is not None:
                self._send_fault("import", self._broken)
            elif self._server is None:
                self._send_fault("start", f"pytest ended with code {code}")
            elif not self._collected:
                self._send_fault("absent", "pytest finds nothing by its name there")
            else:
                self._channel.send("finished", code=code)

    def _send_fault(self, kind: str, text: str) -> None:
        self._channel.send("fault", fault=kind, text=text)


def plugin_arguments() -> list[str]:
    """What loads our plugin where it is not installed."""
    installed = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", PLUGIN]


def _stay_in_this_process(config: pytest.Config) -> None:
    """Undo what an ini file asks of pytest-xdist, before it begins to distribute."""
    for name, value in (("numprocesses", 0), ("dist", "no"), ("tx", [])):
        if hasattr(config.option, name):
            setattr(config.option, name, value)


def _in_a_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


ORDER_SECONDS = 60.0
"""How long the order may take, which is sent as soon as the process has been started."""


def main(arguments: Sequence[str]) -> int:
    """Serve until the test is over; the argument is the descriptor of the inherited connection."""
    channel = Channel(Connection(int(arguments[0])))
    try:
        order = channel.receive(ORDER_SECONDS)
    except ClosedError:
        order = None
    if order is None:
        return 1
    if order["version"] != VERSION:
        channel.send("fault", fault="version", text=f"{VERSION}, not {order['version']}")
        return 1
    _ignore(order["ignored"])
    import pytest

    serving = Serving(channel, order)
    code = pytest.main([*plugin_arguments(), *order["arguments"]], plugins=[serving])
    serving.finished(int(code))
    return int(code)


def _ignore(folder: str | None) -> None:
    """Take another tree off the path, so that this side imports none of its code."""
    if folder is None:
        return
    installed = ("site-packages", "dist-packages")
    sys.path[:] = [
        entry
        for entry in sys.path
        if not Path(entry or ".").resolve().is_relative_to(folder)
        or any(part in installed for part in Path(entry).parts)
    ]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
