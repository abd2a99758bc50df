"""Where the time of a token goes, beside a baseline: kept when it is recorded, told when it moves.

All of it only informs: what fails is told with the test's output.
"""

from __future__ import annotations

from dataclasses import replace

from pytest_energy.checks.measuring import Run
from pytest_energy.checks.policy import CheckContext
from pytest_energy.errors import informing
from pytest_energy.gate.carriers import ProfileChange, compared
from pytest_energy.metering.profile import Profile
from pytest_energy.outcomes import MOVED
from pytest_energy.results import VerdictRecord

TITLE = "energy profile"


def keep_profile(context: CheckContext, run: Run, record: VerdictRecord) -> None:
    """Profile a run whose session goes into a committed baseline, for that to be kept beside it."""
    if record.outcome != "recorded" or record.local or not _is_wanted(context):
        return
    with informing("not profiled", lambda text: context.on_output(TITLE, text)):
        context.store.keep_profile(context.test, record.id, _fastest(run))


def with_carrier(context: CheckContext, run: Run, record: VerdictRecord) -> VerdictRecord:
    """The record with what carries its change against a baseline beside which a profile is kept."""
    if record.outcome not in MOVED or record.local or not _is_wanted(context):
        return record
    found: ProfileChange | None = None
    with informing("not profiled", lambda text: context.on_output(TITLE, text)):
        base = context.store.profile_of(record.id)
        head = _fastest(run) if base is not None else None
        if base is not None and head is not None and base.clock == head.clock:
            found = compared(base, head, record.change or 0.0)
    if found is None:
        return record
    explanation = f"{record.explanation or ''} {found.sentence}".strip()
    return replace(record, explanation=explanation, profile=found)


def _is_wanted(context: CheckContext) -> bool:
    # Other workers would be in the profile.
    return context.settings.profile == "auto" and not context.settings.parallel


def _fastest(run: Run) -> Profile | None:
    from pytest_energy.workloads.profiling import fastest

    return fastest(run)
