"""What a run leaves behind, and when: its figures as they come, and all reports at its end.

PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.checks import Settings
from pytest_energy.clocks import real_time
from pytest_energy.errors import informing
from pytest_energy.files import is_stream, write_atomically

if TYPE_CHECKING:
    from pytest_energy.history.record import RunningSession
    from pytest_energy.plugin.session import EnergySession
    from pytest_energy.results import Origin, RunRecord
    from pytest_energy.results.run_results import RunResults

SPENT_FREELY_SECONDS = 1.0
MOST_SHARE = 0.02
"""Of a run's time, beyond those seconds, that goes into writing figures as they come."""

_GOES_ON = "it had not ended when this was written"


class RunRecords:
    """The records of one run; `errors` are what a person must read at its end.

    `cache` is where this machine keeps what is its own.

    A run that is killed keeps the figures that it has finished: its JSON, and the record for its
    history, are written again after each. In an xdist worker nothing is written: its figures go
    to the controller with the reports of its tests.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config, self._settings, self.cache = config, settings, _cache(config)
        self._history: RunningSession | None = None
        self._to_measure: dict[str, None] = {}
        self._done: set[str] = set()
        self.stopped: str | None = None
        """Why the run ends early, if it does."""
        self._workers: dict[str, RunResults] = {}
        self._origin: Origin | None = None
        self._told = False
        self._is_begun = False
        self._undo: Callable[[], None] | None = None
        self._began, self._spent_seconds = real_time.monotonic(), 0.0
        self.errors: list[str] = []
        self.written: Sequence[tuple[Path, str]] = ()

    @property
    def is_worker(self) -> bool:
        """Whether this process is one of pytest-xdist's workers."""
        return hasattr(self._config, "workerinput")

    def begin(self) -> None:
        """Replace an earlier run's document, so that none is taken for this one's.

        What was there is kept until it is known that this run has no bad input.
        """
        path = self._settings.json
        if self.is_worker or path is None:
            return
        from pytest_energy.results.run_results import RunResults

        with informing("that the run has begun"):  # what fails now fails at the end, and is said
            if _is_rewritable(path):
                self._undo = _restoring(path)
                self._write(RunResults().as_record(_GOES_ON))
        self._is_begun = True

    def open(self, note: Callable[[str], None]) -> None:
        """Find out where the code comes from, before anything runs that may change it.

        What earlier runs have left is said.
        """
        if self.is_worker:
            return
        spare = self.cache / "unsent"
        if spare.is_dir():
            from pytest_energy.history.record import left_unsent

            with informing("what earlier runs have left", note):
                if left := left_unsent(spare):
                    note(left)
        if not any((self._settings.history, self._settings.json, self._settings.html)):
            return
        from pytest_energy.results import Origin, origin

        with informing("it is not known where the code is from", self.errors.append):
            command = origin.typed(map(str, self._config.invocation_params.args), self._config.args)
            self._origin = origin.origin(self._config.rootpath, note=note, command=command)
        if self._settings.history is not None:
            from pytest_energy.history.record import RunningSession

            known = self._origin or Origin()
            self._history = RunningSession(self._settings.history, known, spare)

    def expect(self, tests: Iterable[str]) -> None:
        """Tests that are to measure something."""
        self._to_measure.update(dict.fromkeys(tests))

    def reported(self, report: pytest.TestReport) -> None:
        """A test is done once it was called, or did not come to that."""
        called = report.when == "call" or (report.when == "setup" and not report.passed)
        if called and (report.passed or report.failed or report.skipped):  # else it is run again
            self._done.add(report.nodeid)

    def came(self, session: EnergySession) -> None:
        """Keep what there is so far, unless writing takes too much of the run's time."""
        began = real_time.monotonic()
        share = MOST_SHARE * (began - self._began)
        if self.is_worker or self._spent_seconds > SPENT_FREELY_SECONDS + share:
            return
        with informing("figures as they come"):  # what fails now fails at the end, and is said
            record = self._record(session, _GOES_ON)
            self._write(record)
            if self._history is not None and record.figures:
                self._history.keep(self._document(record))
        self._spent_seconds += real_time.monotonic() - began

    def take_back(self) -> None:
        """Leave `--energy-json` as it was: a run that ends by bad input has no document."""
        if self._undo is not None:
            why = f"`--energy-json`: `{self._settings.json}` is not as it was"
            with informing(why, self.errors.append):
                self._undo()

    def finish_without_figures(self) -> None:
        """Write the document of a run that has metered nothing, if it has begun one."""
        path = self._settings.json
        if path is None or not self._is_begun:
            return
        from pytest_energy.results import json_codec
        from pytest_energy.results.run_results import RunResults

        record = RunResults().as_record(self.stopped)
        with informing(f"`--energy-json`: `{path}` cannot be written", self.errors.append):
            json_codec.write(path, record, self._settings.region)

    def finish(self, session: EnergySession, run: pytest.Session, running: str | None) -> RunRecord:
        """Write baselines, history and reports; if one fails, the others are written.

        `running` is the test that an early end has interrupted.
        """
        from pytest_energy.reports import write_reports

        why = self._why_early(run)
        if running is not None:
            session.keep_unfinished(running)
        demanded = self._settings.require_all
        session.results.not_measured = tuple(
            replace(one, fails=demanded) for one in session.results.not_measured
        )
        record = self._record(session, why)
        with informing("baselines were not stored", self.errors.append):
            self.written = session.store.write(session.progress.note)
        with informing("", self.errors.append):
            if self._history is not None and record.figures:
                self._history.append(self._document(record))
            elif self._history is not None:  # what was kept has been taken back since
                self._history.drop()
        self.errors += write_reports(record, self._settings)
        if self._settings.notify is not None and (record.figures or record.interrupted):
            from pytest_energy.reports.notify import notify

            with informing("nobody was notified", session.progress.note):
                notify(self._settings.notify, record)
        return record

    def _why_early(self, run: pytest.Session) -> str | None:
        """Why the run ends before its end; one that stops after all is measured does not."""
        if self.stopped is not None or not self._left():
            return self.stopped
        return str(run.shouldfail or run.shouldstop or "not every test was run")

    def _left(self) -> tuple[str, ...]:
        """What was to be measured and is not done; another worker may say so before this one."""
        return tuple(test for test in self._to_measure if test not in self._done)

    def to_send(self, session: EnergySession, test: str) -> dict[str, Any] | None:
        """What a worker sends with the report of a test: its figures, and at first what is due."""
        if session.bad_input is not None:
            return None
        found = session.results
        due, self._told = ([] if self._told else list(self._to_measure)), True
        if not due and not found.of(test) and all(c.nodeid != test for c in found.claims):
            return None
        session.take_device()
        return {"due": due, "results": found.as_payload(test)}

    def receive(
        self, session: EnergySession, worker: str, sent: dict[str, Any], test: str | None = None
    ) -> None:
        """Take in what a worker sent with a report, or at its end in place of what came before."""
        from pytest_energy.results.run_results import RunResults

        self.expect(sent.get("due", ()))
        found = RunResults.from_payload(sent["results"])
        if test is None:
            self._workers[worker] = found
        else:
            self._workers.setdefault(worker, RunResults()).update(found, test)
        session.results = RunResults()
        for results in self._workers.values():
            session.results.merge(results)

    def _record(self, session: EnergySession, interrupted: str | None) -> RunRecord:
        session.take_device()
        left = self._left() if interrupted is not None else ()
        record = session.results.as_record(interrupted, left)
        return record if self._origin is None else replace(record, origin=self._origin)

    def _write(self, record: RunRecord) -> None:
        from pytest_energy.results import json_codec

        path = self._settings.json
        if path is not None and _is_rewritable(path):
            json_codec.write(path, record, self._settings.region)

    def _document(self, record: RunRecord) -> dict[str, Any]:
        from pytest_energy.results.json_codec import as_document

        return as_document(record, self._settings.region)


def _is_rewritable(path: Path) -> bool:
    """Whether a document is written as figures come.

    Who reads a pipe, or what this process prints, is to get one document.
    """
    return not is_stream(path) and (path.is_file() or not path.exists())


def _restoring(path: Path) -> Callable[[], None]:
    """A call that leaves a file as it is now; `OSError` if it cannot be read."""
    if path.is_file():
        return partial(write_atomically, path, path.read_bytes())
    return partial(Path(os.path.realpath(path)).unlink, missing_ok=True)


def why_stopped(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """Why a run was interrupted: by Ctrl-C, by `pytest.exit` or by pytest itself."""
    said = str(excinfo.value)
    if excinfo.errisinstance(pytest.exit.Exception):
        return f"`pytest.exit`: {said}"
    return said or "it was interrupted by Ctrl-C"


def _cache(config: pytest.Config) -> Path:
    """Where this machine keeps what is its own, in pytest's cache."""
    cache = getattr(config, "cache", None)  # absent under -p no:cacheprovider
    fallback = config.rootpath / ".pytest_cache" / "d" / "energy"
    try:
        return fallback if cache is None else Path(cache.mkdir("energy"))
    except OSError:  # a checkout that cannot be written to; pytest warns of its cache as well
        return fallback
