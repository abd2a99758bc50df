"""What becomes a baseline: whether a figure is recorded, where, and from which windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from pytest_energy.baselines import Entry, Reference
from pytest_energy.baselines.writing import Recording
from pytest_energy.checks import measuring as evidence
from pytest_energy.checks import policy
from pytest_energy.checks.measuring import InvalidEvidenceError, Summary
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.state import EnergySession
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


class Keeper:
    """Decides on and keeps the recordings of one session."""

    def __init__(self, session: EnergySession, marker: EnergyMarker) -> None:
        self._session = session
        self._marker = marker

    @property
    def windows(self) -> int:
        """How many windows a recording is made of."""
        return COMMITTED_WINDOWS if self._session.config.update else LOCAL_WINDOWS

    def wants(self, reference: Reference | None) -> bool:
        """Whether a figure is to be recorded rather than gated."""
        mode = self._session.config.update
        if mode == "new":
            return reference is None or reference.local
        if mode is not None:
            return True
        return reference is None and not self._session.demands_baseline

    def keep(
        self,
        record: VerdictRecord,
        summary: Summary,
        *,
        values: Sequence[float],
        previous: Reference | None,
        padding_overhead: float | None = None,
    ) -> VerdictRecord:
        """Record a figure; raises `InvalidEvidenceError` if `values` had not settled."""
        mode = self._session.config.update
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
            for moved, unit in ((change, record.unit), (padded, "J/real token")):
                if abs(moved) > (record.detect or 0.0):
                    raise InvalidEvidenceError(
                        f"not appended: this session differs from the stored ones by "
                        f"{difference(moved, unit)}, more than `detect`, so it is not one more of "
                        f"the same; if the change is meant, record anew with "
                        f"`--energy-update=replace`"
                    )
        self._store(record, summary, padding_overhead, local=mode is None, anew=mode is None)
        where = f"`--energy-update={mode}`" if mode else "for this machine alone"
        return replace(
            record,
            outcome="recorded",
            reason=f"recorded {where}: {summary.windows} {'windows' if relative else 'pairs'}, "
            f"spread {percent(round(summary.cv, 3))}",
            value=summary.mean,
            uncertainty=summary.uncertainty,
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
        same = self._session.hardware.is_named(sessions[0].environment)
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
        hardware = self._session.hardware
        # What one run was told on its command line is not what the baseline is to hold for good.
        lasting = policy.levels(record.metric, self._marker, None, None)
        self._session.pending.add(
            Recording(
                metric=record.metric,
                id=record.id,
                workload=record.workload,
                session=evidence.stored_session(
                    summary,
                    device=hardware.device,
                    environment=hardware.environment_id,
                    padding_overhead=padding_overhead,
                    tokens=record.tokens,
                ),
                environment=dict(hardware.environment),
                tolerance=lasting.tolerance,
                detect=lasting.detect,
                nodeid=record.nodeid,
            ),
            local=local,
            anew=anew,
        )


def _change_of_real_tokens(entry: Entry, mean: float, overhead: float | None) -> float:
    """How far J/real token is from the stored sessions', relative; 0 where padding is not known."""
    rows = [row for row in entry.sessions if row.padding_overhead is not None]
    if overhead is None or not rows:
        return 0.0
    return mean * overhead / fmean(row.mean * (row.padding_overhead or 1.0) for row in rows) - 1
