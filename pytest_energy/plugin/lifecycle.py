"""What the plugin's hooks delegate to: beginning, merging, finishing and showing a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.metering.cpu_load import CpuUse, cpu_use, disturbance
from pytest_energy.plugin import neighbours as parallel
from pytest_energy.plugin.fixtures import SESSION
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.options import (
    NEEDS_GATES,
    EnergyConfig,
    flag,
    gates_asked_for,
    uses_xdist,
)
from pytest_energy.plugin.preflight import check_input, prepare_comparison
from pytest_energy.plugin.progress import Progress
from pytest_energy.reports import annotation_lines, terminal, write_reports
from pytest_energy.results import RunRecord
from pytest_energy.results import json_codec as jsonfile
from pytest_energy.stats.sequential import ErrorBudget

if TYPE_CHECKING:
    pass


from pytest_energy.plugin.state import EnergySession


def begin(config: pytest.Config, metered: Sequence[pytest.Item]) -> None:
    """Open the session for the tests that need it; bad input ends the run with exit code 4."""
    session = _session(config)
    if session.server is not None:  # a side of an A/B is told what it needs
        return
    session.error_budget = ErrorBudget(sum("energy_gate" in _fixtures(item) for item in metered))
    session.progress.expect(len(metered))
    try:
        for item in metered:
            EnergyMarker.from_item(item)
        check_input(session)
        prepare_comparison(session)
        config.stash[_CPU_USE] = cpu_use() if session.hardware.key == "cpu" else None
    except (EnergyError, pytest.UsageError) as error:
        session.close()
        session.bad_input = str(error)
        if not hasattr(config, "workerinput"):
            raise pytest.UsageError(str(error)) from None


def receive(config: pytest.Config, payload: Mapping[str, Any]) -> None:
    """Merge what an xdist worker measured into the controller's session."""
    parallel.merge(_session(config), payload)


def finish(session: pytest.Session) -> None:
    """At the end: a worker sends home, anyone else writes baselines and reports."""
    energy, config = session.config.stash[SESSION], session.config
    energy.progress.clear()
    if energy.server is not None:
        return
    energy.disturbance = disturbance(config.stash.get(_CPU_USE, None))
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["energy"] = parallel.as_payload(energy)
        return
    if energy.bad_input is not None:
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
        return
    try:
        config.stash[_WRITTEN] = energy.write_baselines()
    except EnergyError as error:
        energy.failure = str(error)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    record = energy.run_record()
    if energy.config.history is not None and record.figures:
        _keep(session, energy.config.history, record)
    try:
        write_reports(record, energy.config)
    except EnergyError as error:
        config.stash[_UNWRITTEN] = str(error)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    undone = _left_undone(config, record) if session.exitstatus == 0 else None
    if undone is not None:
        config.stash[_UNDONE] = undone
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def summarise(reporter: pytest.TerminalReporter) -> None:
    """Write the table of verdicts, what the run cost, and the next command."""
    config = reporter.config
    energy = config.stash[SESSION]
    if energy.server is not None:
        return
    record = energy.run_record()
    if energy.bad_input is not None:
        if uses_xdist(config):  # else pytest has said it
            reporter.section("energy")
            reporter.write_line(f"ERROR: {energy.bad_input}")
        return
    if energy.failure is not None:
        reporter.section("energy")
        reporter.write_line(f"ERROR: baselines were not stored: {energy.failure}")
    for key in (_UNSENT, _UNWRITTEN):
        if key in config.stash:
            reporter.section("energy")
            reporter.write_line(f"ERROR: {config.stash[key]}")
    undone = config.stash.get(_UNDONE, None)
    if record.figures or undone is not None:
        reporter.section("energy")
    if undone is not None:
        reporter.write_line(undone)
    if not record.figures:
        return
    text = terminal.render(
        record,
        region=energy.config.region,
        colour=reporter.hasmarkup,
        verbose=config.getoption("verbose") > 0,
        written=config.stash.get(_WRITTEN, ()),
        arguments=config.invocation_params.args,
    )
    reporter.write_line(text)
    for line in annotation_lines(record, config.rootpath):
        reporter.write_line(line)


def _left_undone(config: pytest.Config, record: RunRecord) -> str | None:
    """What the run was asked for and did not do, so that it is no success."""
    if not record.figures and config.stash[SESSION].config.hw != "auto":
        return "nothing was metered, which is no success where a hardware is named"
    if all(verdict.metric == "joules" for verdict in record.verdicts):
        for name in gates_asked_for(config):
            return (
                f"nothing was {NEEDS_GATES[name]}, which is no success under `{flag(name)}`: no "
                "test that ran has an `energy_gate`"
            )
    return None


_WRITTEN = pytest.StashKey[Sequence[tuple[Path, str]]]()
_CPU_USE = pytest.StashKey[CpuUse | None]()
_ORIGIN = pytest.StashKey[Any]()
_UNDONE = pytest.StashKey[str]()
_UNSENT = pytest.StashKey[str]()
_UNWRITTEN = pytest.StashKey[str]()


def _keep(session: pytest.Session, url: str, record: RunRecord) -> None:
    """Add the session to the history; where that fails, nothing measured is lost."""
    from pytest_energy.history.writing import append

    config, energy = session.config, session.config.stash[SESSION]
    document = jsonfile.as_document(record, energy.config.region)
    try:
        append(url, document, config.stash[_ORIGIN], spare=energy.cache / "unsent")
    except EnergyError as error:
        config.stash[_UNSENT] = f"{error}"
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _session(config: pytest.Config) -> EnergySession:
    if SESSION not in config.stash:
        settings = EnergyConfig.from_pytest_config(config)
        cache = getattr(config, "cache", None)  # absent under -p no:cacheprovider
        fallback = config.rootpath / ".pytest_cache" / "d" / "energy"
        try:
            folder = fallback if cache is None else cache.mkdir("energy")
        except OSError:  # a checkout that cannot be written to; pytest warns of its cache as well
            folder = fallback
        config.stash[SESSION] = EnergySession(settings, folder, _progress(config))
        if settings.history is not None and not hasattr(config, "workerinput"):
            from pytest_energy.history.record import origin

            # Before anything runs: what is committed or recorded meanwhile was not measured.
            config.stash[_ORIGIN] = origin(config.rootpath)
    return config.stash[SESSION]


def _progress(config: pytest.Config) -> Progress:
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    if reporter is None or config.getoption("verbose") < 0:
        return Progress()

    def write(text: str) -> None:
        if capture is None:
            reporter.write(text, flush=True)
            return
        with capture.global_and_fixture_disabled():
            reporter.write(text, flush=True)

    return Progress(write, live=reporter.isatty)


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())
