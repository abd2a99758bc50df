"""How a test ends: by a verdict, by its claim, or by the joules that it was allowed.

A test that is run again replaces what its earlier attempt reported, and a verdict that failed it
stands. A test may have several reports, one for each of its subtests. Its figures go to JUnit, and
to pytest-benchmark if it uses both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, TypeVar

import pytest

from pytest_energy.checks import policy
from pytest_energy.metering import Window
from pytest_energy.metering.cpu_load import disturbance
from pytest_energy.metering.hardware import Hardware
from pytest_energy.outcomes import DECIDED
from pytest_energy.plugin.fixtures import CLAIM, FAILED, session_of, user_errors
from pytest_energy.plugin.marker import is_metered
from pytest_energy.plugin.session import EnergySession
from pytest_energy.reports.tables import windows_table
from pytest_energy.reports.wording import verdict_line
from pytest_energy.results import VerdictRecord, measured
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.run_results import RunResults
from pytest_energy.text import safe_line, safe_lines, sentences

_NAMES = (
    *("id", "metric", "outcome", "method"),
    *("value", "uncertainty", "baseline", "change", "unit"),
)
_OF_SIDES = ("reference", "joules_per_token", "mean_watts", "tokens_per_second")
_FIRST = re.compile(r"energy_(\d+_)?id")

BENCHMARK_KEY = "energy"
"""Of `extra_info` in each benchmark of pytest-benchmark, and of `machine_info`."""

_ENDED = pytest.StashKey[bool]()
_SKIPPED = pytest.StashKey[bool]()
_COUNTED = pytest.StashKey[bool]()
_UNTESTABLE = pytest.StashKey[bool]()
"""Of a test whose claim alone skips it: what its gate has recorded stands."""
_ANNOTATED = pytest.StashKey[bool]()
_PROPERTIES = pytest.StashKey[list[tuple[str, object]]]()
_STANDING = pytest.StashKey[str]()
"""Why a test failed that is not asked anew: more windows would say nothing."""

Record = TypeVar("Record", VerdictRecord, ClaimRecord)


def report(session: EnergySession, item: pytest.Item, record: VerdictRecord) -> None:
    """Keep a verdict, put its figures into JUnit, and end the test as it says."""
    record = _located(record, item)
    session.keep(record)
    session.progress.done(record.id, verdict_line(record))
    if record.windows and record.comparison is None:
        session.look_at(record.windows[-1])
    _note(item, properties(record, [name for name, _ in item.user_properties]))
    if record.windows:
        item.add_report_section("call", "energy windows", windows_table(record.windows))
    if record.fails:
        failure = safe_lines("\n".join(sentences(f"{record.outcome}: {record.text}")))
        if record.outcome in DECIDED:
            item.stash[_STANDING] = failure
        pytest.fail(failure, pytrace=False)
    if record.outcome == "invalid":
        pytest.skip(safe_line(f"invalid, so not a pass: {record.reason}"))
    if record.outcome == "missing":
        pytest.skip(safe_line(record.reason))


def reported(session: EnergySession, item: pytest.Item, report: pytest.TestReport) -> None:
    """After each report of a test: nothing is recorded unless it passes; count it once."""
    ended = report.when == "teardown"
    if report.failed:
        item.stash[FAILED] = True
    if not ended:
        item.stash[_SKIPPED] = report.skipped  # of the last one, which is the whole test's
    skipped = report.skipped or item.stash.get(_SKIPPED, False)
    untestable = item.stash.get(_UNTESTABLE, False)
    if item.stash.get(FAILED, False) or (ended and skipped and not untestable):
        session.store.discard(item.nodeid)
        session.results.discard(item.nodeid)
    if ended and is_metered(item) and _COUNTED not in item.stash:
        item.stash[_COUNTED] = True
        session.progress.reported(skipped=skipped)


def _has_passed(item: pytest.Item) -> bool:
    """Whether a call that has returned ran to its end, and none of its subtests failed.

    `unittest` hands an exception of its tests to pytest by this attribute, and raises none.
    """
    return not getattr(item, "_excinfo", None) and not item.stash.get(FAILED, False)


def conclude(item: pytest.Item) -> None:
    """Keep what a test noted of its claim, and fail it if a figure is out of bounds.

    What cannot be tested here skips it; as with invalid windows, CI wants evidence.
    """
    if not _has_passed(item):
        return
    session, (claim, cpu_use) = session_of(item.config), item.stash[CLAIM]
    if reason := disturbance(cpu_use):
        claim.disturbed(reason)
    strict = session.settings.ci or session.settings.strict
    record = replace(_located(claim.record, item), strict=strict)
    session.results.claims.append(record)
    session.claim = None
    known = [figure for figure in record.figures if figure.value is not None]
    figures = [(f"energy_{figure.name}", figure.value) for figure in known]
    _note(item, [*figures, ("energy_method", record.method)])
    if record.outcome == "fails":
        failure = safe_line(f"{record.claim} Not here: {record.reason}")
        item.stash[_STANDING] = failure
        pytest.fail(failure, pytrace=False)
    if record.outcome == "not testable":
        failure = safe_line(f"{record.claim} Not testable here: {record.reason}")
        if record.fails:
            pytest.fail(failure, pytrace=False)
        item.stash[_UNTESTABLE] = True
        pytest.skip(failure)


@contextmanager
def metered_whole(item: pytest.Item, max_joules: float | None) -> Iterator[None]:
    """Meter a test's call and end it as its limit says, if it has one.

    A test that is skipped or fails keeps its own reason.
    """
    with user_errors():
        session = session_of(item.config)
    with user_errors(), session.metered():
        with session.window(item.name) as opened:
            yield
        if not _has_passed(item):
            return
        record = replace(measured(item.nodeid, opened.record), id=item.name)
        if max_joules is None:
            session.results.verdicts.append(_located(record, item))
            session.look_at(opened.record)
            return
        record = _limited(record, opened.record, max_joules)
        record = policy.judged(record, session.settings)
        # The person who wrote the limit meant it, on modelled joules too.
        record = replace(record, fails=record.fails or record.outcome == "regression")
    session.report(session, item, record)


def _limited(record: VerdictRecord, used: Window, max_joules: float) -> VerdictRecord:
    outcome = judge(used, max_joules)
    what = f"used {used.joules:.4g} J"
    if outcome == "invalid":
        what = f"was not measured: {used.invalid_reason}"
    how = " (modelled, not measured)" if used.method == "modelled" else ""
    reason = f"`{record.id}` {what}; allowed are {max_joules:g} J{how}"
    return replace(record, outcome=outcome, reason=reason)


def judge(used: Window, max_joules: float) -> str:
    """`within`, `regression`, or `invalid` if the joules cannot tell.

    Few joules are known coarsely only; that is enough if the limit is far from them.
    """
    doubt = 0.0
    if not used.valid:
        if not used.is_too_short:
            return "invalid"
        doubt = used.uncertainty_joules
    if used.joules + doubt <= max_joules:
        return "within"
    return "regression" if used.joules - doubt > max_joules else "invalid"


def begin(session: EnergySession, item: pytest.Item) -> None:
    """Before a test's set-up: an attempt replaces what an earlier one reported."""
    session.begin_test()
    session.claim = None
    item.stash[FAILED] = False
    if _ENDED not in item.stash or _STANDING in item.stash:
        return
    session.results.forget(item.nodeid)
    earlier = item.stash.get(_PROPERTIES, [])
    item.user_properties[:] = [pair for pair in item.user_properties if pair not in earlier]
    item.stash[_PROPERTIES] = []


