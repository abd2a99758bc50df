"""The hooks of a run that meters. PYTEST_DONT_REWRITE.

What they use is imported when a test is metered: a run without one pays nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.checks import Settings
from pytest_energy.errors import EnergyError
from pytest_energy.plugin.fixtures import SESSION, asked_by, is_marked, is_metered
from pytest_energy.plugin.options import (
    NEEDS_GATES,
    compares,
    figures_asked_for,
    gates_asked_for,
    uses_xdist,
)
from pytest_energy.text import safe_lines

if TYPE_CHECKING:
    from pytest_energy.history.record import Origin
    from pytest_energy.metering.cpu_load import CpuUse
    from pytest_energy.plugin.session import EnergySession
    from pytest_energy.results import RunRecord


class EnergyPlugin:
    """The hooks of one pytest run, which owns its session from the first test that needs it.

    `errors` are what a person must read at the end, such as a file that could not be written.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config, self._settings = config, settings
        self._cpu_use: CpuUse | None = None
        self._origin: Origin | None = None
        self._written: Sequence[tuple[Path, str]] = ()
        self._errors: list[str] = []
        self._undone: str | None = None

    @property
    def _session(self) -> EnergySession | None:
        return self._config.stash.get(SESSION, None)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Under `--energy-compare` leave tests that have a gate to their sides' processes."""
        if compares(self._config) and not self._config.option.collectonly:
            from pytest_energy.plugin.ab_items import replace_gated

            replace_gated(items)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Open the session if a test needs it, and find bad input before energy is spent."""
        metered = [item for item in session.items if is_metered(item)]
        wanted = metered or figures_asked_for(self._config)
        if wanted and not self._config.option.collectonly:
            self.begin(metered)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let go of what an earlier attempt at the test reported."""
        if self._session is not None:
            from pytest_energy.plugin.outcome import begin

            begin(self._session.results, item)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test whose verdict stands; else meter one that has a limit."""
        if self._session is not None:
            from pytest_energy.plugin.outcome import fail_again

            fail_again(item)
        limited = is_marked(item) and not getattr(item, "compared", False)
        limit = asked_by(item).max_joules if limited else None
        if limit is None:
            return (yield)
        from pytest_energy.plugin.outcome import limited_to

        with limited_to(limit, item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take back what a test recorded that failed afterwards, and count it as done."""
        report = yield
        session = self._session
        if session is not None:
            if report.failed:
                session.store.discard(item.nodeid)
                session.results.discard(item.nodeid)
            if is_metered(item):
                session.progress.reported(report.when, skipped=report.skipped)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """End the attempt, and tell pytest-benchmark of its windows if a test uses both."""
        if self._session is None:
            return
        from pytest_energy.plugin.outcome import end

        end(item)
        benchmark = getattr(item, "funcargs", {}).get("benchmark")
        if benchmark is not None:
            from pytest_energy.plugin.pytest_benchmark import annotate

            annotate(self._session.results, item, benchmark)

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(
        self, config: pytest.Config, machine_info: MutableMapping[str, Any]
    ) -> None:
        """Tell pytest-benchmark which devices were metered."""
        if self._session is not None:
            from pytest_energy.plugin.pytest_benchmark import describe_machine

            describe_machine(self._session, config, machine_info)

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
            session.results.merge(payload["results"])
            session.store.merge(payload["store"])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Store what was recorded and write the reports, or send it home from an xdist worker."""
        energy = self._session
        if energy is None:
            return
        from pytest_energy.metering.cpu_load import disturbance

        energy.progress.clear()
        energy.results.disturbance = energy.results.disturbance or disturbance(self._cpu_use)
        output = getattr(self._config, "workeroutput", None)
        if energy.bad_input is not None:
            if output is not None:
                output["energy"] = {"bad_input": energy.bad_input}
            else:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return
        calibration = energy.calibration if energy.device.identified else None
        energy.results.take_device(energy.device, calibration)
        if output is not None:
            output["energy"] = {
                "results": energy.results.as_payload(),
                "store": energy.store.as_payload(),
            }
            return
        self._write(energy)
        # A run of which nothing could be collected, or that ran no test, has its own exit status.
        if self._errors and session.exitstatus in _SUCCESSES:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if session.exitstatus == 0:
            self._undone = self._left_undone(energy.results.as_record())
            if self._undone is not None:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The table of verdicts, what the run cost, and the next command."""
        session, reporter = self._session, terminalreporter
        if session is None:
            return
        if session.bad_input is not None:
            if uses_xdist(self._config):  # else pytest has said it
                reporter.section("energy")
                reporter.write_line(safe_lines(f"ERROR: {session.bad_input}"))
            return
        record = session.results.as_record()
        lines = [f"ERROR: {error}" for error in self._errors]
        lines += [self._undone] if self._undone is not None else []
        if lines or record.figures:
            reporter.section("energy")
        for line in lines:
            reporter.write_line(safe_lines(line))
        if record.figures:
            self._show(record, reporter)

    def pytest_unconfigure(self) -> None:
        """Close the meter."""
        if self._session is not None:
            self._session.close()

    def begin(self, metered: Sequence[pytest.Item]) -> None:
        """Open the session for the tests that need it; bad input ends the run with exit code 4."""
        from pytest_energy.metering.cpu_load import cpu_use
        from pytest_energy.plugin.preflight import check_input
        from pytest_energy.stats.sequential import ErrorBudget

        session = self._opened()
        gated = ("energy_gate" in getattr(item, "fixturenames", ()) for item in metered)
        session.error_budget = ErrorBudget(sum(gated))
        session.progress.expect(len(metered))
        try:
            for item in metered:
                asked_by(item)
            check_input(session)
            if session.settings.compare or session.settings.settle:
                from pytest_energy.plugin.ab_items import choose_runner

                choose_runner(session, self._config)
            self._cpu_use = cpu_use() if session.hardware.key == "cpu" else None
        except (EnergyError, pytest.UsageError) as error:
            session.close()
            session.bad_input = str(error)
            if not hasattr(self._config, "workerinput"):
                raise pytest.UsageError(str(error)) from None

    def _opened(self) -> EnergySession:
        """The run's session, made when it is first needed."""
        if self._session is not None:
            return self._session
        from pytest_energy.plugin.outcome import report
        from pytest_energy.plugin.progress import progress_of
        from pytest_energy.plugin.session import EnergySession

        config, settings = self._config, self._settings
        session = EnergySession(settings, _cache(config), progress_of(config), report)
        config.stash[SESSION] = session
        if settings.history is not None and not hasattr(config, "workerinput"):
            from pytest_energy.history.record import origin

            # Before anything runs: what is committed or recorded meanwhile was not measured.
            self._origin = origin(config.rootpath)
        return session

    def _write(self, session: EnergySession) -> None:
        """Write baselines, history and reports; if one fails, the others are written."""
        from pytest_energy.reports import write_reports

        with self._noting("baselines were not stored: "):
            self._written = session.store.write(session.progress.note)
        record = session.results.as_record()
        with self._noting():
            self._keep(record)
        with self._noting():
            write_reports(record, self._settings)

    @contextmanager
    def _noting(self, what: str = "") -> Iterator[None]:
        """Keep an error for the end of the run."""
        try:
            yield
        except EnergyError as error:
            self._errors.append(f"{what}{error}")

    def _keep(self, record: RunRecord) -> None:
        """Add the session to the history; if that fails, nothing measured is lost."""
        settings = self._settings
        if settings.history is None or not record.figures or self._origin is None:
            return
        from pytest_energy.history.sessions import append
        from pytest_energy.results.json_codec import as_document

        document = as_document(record, settings.region)
        append(settings.history, document, self._origin, spare=_cache(self._config) / "unsent")

    def _left_undone(self, record: RunRecord) -> str | None:
        """What the run was asked for and did not do, so that it is no success."""
        if not record.figures and self._settings.hw != "auto":
            return "nothing was metered, which is no success where a hardware is named"
        if all(verdict.metric == "joules" for verdict in record.verdicts):
            for name in gates_asked_for(self._config):
                return (
                    f"nothing was {NEEDS_GATES[name]}, which is no success under "
                    f"`--energy-{name}`: no test that ran has an `energy_gate`"
                )
        return None

    def _show(self, record: RunRecord, reporter: pytest.TerminalReporter) -> None:
        from pytest_energy.reports import annotation_lines, terminal

        text = terminal.render(
            record,
            region=self._settings.region,
            colour=reporter.hasmarkup,
            verbose=self._config.getoption("verbose") > 0,
            written=self._written,
            arguments=self._config.invocation_params.args,
        )
        for line in (text, *annotation_lines(record, self._config.rootpath)):
            reporter.write_line(line)


_SUCCESSES = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


def _cache(config: pytest.Config) -> Path:
    """Where this machine keeps what is its own, in pytest's cache."""
    cache = getattr(config, "cache", None)  # absent under -p no:cacheprovider
    fallback = config.rootpath / ".pytest_cache" / "d" / "energy"
    try:
        return fallback if cache is None else Path(cache.mkdir("energy"))
    except OSError:  # a checkout that cannot be written to; pytest warns of its cache as well
        return fallback
