"""Tests as the metering process sees them under `--energy-compare`: only their sides run them."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_energy.ab.paired_check import Comparing
from pytest_energy.errors import EnergyError
from pytest_energy.plugin.fixtures import session_of, user_errors
from pytest_energy.plugin.outcome import report
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import VerdictRecord

GATE = "energy_gate"


class ComparedItem(pytest.Item):
    """Stands in for a test, whose fixtures and body run in both sides' processes alone.

    Nothing of the user's is built here, so that no third model lies in the device's memory.
    """

    compared = True

    def __init__(self, *, original: pytest.Item, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._original = original
        self.fixturenames: list[str] = list(getattr(original, "fixturenames", ()))
        self.own_markers = list(original.own_markers)
        self.keywords.update(original.keywords)

    def runtest(self) -> None:
        """Compare each check that the test makes."""
        with user_errors():
            session = session_of(self)
        with user_errors(), session.metered():
            _compare(session, self)

    def reportinfo(self) -> Any:
        """Where the test is."""
        return self._original.reportinfo()


def replace_gated(items: list[pytest.Item]) -> None:
    """Put a `ComparedItem` in the place of each test that has a gate."""
    for index, item in enumerate(items):
        if GATE in getattr(item, "fixturenames", ()) and item.parent is not None:
            items[index] = ComparedItem.from_parent(item.parent, name=item.name, original=item)


def compared(
    session: EnergySession,
    item: pytest.Item,
    earlier: tuple[VerdictRecord, ...],
    open_record: VerdictRecord | None = None,
) -> VerdictRecord:
    """One check of a test that runs here, compared; `open_record` is what a baseline left open."""
    arena = _arena(session)
    bench = arena.bench(session, item, earlier)
    try:
        record = Comparing(session, arena, item, bench, open_record).next_record()
    finally:
        bench.close()
    if record is None:
        raise EnergyError(
            f"`{item.nodeid}` comes to fewer checks in a process of its own; let its checks not "
            f"depend on what ran before"
        )
    return record


def _compare(session: EnergySession, item: ComparedItem) -> None:
    arena = _arena(session)
    bench = arena.bench(session, item)
    try:
        comparing = Comparing(session, arena, item, bench)
        while (record := comparing.next_record()) is not None:
            report(session, item, record)
            bench.answer(record)
    finally:
        bench.close()


def _arena(session: EnergySession) -> Any:
    assert session.arena is not None, "collection has prepared it"
    return session.arena
