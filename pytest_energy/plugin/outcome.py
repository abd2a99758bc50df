"""Where a test is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from pytest_energy.checks import policy
from pytest_energy.metering import Window, window
from pytest_energy.meters.protocol import TOO_SHORT
from pytest_energy.plugin.fixtures import CLAIM, session_of, user_errors
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import VerdictRecord, measured
from pytest_energy.results.claims import ClaimRecord

if TYPE_CHECKING:
    from pytest_energy.plugin.state import EnergySession
    from pytest_energy.results import VerdictRecord


def conclude(item: pytest.Item) -> None:
    """Keep what a test noted of its claim, and fail it where a figure is out of bounds."""

    record = located(item.stash[CLAIM].record, item)
    session_of(item).claims.append(record)
    note(item, [(f"energy_{figure.name}", figure.value) for figure in record.figures])
    if record.outcome == "fails":
        failure = f"{record.claim} Not here: {record.reason}"
        stand(item, failure)
        pytest.fail(failure, pytrace=False)


def report(session: EnergySession, item: pytest.Item, record: VerdictRecord) -> None:
    """Keep a verdict, put its figures into JUnit, and end the test as it says."""
    from pytest_energy.reports.github import properties
    from pytest_energy.reports.terminal import sentence, windows_table

    record = located(record, item)
    session.verdicts.append(record)
    session.progress.done(record.id, sentence(record))
    note(item, properties(record, [name for name, _ in item.user_properties]))
    if record.windows:
        item.add_report_section("call", "energy windows", windows_table(record))
    if record.fails:
        failure = f"{record.outcome}: {record.text}"
        if record.outcome in DECIDED:
            stand(item, failure)
        pytest.fail(failure, pytrace=False)
    if record.outcome == "invalid":
        pytest.skip(f"invalid, so not a pass: {record.reason}")
    if record.outcome == "missing":
        pytest.skip(record.reason)


Record = TypeVar("Record", VerdictRecord, ClaimRecord)


def located(record: Record, item: pytest.Item) -> Record:
    """The record with its test's file, relative to the root, and line from 1, where it has one."""
    file, line, _ = item.location
    return record if line is None else replace(record, location=(file, line + 1))


DECIDED = ("regression", "improvement", "inconclusive", "missing")
"""Failed verdicts that stand: more windows, bought until one set passes, would say nothing.

`invalid` is none of them: its windows decided nothing, so another attempt may be measured.
"""

_ENDED = pytest.StashKey[bool]()
_PROPERTIES = pytest.StashKey[list[tuple[str, object]]]()
_STANDING = pytest.StashKey[str]()


def begin(session: EnergySession, item: pytest.Item) -> None:
    """Before a test's set-up: an attempt replaces what an earlier one reported."""
    if _ENDED not in item.stash or _STANDING in item.stash:
        return
    session.verdicts = [record for record in session.verdicts if record.nodeid != item.nodeid]
    session.claims = [record for record in session.claims if record.nodeid != item.nodeid]
    earlier = item.stash.get(_PROPERTIES, [])
    item.user_properties[:] = [pair for pair in item.user_properties if pair not in earlier]
    item.stash[_PROPERTIES] = []


def note(item: pytest.Item, properties: Iterable[tuple[str, object]]) -> None:
    """Put figures into JUnit, for this attempt."""
    added = list(properties)
    item.user_properties += added
    item.stash.setdefault(_PROPERTIES, []).extend(added)


def stand(item: pytest.Item, sentence: str) -> None:
    """Keep why a test failed, where that is not to be asked anew."""
    item.stash[_STANDING] = sentence


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


@contextmanager
def limited(session: EnergySession, item: pytest.Item, max_joules: float) -> Iterator[None]:
    """Meter a test's call and end it as the limit says; a test that fails keeps its own reason."""
    with user_errors(), session.metered():
        with window(session.meter, item.name) as opened:
            yield
        used = opened.record
        outcome = judge(used, max_joules)
        what = f"used {used.joules:.4g} J"
        if outcome == "invalid":
            what = f"was not measured: {used.invalid_reason}"
        how = " (modelled, not measured)" if used.method == "modelled" else ""
        record = replace(
            measured(item.nodeid, used),
            id=item.name,
            outcome=outcome,
            reason=f"`{item.name}` {what}; allowed are {max_joules:g} J{how}",
        )
        # The person who wrote the limit meant it, on modelled joules too.
        record = replace(policy.judged(record, session.config), local=False)
        if outcome == "regression":
            record = replace(record, fails=True)
    report(session, item, record)


def judge(used: Window, max_joules: float) -> str:
    """`within`, `regression`, or `invalid` where the joules cannot tell.

    Few joules are known coarsely only; that is enough where the limit is far from them.
    """
    doubt = 0.0
    if not used.valid:
        if not (used.invalid_reason or "").startswith(TOO_SHORT):
            return "invalid"
        doubt = used.uncertainty_joules
    if used.joules + doubt <= max_joules:
        return "within"
    return "regression" if used.joules - doubt > max_joules else "invalid"
