"""The hooks of a run that meters. PYTEST_DONT_REWRITE.

What they use is imported when a test is metered: a run without one pays nothing.
"""

from __future__ import annotations

from collections.abc import Generator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.checks import Settings
from pytest_energy.errors import EnergyError, informing
from pytest_energy.plugin.fixtures import CLAIM, SESSION
from pytest_energy.plugin.marker import asked_by, is_gated, is_marked, is_metered, is_metered_whole
from pytest_energy.plugin.records import RunRecords, why_stopped
from pytest_energy.plugin.settings import as_given, figures_asked_for, uses_xdist
from pytest_energy.plugin.undone import (
    NOT_LOOKED_AT,
    Selection,
    left_undone,
    look_for_what_is_stored,
)
from pytest_energy.text import safe_lines

if TYPE_CHECKING:
    from pytest_energy.metering.cpu_load import CpuUse
    from pytest_energy.plugin.session import EnergySession
    from pytest_energy.results import RunRecord


class EnergyPlugin:
    """The hooks of one pytest run, which owns its session from the first test that needs it."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config, self._settings = config, settings
        self._cpu_use: CpuUse | None = None
        self._records = RunRecords(config, settings)
        self._record: RunRecord | None = None
        self._undone: str | None = None
        self._running: str | None = None
        self._selection = Selection(config)
        config.pluginmanager.register(self._selection)

    @property
    def _session(self) -> EnergySession | None:
        return self._config.stash.get(SESSION, None)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Under `--energy-compare` leave tests that have a gate to their sides' processes."""
        if self._settings.compare and not self._config.option.collectonly:
            from pytest_energy.plugin.ab_side import replace_gated

            replace_gated(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Say in the run's document that it has begun."""
        if not self._config.option.collectonly:
            self._records.begin()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Open the session if a test needs it, and find bad input before energy is spent."""
        metered = [item for item in session.items if is_metered(item)]
        all_stored = self._settings.require_all and self._selection.is_whole(session)
        wanted = metered or figures_asked_for(self._config) or all_stored
        if wanted and not self._config.option.collectonly:
            self.begin(metered)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let go of what an earlier attempt at the test reported."""
        self._running = item.nodeid
        if self._session is not None:
            from pytest_energy.plugin.outcome import begin

            begin(self._session, item)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test whose verdict stands; else meter one that is marked, and judge its claim."""
        if self._session is not None:
            from pytest_energy.plugin.outcome import fail_again

            fail_again(item)
        marked = is_marked(item) and not getattr(item, "compared", False)
        limit = asked_by(item).max_joules if marked else None
        if limit is None and not is_metered_whole(item):
            result = yield
        else:
            from pytest_energy.plugin.outcome import metered_whole

            with metered_whole(item, limit):
                result = yield
        if CLAIM in item.stash:
            from pytest_energy.plugin.outcome import conclude

            conclude(item)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take back what a test recorded that did not pass, and count it as done."""
        report = yield
        session = self._session
        if session is not None:
            from pytest_energy.plugin.outcome import reported

            reported(session, item, report)
            if report.when == "teardown" and self._records.is_worker:
                vars(report)[SENT] = self._records.to_send(session, item.nodeid)
            elif report.when == "teardown" and is_metered(item):
                self._records.came(session)
        if report.when == "teardown":
            self._running = None
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what is done, and keep what an xdist worker sends with the report of a test."""
        self._records.reported(report)
        sent = vars(report).pop(SENT, None) if hasattr(report, "node") else None
        if sent is not None:
            session = self._opened()
            self._records.receive(session, report.node.gateway.id, sent, report.nodeid)
            self._records.came(session)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note why the run ends early."""
        self._records.stopped = why_stopped(excinfo)

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that pytest or a plugin has failed."""
        self._records.stopped = f"internal error: {excinfo.exconly(tryshort=True)}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """End the attempt, and tell pytest-benchmark of its windows if a test uses both."""
        if self._session is None:
            return
        from pytest_energy.plugin.outcome import annotate, end

        end(item)
        benchmark = getattr(item, "funcargs", {}).get("benchmark")
        if benchmark is not None:
            annotate(self._session.results, item, benchmark)

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(
        self, config: pytest.Config, machine_info: MutableMapping[str, Any]
    ) -> None:
        """Tell pytest-benchmark which devices were metered."""
        if self._session is not None:
            from pytest_energy.plugin.outcome import describe_machine

            describe_machine(self._session.device.identified, config, machine_info)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take in what an xdist worker sends when it is done."""
        payload = getattr(node, "workeroutput", {}).get("energy")
        if payload is None:
            return
        session = self._opened()
        if "bad_input" in payload:
            session.bad_input = payload["bad_input"]
        else:
            self._records.receive(session, node.gateway.id, payload)
            session.store.merge(payload["store"])
            self._selection.partial |= payload["partial"]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Store what was recorded and write the reports, or send it home from an xdist worker."""
        energy = self._session
        output = getattr(self._config, "workeroutput", None)
        if energy is None:
            # A session that never ran, such as `getnode` of pytester makes, has no status.
            status = getattr(session, "exitstatus", None)
            if status == pytest.ExitCode.USAGE_ERROR:
                self._records.take_back()
            elif status is not None:
                self._records.finish_without_figures()
            self._fail_for_errors(session)
        elif energy.bad_input is None:
            self._complete(energy)
            if output is None:
                self._write(energy, session)
            else:
                output["energy"] = {
                    "results": energy.results.as_payload(),
                    "store": energy.store.as_payload(),
                    "partial": not self._selection.is_whole(session),
                }
        elif output is None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            self._records.take_back()
        else:
            output["energy"] = {"bad_input": energy.bad_input}

    def _complete(self, energy: EnergySession) -> None:
        """Add to the results what is known when the tests are over."""
        from pytest_energy.metering.cpu_load import disturbance

        energy.progress.clear()
        if self._running is not None:  # an interrupt came before it could fail
            energy.store.discard(self._running)
            energy.results.discard(self._running, "was interrupted")
        with informing("what else used the CPU", energy.progress.note):
            energy.results.disturbance = energy.results.disturbance or disturbance(self._cpu_use)
        if not (self._running or self._records.stopped or uses_xdist(self._config)):
            energy.meter_reference_load()
        energy.take_device()
        energy.results.data += energy.described_data()

    def _write(self, energy: EnergySession, session: pytest.Session) -> None:
        """Write all records; what could not be written, or was not done, fails the run."""
        if not self._settings.compare:
            whole = self._selection.is_whole(session)
            with informing("what is stored", self._records.errors.append):
                look_for_what_is_stored(energy.results, self._settings, whole=whole)
        self._record = self._records.finish(energy, session, self._running)
        self._fail_for_errors(session)
        if session.exitstatus in _SUCCESSES:
            self._undone = left_undone(self._record, self._settings, self._config)
        if self._undone is not None and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table of verdicts, what the run cost, and the next command."""
        session, record = self._session, None
        lines = [f"ERROR: {as_given(error, self._config)}" for error in self._records.errors]
        if session is None:
            if self._settings.require_all and not self._config.option.collectonly:
                lines.append(NOT_LOOKED_AT)
        elif session.bad_input is not None:  # pytest has said it, unless it was a worker's
            lines = [f"ERROR: {session.bad_input}"] if uses_xdist(self._config) else []
        else:
            record = self._record or session.results.as_record()
            if not (record.figures or record.not_measured or record.interrupted is not None):
                record = None
            if self._undone is not None:
                lines.append(as_given(self._undone, self._config))
        if lines or record is not None:
            terminalreporter.section("energy")
        for line in lines:
            terminalreporter.write_line(safe_lines(line))
        if record is not None:
            with informing("the summary cannot be shown", terminalreporter.write_line):
                self._show(record, terminalreporter)

    def pytest_unconfigure(self) -> None:
        """Close the meter."""
        if self._session is not None:
            self._session.close()

    def _fail_for_errors(self, session: pytest.Session) -> None:
        """Fail a run whose records could not be written.

        One of which nothing could be collected, or that ran no test, has its own exit status.
        """
        if self._records.errors and session.exitstatus in _SUCCESSES:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def begin(self, metered: Sequence[pytest.Item]) -> None:
        """Open the session for the tests that need it; bad input ends the run with exit code 4."""
        from pytest_energy.metering.cpu_load import cpu_use
        from pytest_energy.plugin.ending import end_in_order_on_signals
        from pytest_energy.plugin.preflight import check_input
        from pytest_energy.stats.sequential import ErrorBudget

        end_in_order_on_signals(self._config)
        session = self._opened()
        session.error_budget = ErrorBudget(sum(map(is_gated, metered)))
        session.progress.expect(len(metered))
        self._records.expect(item.nodeid for item in metered)
        try:
            asked = [(asked_by(item), is_gated(item)) for item in metered]
            check_input(session, [settings for settings, gated in asked if gated])
            if session.settings.compare or session.settings.settle:
                from pytest_energy.plugin.ab_side import choose_runner

                choose_runner(session, self._config)
            if session.hardware.key == "cpu":
                with informing("what else uses the CPU", session.progress.note):
                    self._cpu_use = cpu_use()
        except (EnergyError, pytest.UsageError) as error:
            session.close()
            session.bad_input = as_given(str(error), self._config)
            if not self._records.is_worker:
                raise pytest.UsageError(session.bad_input) from None
        else:
            session.came = self._records.came
            self._records.came(session)

    def _opened(self) -> EnergySession:
        """The run's session, made when it is first needed."""
        if self._session is not None:
            return self._session
        from pytest_energy.plugin.outcome import report
        from pytest_energy.plugin.progress import progress_of
        from pytest_energy.plugin.session import EnergySession

        config, settings = self._config, self._settings
        session = EnergySession(settings, self._records.cache, progress_of(config), report)
        config.stash[SESSION] = session
        self._records.open(session.progress.note)
        return session

    def _show(self, record: RunRecord, reporter: pytest.TerminalReporter) -> None:
        from pytest_energy.reports import annotation_lines, terminal

        text = terminal.render(
            record,
            region=self._settings.region,
            colour=reporter.hasmarkup,
            verbose=self._config.getoption("verbose") > 0,
            written=self._records.written,
            arguments=self._config.invocation_params.args,
            typed=self._settings.typed,
        )
        for line in (text, *annotation_lines(record, self._config.rootpath)):
            reporter.write_line(line)


SENT = "energy_sent"
"""Attribute of a report that an xdist worker sends: what its test found."""

_SUCCESSES = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
