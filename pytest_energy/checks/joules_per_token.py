"""J/token of a run against its baseline, and J/real token beside it where padding changed."""

from __future__ import annotations

from dataclasses import replace

from pytest_energy.baselines import Entry, Reference, StoredSession, pooled_of, session_stats
from pytest_energy.checks import comparability as comparable
from pytest_energy.checks import measuring as evidence
from pytest_energy.checks import policy
from pytest_energy.checks.check import Check
from pytest_energy.checks.measuring import InvalidEvidenceError, Purchases, Run
from pytest_energy.errors import raised_elsewhere
from pytest_energy.gate.gates import SequentialGate
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import VerdictRecord

__tracebackhide__ = raised_elsewhere


PADDING_DIFFERS = 1e-3
"""Relative difference of padding overheads, which are exact, beyond rounding in the file."""

_WORST_FIRST = ("regression", "invalid", "improvement", "inconclusive", "within")


def check_joules_per_token(
    session: EnergySession, nodeid: str, marker: EnergyMarker, run: Run
) -> VerdictRecord:
    """Pull windows of a run until its J/token is sure; recorded where there is no baseline."""
    evidence.require_run(run)
    parameters = getattr(run, "parameters", None)
    base = VerdictRecord(
        id=run.id,
        metric="joules_per_token",
        workload=run.digest,
        tokens=getattr(run, "tokens", None),
        # On a module of torch it is a method.
        parameters=parameters if isinstance(parameters, tuple) else None,
    )
    check = Check(session, nodeid, marker, base)
    purchases = Purchases(run, check.show)
    if check.refusal is not None:
        return check.refused(check.refusal)
    try:
        if check.keeper.wants(check.reference):
            return _record(check, purchases)
        if check.reference is None:
            return check.missing()
        return _gate(check, purchases, check.reference)
    except InvalidEvidenceError as error:
        return check.invalid(error, purchases.windows + purchases.rejected)


def _record(check: Check, purchases: Purchases) -> VerdictRecord:
    check.require_comparable()
    check.warm_up(purchases)
    for _ in range(check.keeper.windows):
        purchases.buy()
    summary = evidence.summarise(purchases.windows)
    record = replace(
        check.base,
        value=summary.mean,
        uncertainty=summary.uncertainty,
        windows=tuple(purchases.windows),
    )
    judged = policy.plausible(record, check.session.baseline)
    if judged.fails:
        return judged
    return check.keeper.keep(
        record,
        summary,
        values=[window.joules_per_token for window in purchases.windows],
        previous=check.reference,
        padding_overhead=purchases.run.padding_overhead,
    )


def _gate(check: Check, purchases: Purchases, reference: Reference) -> VerdictRecord:
    check.require_comparable()
    overhead = purchases.run.padding_overhead
    gates = _gates(check, reference, overhead)
    check.warm_up(purchases)
    while any(gate.verdict is None for _, gate in gates):
        value = purchases.buy().joules_per_token
        for factor, gate in gates:
            if gate.verdict is None:
                gate.add(value * factor)
    summary = evidence.summarise(purchases.windows)
    verdicts = [gate.verdict for _, gate in gates if gate.verdict is not None]
    verdict = min(verdicts, key=lambda v: (_WORST_FIRST.index(v.outcome), -abs(v.change or 0)))
    record = check.judged(verdict, summary, purchases.windows)
    of_real_tokens = verdict is not verdicts[0]
    if of_real_tokens and overhead:
        record = replace(
            record,
            metric="joules_per_real_token",
            unit="J/real token",
            value=summary.mean * overhead,
            uncertainty=summary.uncertainty * overhead,
        )
    if record.outcome in ("regression", "improvement"):
        padding = overhead if of_real_tokens else None
        why = comparable.explanation(summary, reference, check.session.hardware, padding)
        record = replace(record, explanation=why)
    record = policy.plausible(record, check.session.baseline)
    # What is stored is J/token, whichever of the two was judged.
    stored = replace(record, metric=check.base.metric, unit=check.base.unit)
    check.keeper.extend(stored, summary, reference, overhead)
    return record


def _gates(
    check: Check, reference: Reference, overhead: float | None
) -> list[tuple[float, SequentialGate]]:
    """The gate of J/token, and of J/real token where padding differs, each with its factor."""
    rows = reference.entry.sessions
    stored = rows[-1].padding_overhead or overhead
    if not stored or not overhead or not any(_pads_otherwise(row, overhead) for row in rows):
        return [(1.0, _sequential(check, reference, reference.entry, share=1))]
    # J/token does not see a worse padding policy; J/real token does.
    real = tuple(replace(row, mean=row.mean * (row.padding_overhead or stored)) for row in rows)
    entry = replace(reference.entry, sessions=real)
    return [
        (1.0, _sequential(check, reference, reference.entry, share=2)),
        (overhead, _sequential(check, reference, entry, share=2, unit="J/real token")),
    ]


def _pads_otherwise(row: StoredSession, overhead: float) -> bool:
    return abs(overhead / (row.padding_overhead or overhead) - 1) > PADDING_DIFFERS


def _sequential(
    check: Check, reference: Reference, entry: Entry, share: int, unit: str = "J/token"
) -> SequentialGate:
    return SequentialGate(
        session_stats(entry),
        tolerance=check.levels.tolerance,
        detect=check.levels.detect,
        alpha=check.alpha / share,
        beta=check.beta,
        max_windows=check.most_windows,
        device=check.session.hardware.device,
        pooled=pooled_of(reference.baseline, entry),
        local=reference.local,
        unit=unit,
    )
