"""What becomes a baseline: whether a figure is recorded, where, and from which windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from statistics import fmean

from pytest_energy.baselines import Entry, Reference, StoredSession
from pytest_energy.baselines.writing import Recording
from pytest_energy.checks import policy
from pytest_energy.checks.measuring import InvalidEvidenceError, Summary
from pytest_energy.checks.policy import CheckContext
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.noise import halves_agree
from pytest_energy.units import difference, percent

COMMITTED_WINDOWS = 10
"""Windows of a session that goes into a committed baseline."""

LOCAL_WINDOWS = 4
"""Windows of a session that this machine keeps for itself: its figures fail nothing."""

LOCAL_SESSIONS = 8
"""Sessions after which a local baseline takes in no more, so that it cannot creep along."""

HALVES_AGREE = 0.01
"""How far, relative, the halves of a session may differ for it to be committed."""


class BaselineRecorder:
    """Decides on the recordings of one test, and hands them to the store."""

    def __init__(self, context: CheckContext) -> None:
        self._context = context
        self._mode = context.settings.update

    @property
    def windows(self) -> int:
        """How many windows a recording is made of."""
        return COMMITTED_WINDOWS if self._mode else LOCAL_WINDOWS

    def wants(self, reference: Reference | None) -> bool:
        """Whether a figure is to be recorded rather than gated."""
        if self._mode == "new":
            return reference is None or reference.local
        if self._mode is not None:
            return True
        return reference is None and not self._context.settings.demands_baseline

    def keep(
        self,
        record: VerdictRecord,
        summary: Summary,
        values: Sequence[float],
        previous: Reference | None,
        padding_overhead: float | None,
    ) -> VerdictRecord:
        """The record of a figure that is kept; `InvalidEvidenceError` if `values` moved within."""
        mode = self._mode
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
            _require_alike(record, {record.unit: change, "J/real token": padded})
        self._store(record, summary, padding_overhead, local=mode is None, anew=mode is None)
        where = f"`--energy-update={mode}`" if mode else "for this machine alone"
        return replace(
            record,
            outcome="recorded",
            reason=f"recorded {where}: {summary.windows} {'windows' if relative else 'pairs'}, "
            f"spread {percent(round(summary.cv, 3))}",
            baseline=before,
            change=change,
            local=mode is None,
        )

    def extend(
        self,
        record: VerdictRecord,
        summary: Summary,
        reference: Reference,
        padding_overhead: float | None = None,
    ) -> None:
        """Let a local baseline learn its machine's noise from a figure that did not move."""
        sessions = reference.entry.sessions
        small = abs(record.change or 0.0) <= (record.tolerance or 0.0)
        unmoved = small and record.outcome in ("within", "inconclusive")
        same = reference.environment_of(sessions[0]) == self._context.hardware.environment
        if reference.local and unmoved and same and len(sessions) < LOCAL_SESSIONS:
            self._store(record, summary, padding_overhead, local=True, anew=False)

    def _store(
        self,
        record: VerdictRecord,
        summary: Summary,
        padding_overhead: float | None,
        *,
        local: bool,
        anew: bool,
    ) -> None:
        hardware = self._context.hardware
        # What one run was told on its command line is not what the baseline is to hold for good.
        lasting = policy.levels(record.metric, self._context.asked, None, None)
        recording = Recording(
            metric=record.metric,
            id=record.id,
            workload=record.workload,
            session=StoredSession(
                date=datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
                windows=summary.windows,
                mean=summary.mean,
                cv=summary.cv,
                autocorrelation=summary.autocorrelation,
                device=hardware.device,
                padding_overhead=padding_overhead,
                mean_watts=summary.mean_watts,
                tokens_per_second=summary.tokens_per_second,
                environment=hardware.environment_id,
                tokens=record.tokens,
            ),
            environment=dict(hardware.environment),
            tolerance=lasting.tolerance,
            detect=lasting.detect,
            nodeid=record.nodeid,
        )
        self._context.store.record(recording, local=local, anew=anew)


def _require_alike(record: VerdictRecord, changes: dict[str, float]) -> None:
    """Raise `InvalidEvidenceError` if a session moved, by its unit, too far to be one more."""
    for unit, moved in changes.items():
        if abs(moved) > (record.detect or 0.0):
            raise InvalidEvidenceError(
                f"not appended: this session differs from the stored ones by "
                f"{difference(moved, unit)}, more than `detect`, so it is not one more of "
                f"the same; if the change is meant, record anew with "
                f"`--energy-update=replace`"
            )


def _change_of_real_tokens(entry: Entry, mean: float, overhead: float | None) -> float:
    """How far J/real token is from the stored sessions', relative; 0 if padding is not known."""
    rows = [row for row in entry.sessions if row.padding_overhead is not None]
    if overhead is None or not rows:
        return 0.0
    return mean * overhead / fmean(row.mean * (row.padding_overhead or 1.0) for row in rows) - 1
