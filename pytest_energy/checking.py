"""From runs to verdicts: pull windows until the gate is sure, against the baseline that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_energy import evidence, policy
from pytest_energy.baseline import Entry
from pytest_energy.config import EnergyMarker
from pytest_energy.errors import EnergyError
from pytest_energy.evidence import InvalidEvidenceError, Purchases, Run, Summary
from pytest_energy.explain import Operating, explain
from pytest_energy.gate import Pooled, SavingsGate, SequentialGate
from pytest_energy.keeping import Keeper
from pytest_energy.metering import Window
from pytest_energy.records import VerdictRecord
from pytest_energy.session import EnergySession, Reference
from pytest_energy.stored import pair_stats, pooled_of, session_stats
from pytest_energy.units import FRACTION, quantity
from pytest_energy.verdict import Verdict


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
        reference = self._reference(base)
        base = self._with_levels(base, reference)
        try:
            if self._keeper.wants(reference):
                return self._record_run(base, purchases, reference)
            if reference is None:
                return self._missing(base)
            return self._gate_run(base, purchases, reference)
        except InvalidEvidenceError as error:
            return self._invalid(base, str(error), purchases.windows + purchases.rejected)

    def savings(self, base_run: Run, other_run: Run) -> VerdictRecord:
        """What `other_run` saves of `base_run`'s J/token, from interleaved pairs of windows."""
        pair = (Purchases(base_run, self._show), Purchases(other_run, self._show))
        digest = f"{base_run.digest}-{other_run.digest}"
        base = self._base("savings", base_run.id.partition("/")[0], digest, FRACTION)
        reference = self._reference(base)
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
        purchases.warm_up()
        for _ in range(self._keeper.windows):
            purchases.buy()
        return self._keeper.keep(
            base,
            evidence.summarise(purchases.windows),
            purchases.windows,
            values=[window.joules_per_token for window in purchases.windows],
            previous=previous,
            padding_overhead=purchases.run.padding_overhead,
        )

    def _gate_run(
        self, base: VerdictRecord, purchases: Purchases, reference: Reference
    ) -> VerdictRecord:
        self._require_same_power_limit(reference)
        rows, run = reference.entry.sessions, purchases.run
        pooled = pooled_of(reference.baseline, "joules_per_token")
        gates = [(1.0, self._sequential(base, reference.entry, pooled))]
        stored = rows[-1].padding_overhead
        if stored and run.padding_overhead and abs(run.padding_overhead / stored - 1) > 1e-3:
            # J/token does not see a worse padding policy; J/real token, gated beside it, does.
            real = [replace(row, mean=row.mean * (row.padding_overhead or stored)) for row in rows]
            entry = replace(reference.entry, sessions=tuple(real))
            gates.append((run.padding_overhead, self._sequential(base, entry, pooled)))
        purchases.warm_up()
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
            record = replace(record, explanation=self._explain(summary, reference, overhead))
        self._keeper.extend(record, summary, reference, run.padding_overhead)
        return record

    def _record_pairs(
        self,
        base: VerdictRecord,
        pair: tuple[Purchases, Purchases],
        previous: Reference | None,
    ) -> VerdictRecord:
        for purchases in pair:
            purchases.warm_up()
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
        )
        for purchases in pair:
            purchases.warm_up()
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
        self, base: VerdictRecord, entry: Entry, pooled: Pooled | None
    ) -> SequentialGate:
        assert base.tolerance is not None
        assert base.detect is not None
        return SequentialGate(
            session_stats(entry),
            tolerance=base.tolerance,
            detect=base.detect,
            alpha=policy.ERROR_BUDGET / self._session.gates,
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

    def _reference(self, base: VerdictRecord) -> Reference | None:
        """The entry to gate against; a workload that changed is an error, or recorded anew."""
        asked, stored = self._marker.tokens, self._session.baseline
        if asked and stored and stored.entries and asked != stored.tokens_per_window:
            raise EnergyError(
                f"`tokens={asked}` on `{self._nodeid}` is not what `{stored.path}` was recorded "
                f"with ({stored.tokens_per_window}): other batches cannot be compared; leave it out"
            )
        reference = self._session.reference(base.metric, base.id)
        if reference is None or reference.entry.workload in (None, base.workload):
            return reference
        if reference.local or self._session.config.update == "replace":
            return None
        raise EnergyError(
            f"`{base.id}` is workload `{base.workload}`, but `{reference.baseline.path}` has "
            f"sessions of `{reference.entry.workload}`: model, batches, precision or data differ, "
            f"so the figures cannot be compared; undo the change, or record anew with "
            f"`--energy-update=replace`"
        )

    def _require_same_power_limit(self, reference: Reference) -> None:
        row = reference.entry.sessions[-1]
        old = reference.baseline.environments.get(row.environment or "", {})
        limits = (old.get("power_limit_watts"), self._environment.get("power_limit_watts"))
        if None not in limits and limits[0] != limits[1]:
            raise InvalidEvidenceError(
                f"the power limit is {limits[1]} W, the baseline's was {limits[0]} W; set it back, "
                f"or record anew with `--energy-update=replace`"
            )

    @property
    def _environment(self) -> dict[str, str]:
        return dict(self._session.hardware.environment)

    def _explain(
        self, summary: Summary, reference: Reference, padding_overhead: float | None
    ) -> str | None:
        rows = [row for row in reference.entry.sessions if row.mean_watts and row.tokens_per_second]
        if not rows or not summary.mean_watts or not summary.tokens_per_second:
            return None
        watts = [row.mean_watts for row in rows if row.mean_watts]
        speeds = [row.tokens_per_second for row in rows if row.tokens_per_second]
        stored = rows[-1].padding_overhead if padding_overhead else None
        old = Operating(sum(watts) / len(watts), sum(speeds) / len(speeds), stored)
        new = Operating(summary.mean_watts, summary.tokens_per_second, padding_overhead)
        environment = reference.baseline.environments.get(rows[-1].environment or "", {})
        return explain(old, new, environment, self._environment).sentence

    def _show(self, identifier: str, number: int, window: Window) -> None:
        figure = quantity(window.joules_per_token, "J/token")
        text = f"{figure}  {window.tokens_per_second:,.0f} tokens/s"
        self._session.progress.window(identifier, number, text)


def _buy_pair(index: int, pair: tuple[Purchases, Purchases]) -> tuple[Window, Window]:
    # ABBA: what drifts with time weighs on both sides alike.
    for purchases in pair if index % 2 == 0 else reversed(pair):
        purchases.buy()
    return pair[0].windows[-1], pair[1].windows[-1]
