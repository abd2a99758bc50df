"""What a run has found so far."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pytest_energy.results import VerdictRecord


def net_of_idle(
    record: VerdictRecord, watts: float | None, domains: Collection[str] | None = None
) -> VerdictRecord:
    """The record with `net_value`: its value without what the device had drawn idly meanwhile.

    Only for figures in joules that have none yet, and of windows over just the `domains` that drew
    `watts` (None: whatever they were over); the gated value stays gross.
    """
    if domains is not None and any(
        set(each.joules_by_domain) != set(domains) for each in record.windows
    ):
        return record
    if watts is None or record.net_value is not None:
        return record
    gross = sum(each.joules for each in record.windows)
    if record.value is None or not record.unit.startswith("J") or gross <= 0:
        return record
    seconds = sum(each.seconds for each in record.windows)
    return replace(record, net_value=record.value * (1 - watts * seconds / gross))
