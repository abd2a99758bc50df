"""What becomes a baseline: whether a figure is recorded, where, and from which windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from statistics import fmean

from pytest_energy.baselines import (
    Entry,
    Recording,
    Reference,
    StoredSession,
    day_count,
    sessions_of,
)
from pytest_energy.checks import Settings, policy
from pytest_energy.checks.measuring import InvalidEvidenceError, Summary, without_outliers
from pytest_energy.checks.policy import CheckContext
from pytest_energy.clocks import real_time
from pytest_energy.gate.sentences import RECORD_AGAIN, RECORD_ANEW
from pytest_energy.outcomes import MOVED
from pytest_energy.results import NOT_KEPT, VerdictRecord
from pytest_energy.stats.steadiness import halves, typical
from pytest_energy.units import difference, percent

COMMITTED_WINDOWS = 10
"""Windows of a session that goes into a committed baseline."""

LOCAL_WINDOWS = 4
"""Windows of a session that this machine keeps for itself: its figures fail nothing."""

LOCAL_SESSIONS = 8
"""Sessions of its first day after which a local baseline takes in no more of that day."""

LOCAL_SESSIONS_A_DAY, LOCAL_DAYS = 2, 8
"""The same of a later day, and of how many days at all, so that it cannot creep along."""

RESTLESS = 0.1
"""Variation of a first session's windows that is too much for this machine's own baseline."""

LITTLE = timedelta(hours=1)
"""Within that of another session one more teaches little."""

HALVES_AGREE = 0.01
"""How far, relative, the halves of a session may differ for it to be committed.

They may differ further by chance: short windows of a card that waits for its host vary by 3 %.
"""


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
    relative = record.metric != "savings"
    if relative:
        summary = without_outliers(summary, values)
        record = replace(record, value=summary.mean)
    if mode:
        _require_halves_alike(typical(values), "windows" if relative else "pairs")
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
                    f"the same; if the change is meant, {RECORD_ANEW}"
                )
    local = mode is None
    if local and summary.cv > RESTLESS:
        return replace(
            record,
            outcome="inconclusive",
            reason=f"{NOT_KEPT}: {summary.windows} "
            f"{'windows' if relative else 'pairs'} vary by {percent(round(summary.cv, 3))}, more "
            f"than {percent(RESTLESS)}; stop other work on the machine and run it again.",
        )
    _store(context, record, summary, padding_overhead, local=local, anew=local)
    where = f"`--energy-update={mode}`" if mode else "for this machine alone"
    return replace(
        record,
        outcome="recorded",
        reason=f"recorded {where}: {summary.windows} {'windows' if relative else 'pairs'}, "
        f"spread {percent(round(summary.cv, 3))}",
        warning=_little(context, previous),
        baseline=before,
        change=change,
        local=local,
    )


def _require_halves_alike(values: Sequence[float], what: str) -> None:
    found = halves(values)
    off, by_chance = (round(abs(each), 3) for each in found)
    if abs(found.off) > max(HALVES_AGREE, found.by_chance):
        raise InvalidEvidenceError(
            f"not recorded: the halves of {len(values)} {what} differ by {percent(off)}, more than "
            f"{percent(HALVES_AGREE)} and more than chance explains ({percent(by_chance)}); let "
            f"the device settle {RECORD_AGAIN}"
        )


def _little(context: CheckContext, previous: Reference | None) -> str | None:
    """What to know of a session that is appended soon after another."""
    if context.settings.update != "append" or previous is None:
        return None
    since = real_time.utc() - max(row.recorded for row in previous.entry.sessions)
    if since >= LITTLE:
        return None
    count, days = len(previous.entry.sessions) + 1, day_count(previous.entry)
    return (
        f"a session within an hour of the one before says little of how days differ: the "
        f"baseline's {count} sessions are of {'one day' if days == 1 else f'{days} days'}, "
        "so record the next on another day"
    )


def extend_local(
    context: CheckContext,
    record: VerdictRecord,
    summary: Summary,
    reference: Reference,
    padding_overhead: float | None = None,
) -> str:
    """Let a local baseline learn its machine's noise; what was taken in or not, and why.

    What the gate found to have moved is not, nor what is no evidence. All else is: how much a
    restless machine varies can only be learnt from what varies.
    """
    if not reference.local:
        return ""
    sessions, days = reference.entry.sessions, day_count(reference.entry)
    today = sum(each.day == 0 for each in sessions_of(reference.entry, real_time.utc()))
    most = LOCAL_SESSIONS if days == 1 else LOCAL_SESSIONS_A_DAY
    if record.outcome not in ("within", "inconclusive"):
        why = "it moved" if record.outcome in MOVED else "it is no evidence"
    elif reference.environment_of(sessions[0]) != context.hardware.environment:
        why = "it ran in another environment"
    elif days + (not today) > LOCAL_DAYS:
        why = f"it knows {LOCAL_DAYS} days"
    elif today >= most:
        why = f"it knows {today} sessions of today"
    else:
        _store(context, record, summary, padding_overhead, local=True, anew=False)
        return f" This machine's own baseline takes it in: {len(sessions) + 1} sessions now."
    return f" This machine's own baseline does not take it in, because {why}."


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
            median=summary.median,
            mad=summary.mad,
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
