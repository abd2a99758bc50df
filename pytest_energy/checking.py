"""From runs to verdicts: pull windows until the gate is sure, against the baseline that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_energy import comparable, evidence, policy
from pytest_energy.baseline import Entry
from pytest_energy.config import EnergyMarker
from pytest_energy.evidence import InvalidEvidenceError, Purchases, Run, Summary
from pytest_energy.gate import Pooled, SavingsGate, SequentialGate
from pytest_energy.keeping import Keeper
from pytest_energy.metering import Window
from pytest_energy.records import VerdictRecord
from pytest_energy.session import EnergySession, Reference
from pytest_energy.stored import pair_stats, pooled_of, session_stats
from pytest_energy.units import FRACTION, quantity
from pytest_energy.verdict import Verdict

PADDING_DIFFERS = 1e-3
"""Relative difference of padding overheads, which are exact, beyond rounding in the file."""


class Checker:
    """Checks the figures of one test; each check returns the record of its verdict."""

    def __init__(self, session: EnergySession, nodeid: str, marker: EnergyMarker) -> None:
        self._session = session
        self._nodeid = nodeid
        self._marker = marker
        self._keeper = Keeper(session)

    def joules_per_token(self, run: Run) -> VerdictRecord:
        """J/token of a run against its baseline; recorded where there is none and it may be."""
        purchases = Purchases(run, self._show)
        base = self._base("joules_per_token", run.id, run.digest, "J/token")
        parameters = getattr(run, "parameters", None)
        if isinstance(parameters, tuple):  # on a module of torch it is a method
            base = replace(base, parameters=parameters)
        reference = comparable.reference(base, self._session, self._marker)
        base = self._with_levels(base, reference)
        try:
            if self._keeper.wants(reference):
                return self._record_run(base, purchases, reference)
            if reference is None:
                return self._missing(base)
            record = self._gate_run(base, purchases, reference)
        except InvalidEvidenceError as error:
            return self._invalid(base, str(error), purchases.windows + purchases.rejected)
        return policy.plausible(record, self._session.baseline)

    def savings(self, base_run: Run, other_run: Run) -> VerdictRecord:
        """What `other_run` saves of `base_run`'s J/token, from interleaved pairs of windows."""
        pair = (Purchases(base_run, self._show), Purchases(other_run, self._show))
        digest = f"{base_run.digest}-{other_run.digest}"
        base = self._base("savings", base_run.id.partition("/")[0], digest, FRACTION)
        reference = comparable.reference(base, self._session, self._marker)
        base = self._with_levels(base, reference)
        try:
            if self._keeper.wants(reference):
                record = self._record_pairs(base, pair, reference)
            elif reference is None:
                return self._missing(base)
            else:
                record = self._gate_pairs(base, pair, reference)
        except InvalidEvidenceError as error:
            return self._invalid(base, str(error), pair[0].rejected + pair[1].rejected)
        return policy.claimed(record, self._session.baseline)

    def _record_run(
        self, base: VerdictRecord, purchases: Purchases, previous: Reference | None
    ) -> VerdictRecord:
        purchases.warm_up(policy.warm_up_limit(base))
        for _ in range(self._keeper.windows):
            purchases.buy()
        summary = evidence.summarise(purchases.windows)
        seen = replace(
            base,
            value=summary.mean,
            uncertainty=summary.uncertainty,
            windows=tuple(purchases.windows),
        )
        judged = policy.plausible(seen, self._session.baseline)
        if judged.fails:
            return judged
        return self._keeper.keep(
            base,
            summary,
            purchases.windows,
            values=[window.joules_per_token for window in purchases.windows],
            previous=previous,
            padding_overhead=purchases.run.padding_overhead,
        )

    def _gate_run(
        self, base: VerdictRecord, purchases: Purchases, reference: Reference
    ) -> VerdictRecord:
        comparable.require_same_power_limit(reference, self._session.hardware)
        rows, run = reference.entry.sessions, purchases.run
        pooled = pooled_of(reference.baseline, reference.entry)
        stored = rows[-1].padding_overhead or run.padding_overhead or 1.0
        repadded = abs((run.padding_overhead or stored) / stored - 1) > PADDING_DIFFERS
        share = 2 if repadded else 1
        gates = [(1.0, self._sequential(base, reference.entry, pooled, share))]
        if repadded and run.padding_overhead:
            # J/token does not see a worse padding policy; J/real token, gated beside it, does.
            real = [replace(row, mean=row.mean * (row.padding_overhead or stored)) for row in rows]
            entry = replace(reference.entry, sessions=tuple(real))
            gates.append((run.padding_overhead, self._sequential(base, entry, pooled, share)))
        purchases.warm_up(policy.warm_up_limit(base))
        while any(gate.verdict is None for _, gate in gates):
            value = purchases.buy().joules_per_token
            for factor, gate in gates:
                if gate.verdict is None:
                    gate.add(value * factor)
        summary = evidence.summarise(purchases.windows)
        verdicts = [gate.verdict for _, gate in gates if gate.verdict is not None]
        verdict = max(verdicts, key=lambda v: v.outcome != "within")
        record = self._judged(base, verdict, summary, purchases.windows)
        if verdict is not verdicts[0]:
            record = replace(
                record,
                metric="joules_per_real_token",
                unit="J/real token",
                value=summary.mean * (run.padding_overhead or 1.0),
                uncertainty=summary.uncertainty * (run.padding_overhead or 1.0),
            )
        if record.outcome in ("regression", "improvement"):
            overhead = run.padding_overhead if verdict is not verdicts[0] else None
            why = comparable.explanation(summary, reference, self._session.hardware, overhead)
            record = replace(record, explanation=why)
        self._keeper.extend(record, summary, reference, run.padding_overhead)
        return record

    def _record_pairs(
        self,
        base: VerdictRecord,
        pair: tuple[Purchases, Purchases],
        previous: Reference | None,
    ) -> VerdictRecord:
        for purchases in pair:
            purchases.warm_up(policy.warm_up_limit(base))
        pairs = [_buy_pair(index, pair) for index in range(self._keeper.windows)]
        return self._keeper.keep(
            base,
            evidence.summarise_pairs(pairs),
            [window for both in pairs for window in both],
            values=[b.joules_per_token / a.joules_per_token for a, b in pairs],
            previous=previous,
        )

    def _gate_pairs(
        self, base: VerdictRecord, pair: tuple[Purchases, Purchases], reference: Reference
    ) -> VerdictRecord:
        assert base.tolerance is not None
        assert base.detect is not None
        gate = SavingsGate(
            pair_stats(reference.entry),
            tolerance=base.tolerance,
            detect=base.detect,
            alpha=policy.ERROR_BUDGET / self._session.gates,
            max_pairs=self._max_windows(base),
            device=self._session.hardware.device,
            pooled=pooled_of(reference.baseline, reference.entry),
        )
        for purchases in pair:
            purchases.warm_up(policy.warm_up_limit(base))
        pairs: list[tuple[Window, Window]] = []
        while gate.verdict is None:
            first, second = _buy_pair(len(pairs), pair)
            pairs.append((first, second))
            gate.add(first.joules_per_token, second.joules_per_token)
        summary = evidence.summarise_pairs(pairs)
        windows = [window for both in pairs for window in both]
        record = self._judged(base, gate.verdict, summary, windows)
        self._keeper.extend(record, summary, reference)
        return record

    def _sequential(
        self, base: VerdictRecord, entry: Entry, pooled: Pooled | None, share: int
    ) -> SequentialGate:
        assert base.tolerance is not None
        assert base.detect is not None
        return SequentialGate(
            session_stats(entry),
            tolerance=base.tolerance,
            detect=base.detect,
            alpha=policy.ERROR_BUDGET / self._session.gates / share,
            max_windows=self._max_windows(base),
            device=self._session.hardware.device,
            pooled=pooled,
        )

    def _judged(
        self,
        base: VerdictRecord,
        verdict: Verdict,
        summary: Summary,
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
            windows=tuple(windows),
        )
        return policy.judged(record, self._session.config)

    def _missing(self, base: VerdictRecord) -> VerdictRecord:
        key, test = self._session.hardware.key, self._nodeid.partition("::")[0]
        return replace(
            base,
            outcome="missing",
            reason=f"`{base.id}` has no {base.metric} baseline for `{key}`; record one on an idle "
            f"machine with `pytest {test} --energy-hw={key} --energy-update=new`",
            fails=True,
        )

    def _invalid(
        self, base: VerdictRecord, reason: str, windows: Sequence[Window]
    ) -> VerdictRecord:
        record = replace(base, outcome="invalid", reason=reason, windows=tuple(windows))
        return policy.judged(record, self._session.config)

    def _base(self, metric: str, identifier: str, digest: str | None, unit: str) -> VerdictRecord:
        return VerdictRecord(
            nodeid=self._nodeid,
            id=identifier,
            metric=metric,
            unit=unit,
            outcome="invalid",
            reason="",
            method=self._session.meter.method,
            workload=digest,
        )

    def _with_levels(self, base: VerdictRecord, reference: Reference | None) -> VerdictRecord:
        entry = reference.entry if reference else None
        levels = policy.levels(base.metric, self._marker, self._session.config, entry)
        local = reference is not None and reference.local
        return replace(base, tolerance=levels.tolerance, detect=levels.detect, local=local)

    def _max_windows(self, base: VerdictRecord) -> int:
        asked = self._marker.max_windows or self._session.config.max_windows
        advisory = policy.is_advisory(base) and not self._session.config.strict
        return asked or (policy.MOST_ADVISORY_WINDOWS if advisory else policy.MOST_WINDOWS)

    def _show(self, identifier: str, number: int, window: Window) -> None:
        figure = quantity(window.joules_per_token, "J/token")
        text = f"{figure}  {window.tokens_per_second:,.0f} tokens/s"
        self._session.progress.window(identifier, number, text)


def _buy_pair(index: int, pair: tuple[Purchases, Purchases]) -> tuple[Window, Window]:
    # ABBA: what drifts with time weighs on both sides alike.
    for purchases in pair if index % 2 == 0 else reversed(pair):
        purchases.buy()
    return pair[0].windows[-1], pair[1].windows[-1]
