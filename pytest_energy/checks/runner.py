"""Which way a gated figure goes: by its baseline, by A/B, or by A/B what the baseline left open."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pytest_energy.checks.joules_per_token import check_joules_per_token
from pytest_energy.checks.measuring import Run
from pytest_energy.checks.savings import check_savings
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import VerdictRecord

__tracebackhide__ = raised_elsewhere


def checked(
    session: EnergySession,
    item: pytest.Item,
    earlier: Sequence[VerdictRecord],
    metric: str,
    run: Run,
    other: Run | None,
) -> VerdictRecord:
    """The record of one check of a test; `earlier` are those of its checks before.

    Raises `EnergyError` where the metric and the runs make no check.
    """
    if (metric, other is not None) not in (("joules_per_token", False), ("savings", True)):
        raise EnergyError(
            f"`{metric}` with {'one run' if other is None else 'two runs'} is no check; "
            f"give `joules_per_token` one run, or `savings` the larger and the smaller"
        )
    if session.server is not None:
        return session.server.check(metric, [run] if other is None else [run, other])
    record = None
    if session.config.compare is None:
        record = _against_baseline(session, item, run, other)
        if session.config.settle is None or record.outcome != "inconclusive":
            return record
    from pytest_energy.plugin.ab_items import compared

    return compared(session, item, tuple(earlier), record)


def _against_baseline(
    session: EnergySession, item: pytest.Item, run: Run, other: Run | None
) -> VerdictRecord:
    marker = EnergyMarker.from_item(item)
    if other is None:
        return check_joules_per_token(session, item.nodeid, marker, run)
    return check_savings(session, item.nodeid, marker, run, other)
