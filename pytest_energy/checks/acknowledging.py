"""What the baseline file acknowledges of a figure, and what that makes of its verdict."""

from __future__ import annotations

from dataclasses import replace

from pytest_energy.baselines import Reference
from pytest_energy.baselines.acknowledged import Acknowledgement
from pytest_energy.checks.policy import Levels
from pytest_energy.clocks import real_time
from pytest_energy.results import VerdictRecord
from pytest_energy.units import FRACTION


def acknowledgement(found: Reference | None) -> Acknowledgement | None:
    """What the committed file acknowledges of a figure, if it still counts today (UTC)."""
    stated = _stated(found)
    return stated if stated is not None and stated.holds_on(real_time.utc().date()) else None


def widened(levels: Levels, stated: Acknowledgement | None) -> Levels:
    """Levels that allow what is acknowledged, and catch what lies as far beyond it as before."""
    if stated is None or stated.up_to <= levels.tolerance:
        return levels
    return Levels(stated.up_to, stated.up_to + levels.detect - levels.tolerance)


def acknowledged(
    record: VerdictRecord, own: Levels, found: Reference | None, facts: str
) -> VerdictRecord:
    """The record of a verdict by `widened` levels; `own` are the figure's, `facts` what was found.

    It is `acknowledged` if it is worse than its own levels allow. A regression says what is, or
    was, acknowledged of it.
    """
    if record.outcome == "regression" and (stated := _stated(found)) is not None:
        tense = "is" if record.acknowledged else "was"
        known = f"A change {stated.sentence} {tense} acknowledged."
        return replace(record, reason=f"{record.reason} {known}")
    stated, change = record.acknowledged, record.change
    if stated is None or change is None or record.outcome != "within":
        return record
    worse = -change if record.unit == FRACTION else change
    if worse <= own.tolerance:
        return record
    reason = f"{facts}, is more than the tolerance and acknowledged {stated.sentence}."
    return replace(record, outcome="acknowledged", reason=reason)


def _stated(found: Reference | None) -> Acknowledgement | None:
    if found is None or found.local:
        return None
    return found.baseline.acknowledgement(found.entry.metric, found.entry.id)
