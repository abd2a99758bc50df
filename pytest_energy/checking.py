"""From runs to verdicts: pull windows until the gate is sure, against the baseline that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_energy import evidence
from pytest_energy.baseline import Claim, Entry, StoredSession
from pytest_energy.config import EnergyMarker
from pytest_energy.errors import EnergyError
from pytest_energy.evidence import InvalidEvidenceError, Purchases, Run, Summary
from pytest_energy.explain import Operating, explain
from pytest_energy.gate import PairStats, SavingsGate, SequentialGate, SessionStats, pool
from pytest_energy.metering import Window
from pytest_energy.recording import Recording
from pytest_energy.records import VerdictRecord
from pytest_energy.session import EnergySession, Reference
from pytest_energy.units import FRACTION, format_quantity
from pytest_energy.verdict import Verdict

RECORDED_WINDOWS = 10
"""Windows of a session that goes into a committed baseline."""

LOCAL_WINDOWS = 5
"""Windows of a session that this machine keeps for itself: its figures fail nothing."""

LOCAL_SESSIONS = 8
"""Sessions after which a local baseline takes in no more."""

HALVES_AGREE = 0.02
"""How far the halves of a session may differ, relative, for it to become a baseline."""

# Where no baseline file states a band: the paper's 50 % within 10 points where joules are measured;
# where a model turns time into joules, only that DistilBERT saves clearly.
_SAVINGS_MEASURED = Claim(0.40, 0.60, "paper")
_SAVINGS_MODELLED = Claim(0.25, 1.00, "paper")


@dataclass(frozen=True)
class Levels:
    """What is allowed and what must be caught, as fractions."""

    tolerance: float
    detect: float


class Checker:
    """Checks the figures of one test; each check returns the record of its verdict."""

    def __init__(self, session: EnergySession, nodeid: str, marker: EnergyMarker) -> None:
        self._session = session
        self._config = session.config
        self._nodeid = nodeid
        self._marker = marker

    def joules_per_token(self, run: Run) -> VerdictRecord:
        """J/token of a run against its baseline; records it where it has none and may."""
        self._check_budget(run)
        purchases = Purchases(run, self._show)
        base = VerdictRecord(
            nodeid=self._nodeid,
            id=run.id,
            metric="joules_per_token",
            outcome="invalid",
            reason="",
            method=self._session.meter.method,
            workload=run.digest,
        )
        try:
            return self._joules_per_token(run, purchases, base)
        except InvalidEvidenceError as error:
            return self._invalid(base, str(error), purchases.rejected)

    def savings(self, base_run: Run, other_run: Run) -> VerdictRecord:
        """What `other_run` saves of `base_run`'s J/token, from interleaved pairs of windows."""
        first, second = Purchases(base_run, self._show), Purchases(other_run, self._show)
        base = VerdictRecord(
            nodeid=self._nodeid,
            id=base_run.id.partition("/")[0],
            metric="savings",
            unit=FRACTION,
            outcome="invalid",
            reason="",
            method=self._session.meter.method,
            workload=f"{base_run.digest}-{other_run.digest}",
        )
        try:
            return self._savings(base, first, second)
        except InvalidEvidenceError as error:
            return self._invalid(base, str(error), first.rejected + second.rejected)

    def _joules_per_token(
        self, run: Run, purchases: Purchases, base: VerdictRecord
    ) -> VerdictRecord:
        reference = self._reference(base)
        levels = self._levels(reference.entry if reference else None, 0.02, 0.05)
        base = replace(base, tolerance=levels.tolerance, detect=levels.detect)
        if self._records(reference):
            purchases.warm_up()
            return self._record(base, run, purchases, reference)
        if reference is None:
            return self._missing(base)
        self._check_conditions(reference)
        gate = SequentialGate(
            [_session_stats(row) for row in reference.entry.sessions],
            tolerance=levels.tolerance,
            detect=levels.detect,
            alpha=0.01 / self._session.gates,
            max_windows=self._marker.max_windows or self._config.max_windows,
            device=self._session.hardware.device,
            pooled=self._pooled(reference),
        )
        purchases.warm_up()
        verdict = None
        while verdict is None:
            verdict = gate.add(purchases.buy().joules_per_token)
        summary = evidence.summarise(purchases.windows)
        record = self._judge(base, verdict, summary, reference, purchases.windows)
        if reference.local and record.outcome in ("within", "inconclusive"):
            self._extend_local(record, run, summary, reference)
        return record

    def _savings(
        self, base: VerdictRecord, first: Purchases, second: Purchases
    ) -> VerdictRecord:
        reference = self._reference(base)
        levels = self._levels(reference.entry if reference else None, 0.01, 0.03)
        base = replace(base, tolerance=levels.tolerance, detect=levels.detect)
        recording = self._records(reference)
        first.warm_up()
        second.warm_up()
        if recording or reference is None:
            wanted = RECORDED_WINDOWS if self._config.update else LOCAL_WINDOWS
            for index in range(wanted):
                self._buy_pair(index, first, second)
            pairs = list(zip(first.windows, second.windows, strict=True))
            summary = evidence.summarise_pairs(pairs)
            if reference is None and not recording:
                record = self._missing(base, summary, first.windows + second.windows)
            else:
                record = self._store(base, summary, None, first.windows + second.windows, reference)
            return self._claimed(record, summary)
        gate = SavingsGate(
            [
                PairStats(row.mean, row.cv, row.windows, row.autocorrelation, row.device)
                for row in reference.entry.sessions
            ],
            tolerance=levels.tolerance,
            detect=levels.detect,
            alpha=0.01 / self._session.gates,
            max_pairs=self._marker.max_windows or self._config.max_windows,
        )
        verdict = None
        while verdict is None:
            a, b = self._buy_pair(len(first.windows), first, second)
            verdict = gate.add(a.joules_per_token, b.joules_per_token)
        summary = evidence.summarise_pairs(list(zip(first.windows, second.windows, strict=True)))
        record = self._judge(base, verdict, summary, reference, first.windows + second.windows)
        return self._claimed(record, summary)

    def _buy_pair(
        self, index: int, first: Purchases, second: Purchases
    ) -> tuple[Window, Window]:
        # ABBA: whichever drifts with time weighs on both sides alike.
        order = (first, second) if index % 2 == 0 else (second, first)
        for purchases in order:
            purchases.buy()
        return first.windows[-1], second.windows[-1]

    def _judge(
        self,
        base: VerdictRecord,
        verdict: Verdict,
        summary: Summary,
        reference: Reference,
        windows: Sequence[Window],
    ) -> VerdictRecord:
        record = replace(
            base,
            outcome=verdict.outcome,
            reason=verdict.reason,
            value=summary.mean,
            uncertainty=summary.uncertainty,
            baseline=verdict.baseline,
            change=verdict.change,
            local=reference.local,
            windows=tuple(windows),
        )
        if verdict.outcome in ("regression", "improvement") and summary.mean_watts:
            record = replace(record, explanation=self._explanation(summary, reference))
        return replace(record, fails=self._fails(record))

    def _fails(self, record: VerdictRecord) -> bool:
        """Whether a verdict fails its test; see the README's table of outcomes."""
        if record.outcome in ("missing", "invalid"):
            return self._config.ci or self._config.strict or record.outcome == "missing"
        if record.outcome == "improvement" and self._config.improvement == "pass":
            return False
        if record.outcome == "inconclusive":
            return self._config.strict
        advisory = record.local or record.method == "modelled"
        bad = record.outcome in ("regression", "improvement")
        return bad and (self._config.strict or not advisory)

    def _records(self, reference: Reference | None) -> bool:
        mode = self._config.update
        stored = reference is not None and not reference.local
        if mode is not None:
            return mode != "new" or not stored
        return reference is None and not self._session.demands_baseline

    def _record(
        self, base: VerdictRecord, run: Run, purchases: Purchases, reference: Reference | None
    ) -> VerdictRecord:
        wanted = RECORDED_WINDOWS if self._config.update else LOCAL_WINDOWS
        while len(purchases.windows) < wanted:
            purchases.buy()
        values = [window.joules_per_token for window in purchases.windows]
        summary = evidence.summarise(purchases.windows)
        if self._config.update and not evidence.halves_agree(values, HALVES_AGREE):
            return self._invalid(
                base,
                f"the halves of {wanted} windows differ by more than {HALVES_AGREE:.0%}, so they "
                f"are not recorded; let the device settle and record again",
                purchases.windows,
            )
        return self._store(base, summary, run.padding_overhead, purchases.windows, reference)

    def _store(
        self,
        base: VerdictRecord,
        summary: Summary,
        padding_overhead: float | None,
        windows: Sequence[Window],
        reference: Reference | None,
    ) -> VerdictRecord:
        local = self._config.update is None
        self._keep(base, summary, padding_overhead, local=local, anew=local)
        where = "for this machine alone" if local else f"as `{self._config.update}`"
        previous = reference.entry.sessions[-1].mean if reference else None
        return replace(
            base,
            outcome="recorded",
            reason=f"recorded {where}: {summary.windows} windows, spread {summary.cv:.1%}",
            value=summary.mean,
            uncertainty=summary.uncertainty,
            baseline=previous,
            change=None if previous is None else summary.mean / previous - 1,
            local=local,
            windows=tuple(windows),
        )

    def _extend_local(
        self, record: VerdictRecord, run: Run, summary: Summary, reference: Reference
    ) -> None:
        sessions = reference.entry.sessions
        same = sessions[0].environment == self._session.hardware.environment_id
        if same and len(sessions) < LOCAL_SESSIONS and summary.windows > 3:
            self._keep(record, summary, run.padding_overhead, local=True, anew=False)

    def _keep(
        self,
        record: VerdictRecord,
        summary: Summary,
        padding_overhead: float | None,
        *,
        local: bool,
        anew: bool,
    ) -> None:
        hardware = self._session.hardware
        session = evidence.stored_session(
            summary,
            device=hardware.device,
            environment=hardware.environment_id,
            padding_overhead=padding_overhead,
        )
        assert record.tolerance is not None
        assert record.detect is not None
        item = Recording(
            metric=record.metric,
            id=record.id,
            workload=record.workload,
            session=session,
            environment=dict(hardware.environment),
            tolerance=record.tolerance,
            detect=record.detect,
        )
        self._session.record(item, local=local, anew=anew)

    def _missing(
        self,
        base: VerdictRecord,
        summary: Summary | None = None,
        windows: Sequence[Window] = (),
    ) -> VerdictRecord:
        key = self._session.hardware.key
        test = self._nodeid.partition("::")[0]
        return replace(
            base,
            outcome="missing",
            reason=f"`{base.id}` has no {base.metric} baseline for `{key}`; on an idle machine "
            f"record one with `pytest {test} --energy-hw={key} --energy-update=new`",
            value=summary.mean if summary else None,
            uncertainty=summary.uncertainty if summary else None,
            windows=tuple(windows),
            fails=True,
        )

    def _invalid(
        self, base: VerdictRecord, reason: str, windows: Sequence[Window]
    ) -> VerdictRecord:
        record = replace(base, outcome="invalid", reason=reason, windows=tuple(windows))
        return replace(record, fails=self._fails(record))

    def _claimed(self, record: VerdictRecord, summary: Summary) -> VerdictRecord:
        """Hold savings against the band that the hardware's file, or the paper, states."""
        method = record.method
        stored = self._session.baseline
        claim = stored.claims.get(("savings", method)) if stored else None
        if claim is None:
            claim = _SAVINGS_MODELLED if method == "modelled" else _SAVINGS_MEASURED
        if claim.low <= summary.mean <= claim.high:
            return record
        return replace(
            record,
            outcome="regression" if summary.mean < claim.low else "improvement",
            reason=f"saves {summary.mean:.1%} of J/token, outside the band of "
            f"{claim.low:.0%} to {claim.high:.0%} ({claim.source}) for {method} joules; look at "
            f"what changed in the models, the batches or the meter",
            fails=True,
        )

    def _reference(self, base: VerdictRecord) -> Reference | None:
        """The entry to gate against; a workload that changed is an error, or recorded anew."""
        reference = self._session.reference(base.metric, base.id)
        if reference is None or reference.entry.workload in (None, base.workload):
            return reference
        if reference.local or self._config.update == "replace":
            return None
        raise EnergyError(
            f"`{base.id}` is workload `{base.workload}`, but `{reference.baseline.path}` has "
            f"sessions of `{reference.entry.workload}`: task, model, batches or precision differ, "
            f"so the figures cannot be compared; undo the change, or record anew with "
            f"`--energy-update=replace`"
        )

    def _check_budget(self, run: Run) -> None:
        asked = self._marker.tokens
        stored = self._session.baseline
        if asked and stored and stored.entries and asked != stored.tokens_per_window:
            raise EnergyError(
                f"`tokens={asked}` on `{run.id}` is not what `{stored.path}` was recorded with "
                f"({stored.tokens_per_window}); other batches cannot be compared"
            )

    def _check_conditions(self, reference: Reference) -> None:
        row = reference.entry.sessions[-1]
        old = reference.baseline.environments.get(row.environment or "", {})
        new = self._session.hardware.environment
        name = "power_limit_watts"
        if name in old and name in new and old[name] != new[name]:
            raise InvalidEvidenceError(
                f"the power limit is {new[name]} W, the baseline was recorded at {old[name]} W; "
                f"set it back, or record anew with `--energy-update=replace`"
            )

    def _levels(self, entry: Entry | None, tolerance: float, detect: float) -> Levels:
        ratio = detect / tolerance
        chosen_detect = self._marker.detect or self._config.detect
        chosen = self._marker.tolerance or self._config.tolerance
        if chosen is None and entry is not None:
            chosen = entry.tolerance
            chosen_detect = chosen_detect or entry.detect
        tolerance = chosen or tolerance
        detect = chosen_detect or max(detect, ratio * tolerance if chosen else detect)
        if detect <= tolerance:
            raise EnergyError(
                f"`detect` ({detect:.3g}) must be above `tolerance` ({tolerance:.3g}); "
                f"raise the one or lower the other"
            )
        return Levels(tolerance, detect)

    def _pooled(self, reference: Reference) -> object:
        entries = [
            [_session_stats(row) for row in entry.sessions]
            for (metric, _), entry in reference.baseline.entries.items()
            if metric == "joules_per_token" and entry.sessions
        ]
        return pool(entries)

    def _explanation(self, summary: Summary, reference: Reference) -> str | None:
        rows = [row for row in reference.entry.sessions if row.mean_watts and row.tokens_per_second]
        if not rows or summary.mean_watts is None or summary.tokens_per_second is None:
            return None
        watts = [row.mean_watts for row in rows if row.mean_watts]
        speeds = [row.tokens_per_second for row in rows if row.tokens_per_second]
        old = Operating(sum(watts) / len(watts), sum(speeds) / len(speeds))
        new = Operating(summary.mean_watts, summary.tokens_per_second)
        environment = reference.baseline.environments.get(rows[-1].environment or "", {})
        return explain(old, new, environment, self._session.hardware.environment).sentence

    def _show(self, identifier: str, number: int, window: Window) -> None:
        text = (
            format_quantity(window.joules_per_token, "J/token")
            + f"  {window.tokens_per_second:,.0f} tokens/s"
        )
        self._session.progress.window(identifier, number, text)


def _session_stats(row: StoredSession) -> SessionStats:
    return SessionStats(row.mean, row.cv, row.windows, row.autocorrelation, row.device)
