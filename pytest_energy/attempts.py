"""A test that is run again: what its earlier attempt left, and verdicts that stand."""

from __future__ import annotations

import pytest

from pytest_energy.records import VerdictRecord
from pytest_energy.report.properties import is_ours
from pytest_energy.session import EnergySession

DECIDED = ("regression", "improvement", "inconclusive", "missing")
"""Failures that stand: more windows, bought until one set passes, would say nothing.

`invalid` is none of them: its windows decided nothing, so another attempt may be measured.
"""

_ENDED = pytest.StashKey[bool]()
_STANDING = pytest.StashKey[VerdictRecord]()


def begin(session: EnergySession, item: pytest.Item) -> None:
    """Before a test's set-up: an attempt replaces what an earlier one reported."""
    if _ENDED not in item.stash or _STANDING in item.stash:
        return
    session.verdicts = [record for record in session.verdicts if record.nodeid != item.nodeid]
    item.user_properties[:] = [pair for pair in item.user_properties if not is_ours(pair[0])]


def remember(item: pytest.Item, record: VerdictRecord) -> None:
    """Keep a verdict that failed its test, where it is not to be asked anew."""
    if record.fails and record.outcome in DECIDED:
        item.stash[_STANDING] = record


def fail_again(item: pytest.Item) -> None:
    """Fail a test whose verdict stands, before it spends anything."""
    record = item.stash.get(_STANDING, None)
    if record is not None:
        pytest.fail(
            f"{record.outcome}: {record.text} The verdict stands: a gate is not run again until "
            f"it passes.",
            pytrace=False,
        )


def end(item: pytest.Item) -> None:
    """After a test's call: whatever follows is another attempt."""
    item.stash[_ENDED] = True