def fail_again(item: pytest.Item) -> None:
    """Fail a test whose failure stands, before it spends anything."""
    sentence = item.stash.get(_STANDING, None)
    if sentence is not None:
        pytest.fail(
            f"{sentence} The verdict stands: a gate is not run again until it passes.",
            pytrace=False,
        )


def end(item: pytest.Item) -> None:
    """After a test's call: whatever follows is another attempt."""
    item.stash[_ENDED] = True


def properties(record: VerdictRecord, names: Iterable[str]) -> list[tuple[str, object]]:
    """A verdict's figures by the names of JUnit properties; the test has those of `names` already.

    A test's first check has `energy_value`, its second `energy_2_value`, and so on.
    """
    number = 1 + sum(_FIRST.fullmatch(name) is not None for name in names)
    prefix = "energy_" if number == 1 else f"energy_{number}_"
    known = [(name, getattr(record, name)) for name in _NAMES]
    if record.comparison is not None:
        for side in (record.comparison.base, record.comparison.head):
            known += [(f"{side.name}_{name}", getattr(side, name)) for name in _OF_SIDES]
    return [(prefix + name, value) for name, value in known if value is not None]


def _note(item: pytest.Item, properties: Iterable[tuple[str, object]]) -> None:
    """Put figures into JUnit, for this attempt; XML has no word for some letters of texts."""
    added = [
        (safe_line(name), safe_line(value) if isinstance(value, str) else value)
        for name, value in properties
    ]
    item.user_properties += added
    item.stash.setdefault(_PROPERTIES, []).extend(added)


def _located(record: Record, item: pytest.Item) -> Record:
    """The record with its test's file, relative to the root, and line from 1, if it has one."""
    file, line, _ = item.location
    return record if line is None else replace(record, location=(file, line + 1))


def annotate(results: RunResults, item: pytest.Item, benchmark: object) -> None:
    """Put what was metered in a test into its `benchmark` fixture's `extra_info`."""
    records = results.of(item.nodeid)
    extra = getattr(benchmark, "extra_info", None)
    if records and isinstance(extra, MutableMapping):
        extra[BENCHMARK_KEY] = [_of_benchmark(record) for record in records]
        item.config.stash[_ANNOTATED] = True


def _of_benchmark(record: VerdictRecord) -> dict[str, Any]:
    """One verdict's row, of builtin types: J and s of each window, in the order of measuring."""
    row = {name: getattr(record, name) for name in _NAMES if name != "outcome"}
    windows = [
        {"joules": w.joules, "seconds": w.seconds, "tokens": w.tokens, "valid": w.valid}
        for w in record.windows
    ]
    return {**row, "verdict": record.outcome, "windows": windows}


def describe_machine(
    hardware: Hardware | None, config: pytest.Config, machine_info: MutableMapping[str, Any]
) -> None:
    """Name the metered devices, if a benchmark was metered: figures belong to their hardware."""
    if hardware is not None and _ANNOTATED in config.stash:
        devices = [asdict(device) for device in hardware.devices]
        machine_info[BENCHMARK_KEY] = {"hardware": hardware.key, "devices": devices}
