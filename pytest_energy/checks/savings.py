"""What one run saves of another's J/token, from interleaved pairs, against claim and baseline."""

from __future__ import annotations

from dataclasses import replace

from pytest_energy.baselines import Reference, pair_stats, pooled_of
from pytest_energy.checks import measuring as evidence
from pytest_energy.checks import policy
from pytest_energy.checks.check import Check
from pytest_energy.checks.measuring import InvalidEvidenceError, Purchases, Run
from pytest_energy.errors import raised_elsewhere
from pytest_energy.gate.gates import SavingsGate
from pytest_energy.metering import Window
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import VerdictRecord
from pytest_energy.units import FRACTION

__tracebackhide__ = raised_elsewhere


Pair = tuple[Purchases, Purchases]
Pairs = list[tuple[Window, Window]]


def check_savings(
    session: EnergySession, nodeid: str, marker: EnergyMarker, base_run: Run, other_run: Run
) -> VerdictRecord:
    """Pull pairs of windows until the fraction that `other_run` saves is sure."""
    for run in (base_run, other_run):
        evidence.require_run(run)
    digests = (base_run.digest, other_run.digest)
    base = VerdictRecord(
        id=pair_id(base_run.id, other_run.id),
        metric="savings",
        unit=FRACTION,
        workload=None if None in digests else "-".join(str(digest) for digest in digests),
        tokens=getattr(base_run, "tokens", None),
    )
    check = Check(session, nodeid, marker, base)
    pair = (Purchases(base_run, check.show), Purchases(other_run, check.show))
    if check.refusal is not None:
        return check.refused(check.refusal)
    try:
        if check.keeper.wants(check.reference):
            return _record(check, pair)
        if check.reference is None:
            return check.missing()
        return _gate(check, pair, check.reference)
    except InvalidEvidenceError as error:
        return check.invalid(error, pair[0].rejected + pair[1].rejected)


def _record(check: Check, pair: Pair) -> VerdictRecord:
    check.require_comparable()
    for purchases in pair:
        check.warm_up(purchases)
    pairs = [_buy_pair(index, pair) for index in range(check.keeper.windows)]
    summary = evidence.summarise_pairs(pairs)
    record = replace(
        check.base,
        value=summary.mean,
        uncertainty=summary.uncertainty,
        windows=_flat(pairs),
    )
    claimed = _claimed(check, record, pair)
    if claimed.fails:
        return claimed
    return check.keeper.keep(
        record,
        summary,
        values=[other.joules_per_token / base.joules_per_token for base, other in pairs],
        previous=check.reference,
    )


def _gate(check: Check, pair: Pair, reference: Reference) -> VerdictRecord:
    check.require_comparable()
    gate = SavingsGate(
        pair_stats(reference.entry),
        tolerance=check.levels.tolerance,
        detect=check.levels.detect,
        alpha=check.alpha,
        beta=check.beta,
        max_pairs=check.most_windows,
        device=check.session.hardware.device,
        pooled=pooled_of(reference.baseline, reference.entry),
        local=reference.local,
    )
    for purchases in pair:
        check.warm_up(purchases)
    pairs: Pairs = []
    while gate.verdict is None:
        base, other = _buy_pair(len(pairs), pair)
        pairs.append((base, other))
        gate.add(base.joules_per_token, other.joules_per_token)
    summary = evidence.summarise_pairs(pairs)
    record = _claimed(check, check.judged(gate.verdict, summary, _flat(pairs)), pair)
    check.keeper.extend(record, summary, reference)
    return record


def _claimed(check: Check, record: VerdictRecord, pair: Pair) -> VerdictRecord:
    runs = (pair[0].run.id, pair[1].run.id)
    return policy.claimed(record, check.session.baseline) if is_of_the_paper(*runs) else record


def _buy_pair(index: int, pair: Pair) -> tuple[Window, Window]:
    # ABBA: what drifts with time weighs on both sides alike.
    for purchases in pair if index % 2 == 0 else reversed(pair):
        purchases.buy()
    return pair[0].windows[-1], pair[1].windows[-1]


def _flat(pairs: Pairs) -> tuple[Window, ...]:
    return tuple(window for both in pairs for window in both)


def is_of_the_paper(base: str, other: str) -> bool:
    """Whether the paper says what the one saves of the other."""
    return base.endswith("/bert-base-uncased") and other.endswith("/distilbert-base-uncased")


def pair_id(base: str, other: str) -> str:
    """The task alone for the paper's pair; any other pair names its models too."""
    task = base.partition("/")[0]
    if is_of_the_paper(base, other):
        return task
    return f"{base}-{other.partition('/')[2] or other}"
