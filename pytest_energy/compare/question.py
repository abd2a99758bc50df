"""What is asked of both sides: levels, error budget, what is known, and how answers are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pytest_energy import policy
from pytest_energy.compare.bench import Bench
from pytest_energy.compare.sameness import RunFacts, changed_settings
from pytest_energy.compare.sides import Ready
from pytest_energy.evidence import Summary
from pytest_energy.explain import Operating, explain
from pytest_energy.marker import EnergyMarker
from pytest_energy.policy import Levels
from pytest_energy.records import Comparison, Side, VerdictRecord
from pytest_energy.session import EnergySession
from pytest_energy.sessions import SessionStats
from pytest_energy.stored import session_stats
from pytest_energy.units import FRACTION
from pytest_energy.verdict import LOCK_IN, Verdict


@dataclass(frozen=True)
class Question:
    """One check of both sides; `record` is what its verdict is written into."""

    record: VerdictRecord
    levels: Levels
    alpha: float
    beta: float
    most_pairs: int
    sessions: Sequence[SessionStats]
    bench: Bench
    ready: tuple[Ready, Ready]
    reference: str
    kind: Literal["revision", "interpreter"]
    open_record: VerdictRecord | None

    @classmethod
    def of(
        cls,
        session: EnergySession,
        marker: EnergyMarker,
        nodeid: str,
        bench: Bench,
        ready: tuple[Ready, Ready],
        *,
        reference: str,
        kind: Literal["revision", "interpreter"],
        open_record: VerdictRecord | None,
    ) -> Question:
        """The question that a check asks; a baseline lends it levels and what it knows of noise."""
        record = _record(ready[1], nodeid, session.meter.method, open_record)
        stored = session.reference(record.metric, record.id)
        levels = policy.levels(
            record.metric, marker, session.config, stored.entry if stored else None
        )
        budget = session.error_budget
        stages = 2 if open_record else 1
        alpha = budget.taken(nodeid) if open_record else budget.take(nodeid)
        known: Sequence[SessionStats] = ()
        if stored is not None and record.metric == "joules_per_token" and not stored.local:
            same = stored.entry.workload in (None, record.workload)
            known = session_stats(stored.entry) if same else ()
        return cls(
            record=replace(record, tolerance=levels.tolerance, detect=levels.detect),
            levels=levels,
            alpha=alpha / stages,
            beta=policy.MISSED / stages,
            most_pairs=marker.max_windows
            or session.config.max_windows
            or _most_pairs(record, session),
            sessions=known,
            bench=bench,
            ready=ready,
            reference=reference,
            kind=kind,
            open_record=open_record,
        )

    @property
    def work_done(self) -> str | None:
        """The digest of what the head does; None where it has none."""
        return _digest(self.ready[1].runs)

    def answered(
        self,
        record: VerdictRecord,
        verdict: Verdict,
        summaries: tuple[Summary, Summary],
        pairs: Sequence[tuple[float, float]],
        *,
        run: int = 0,
    ) -> VerdictRecord:
        """The record with both sides beside each other; `run` is whose figures they are."""
        old, new = (
            _side(self.bench, which, ready, run, summary)
            for which, (ready, summary) in enumerate(zip(self.ready, summaries, strict=True))
        )
        turns = self.bench.turns
        comparison = Comparison(
            reference=self.reference,
            kind=self.kind,
            base=old,
            head=new,
            pairs=tuple(pairs),
            within_pair_drift=verdict.drift,
            settles=self.open_record is not None,
            turns=turns is not None,
            notes=() if turns is None else (turns,),
        )
        reason = record.reason
        before, after = changed_settings(*(ready.runs[run] for ready in self.ready))
        changed = _differing({**old.environment, **before}, {**new.environment, **after})
        if self.open_record is not None:
            reason += " It was open against the baseline."
            if record.outcome == "improvement":
                reason += f" To guard it, {LOCK_IN}."
        return replace(record, reason=reason, comparison=comparison, changed_environment=changed)

    def explained(self, summaries: tuple[Summary, Summary], run: int, *, padding: bool) -> str:
        """Why one run's J/token differs: power, throughput, the work and the environment."""
        facts = [ready.runs[run] for ready in self.ready]
        old, new = (
            _operating(summary, fact.padding_overhead if padding else None)
            for summary, fact in zip(summaries, facts, strict=True)
        )
        before, after = changed_settings(*facts)
        base, head = self.ready
        found = explain(old, new, {**base.environment, **before}, {**head.environment, **after})
        return found.sentence


def _most_pairs(record: VerdictRecord, session: EnergySession) -> int:
    advisory = policy.is_advisory(record) and not session.config.strict
    return policy.MOST_ADVISORY_PAIRS if advisory else policy.MOST_WINDOWS


def _record(
    head: Ready, nodeid: str, method: str, open_record: VerdictRecord | None
) -> VerdictRecord:
    first = head.runs[0]
    savings = head.metric == "savings"
    if open_record is not None:
        # It may be open on J/real token, which is judged beside what is stored: J/token.
        return replace(
            open_record, metric=head.metric, unit=FRACTION if savings else "J/token",
            explanation=None, warning=None, windows=(), local=False, trace=(),
        )  # fmt: skip
    return VerdictRecord(
        id=first.id if not savings else _pair_id(head.runs),
        metric=head.metric,
        nodeid=nodeid,
        unit=FRACTION if savings else "J/token",
        method=method,
        workload=_digest(head.runs),
        tokens=first.tokens,
        parameters=None if savings else first.parameters,
    )


def _pair_id(runs: Sequence[RunFacts]) -> str:
    from pytest_energy.savings_check import pair_id

    return pair_id(runs[0].id, runs[1].id)


def _differing(
    old: Mapping[str, str], new: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return {name: (old.get(name), new.get(name)) for name in names}


def _digest(runs: Sequence[RunFacts]) -> str | None:
    digests = [run.digest for run in runs]
    return None if None in digests else "-".join(str(digest) for digest in digests)


def _side(bench: Bench, which: int, ready: Ready, run: int, summary: Summary) -> Side:
    place = bench.places[which]
    return Side(
        name=place.name,
        reference=place.reference,
        joules_per_token=summary.mean,
        mean_watts=summary.mean_watts or 0.0,
        tokens_per_second=summary.tokens_per_second or 0.0,
        padding_overhead=ready.runs[run].padding_overhead,
        environment=dict(ready.environment),
    )


def _operating(summary: Summary, padding_overhead: float | None) -> Operating:
    return Operating(summary.mean_watts or 0.0, summary.tokens_per_second or 0.0, padding_overhead)
