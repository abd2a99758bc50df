"""What becomes a baseline: whether a figure is recorded, where, and from which windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from pytest_energy.baselines import Entry, Reference, StoredSession
from pytest_energy.baselines.writing import Recording
from pytest_energy.checks import Settings, policy
from pytest_energy.checks.measuring import InvalidEvidenceError, Summary
from pytest_energy.checks.policy import CheckContext
from pytest_energy.clocks import real_time
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.steadiness import halves_agree
from pytest_energy.units import difference, percent

COMMITTED_WINDOWS = 10
"""Windows of a session that goes into a committed baseline."""

LOCAL_WINDOWS = 4
"""Windows of a session that this machine keeps for itself: its figures fail nothing."""

LOCAL_SESSIONS = 8
"""Sessions after which a local baseline takes in no more, so that it cannot creep along."""

HALVES_AGREE = 0.01
"""How far, relative, the halves of a session may differ for it to be committed."""


def windows_to_record(settings: Settings) -> int:
    """How many windows a recording is made of."""
    return COMMITTED_WINDOWS if settings.update else LOCAL_WINDOWS


def is_to_record(settings: Settings, reference: Reference | None) -> bool:
    """Whether a figure is to be recorded rather than gated."""
    if settings.update == "new":
        return reference is None or reference.local
    if settings.update is not None:
        return True
    return reference is None and not settings.demands_baseline


def keep_session(
    context: CheckContext,
    record: VerdictRecord,
    summary: Summary,
    values: Sequence[float],
    previous: Reference | None,
    padding_overhead: float | None,
) -> VerdictRecord:
    """The record of a figure that is kept; `InvalidEvidenceError` if `values` moved within."""
    mode = context.settings.update
    if mode and not halves_agree(values, HALVES_AGREE):
        raise InvalidEvidenceError(
            f"not recorded: the halves of {len(values)} windows differ by more than "
            f"{percent(HALVES_AGREE)}; let the device settle and record again"
        )
    relative = record.metric != "savings"
    before = fmean(row.mean for row in previous.entry.sessions) if previous else None
    change = None
    if before is not None:
        change = summary.mean / before - 1 if relative else summary.mean - before
    if mode == "append" and previous is not None and change is not None:
        padded = _change_of_real_tokens(previous.entry, summary.mean, padding_overhead)
        for unit, moved in ((record.unit, change), ("J/real token", padded)):
            if abs(moved) > (record.detect or 0.0):
                raise InvalidEvidenceError(
                    f"not appended: this session differs from the stored ones by "
                    f"{difference(moved, unit)}, more than `detect`, so it is not one more of "
                    f"the same; if the change is meant, record anew with "
                    f"`--energy-update=replace`"
                )
    local = mode is None
    _store(context, record, summary, padding_overhead, local=local, anew=local)
    where = f"`--energy-update={mode}`" if mode else "for this machine alone"
    return replace(
        record,
        outcome="recorded",
        reason=f"recorded {where}: {summary.windows} {'windows' if relative else 'pairs'}, "
        f"spread {percent(round(summary.cv, 3))}",
        baseline=before,
        change=change,
        local=local,
    )


def extend_local(
    context: CheckContext,
    record: VerdictRecord,
    summary: Summary,
    reference: Reference,
    padding_overhead: float | None = None,
) -> None:
    """Let a local baseline learn its machine's noise from a figure that did not move."""
    sessions = reference.entry.sessions
    small = abs(record.change or 0.0) <= (record.tolerance or 0.0)
    unmoved = small and record.outcome in ("within", "inconclusive")
    same = reference.environment_of(sessions[0]) == context.hardware.environment
    if reference.local and unmoved and same and len(sessions) < LOCAL_SESSIONS:
        _store(context, record, summary, padding_overhead, local=True, anew=False)


def _store(
    context: CheckContext,
    record: VerdictRecord,
    summary: Summary,
    padding_overhead: float | None,
    *,
    local: bool,
    anew: bool,
) -> None:
    hardware = context.hardware
    # What one run was told on its command line is not what the baseline is to hold for good.
    lasting = policy.levels(record.metric, context.asked, None, None)
    recording = Recording(
        metric=record.metric,
        id=record.id,
        workload=record.workload,
        session=StoredSession(
            date=real_time.utc().replace(microsecond=0).isoformat(),
            windows=summary.windows,
            mean=summary.mean,
            cv=summary.cv,
            autocorrelation=summary.autocorrelation,
            device=hardware.device if local else hardware.place,
            padding_overhead=padding_overhead,
            mean_watts=summary.mean_watts,
            tokens_per_second=summary.tokens_per_second,
            environment=hardware.environment_id,
            tokens=record.tokens,
            begin_celsius=summary.begin_celsius,
            end_celsius=summary.end_celsius,
            load_seconds=summary.load_seconds,
        ),
        environment=dict(hardware.environment),
        tolerance=lasting.tolerance,
        detect=lasting.detect,
        nodeid=record.nodeid,
    )
    context.store.record(recording, local=local, anew=anew)


def _change_of_real_tokens(entry: Entry, mean: float, overhead: float | None) -> float:
    """How far J/real token is from the stored sessions', relative; 0 if padding is not known."""
    rows = [row for row in entry.sessions if row.padding_overhead is not None]
    if overhead is None or not rows:
        return 0.0
    return mean * overhead / fmean(row.mean * (row.padding_overhead or 1.0) for row in rows) - 1
