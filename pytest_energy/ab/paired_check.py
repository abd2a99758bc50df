"""What is asked of both sides: levels, error budget, what is known, and how answers are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_energy.ab.messages import SideFaultError
from pytest_energy.ab.rounds import BASE, HEAD, Bench, Rounds, SideRun
from pytest_energy.ab.same_work import OtherWorkError, RunFacts, changed_settings, require_same_work
from pytest_energy.ab.side_process import Ready
from pytest_energy.baselines import session_stats
from pytest_energy.checks import policy
from pytest_energy.checks.measuring import InvalidEvidenceError, Purchases, Summary
from pytest_energy.checks.policy import Levels
from pytest_energy.checks.savings import is_of_the_paper
from pytest_energy.gate import Verdict
from pytest_energy.gate.explanation import Operating, explain
from pytest_energy.gate.sentences import LOCK_IN
from pytest_energy.metering import Window
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import Comparison, Side, VerdictRecord
from pytest_energy.stats.noise import SessionStats
from pytest_energy.units import FRACTION, quantity

if TYPE_CHECKING:
    from pytest_energy.ab import Arena


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
    from pytest_energy.checks.savings import pair_id

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


_NOTHING_TO_COMPARE = ("absent", "skipped")


@dataclass(frozen=True)
class Comparing:
    """One test whose checks are compared; `open_record` is what a baseline left open."""

    session: EnergySession
    arena: Arena
    item: pytest.Item
    bench: Bench
    open_record: VerdictRecord | None = None

    def next_record(self) -> VerdictRecord | None:
        """The record of the next check; None where the head's test has ended."""
        try:
            return self._attempted()
        except SideFaultError as fault:
            return self._faulted(fault)

    def _attempted(self) -> VerdictRecord | None:
        try:
            return self._compared()
        except SideFaultError as fault:
            if fault.kind != "memory" or self.bench.turns is not None:
                raise
            self.bench.take_turns(fault)
            self.session.progress.note(self.bench.turns or "")
            return self._compared()

    def _compared(self) -> VerdictRecord | None:
        self.bench.open()
        head = self.bench.come_to_check(HEAD)
        if head is None:
            return None
        base = self.bench.come_to_check(BASE)
        if base is None or base.metric != head.metric:
            place = self.bench.places[BASE]
            text = "it comes to no such check"
            raise SideFaultError(place.name, place.reference, "absent", text)
        return self._judged(base, head)

    def _judged(self, base: Ready, head: Ready) -> VerdictRecord:
        question = self._question(base, head)
        self._require_open_work(question)
        rounds = self._rounds(base, head)
        try:
            for old, new in zip(base.runs, head.runs, strict=True):
                require_same_work(old, new)
            limit = policy.warm_up_limit(question.record, self.session.config, pairs=True)
            steady = _warm_up(rounds, limit)
            from pytest_energy.ab import paired_figures

            savings = head.metric == "savings"
            answered = (
                paired_figures.answer_savings if savings else paired_figures.answer_joules_per_token
            )
            record = answered(question, rounds)
        except OtherWorkError as error:
            return replace(question.record, outcome="invalid", reason=str(error), fails=True)
        except InvalidEvidenceError as error:
            windows = tuple(rounds.rejected())
            record = replace(question.record, outcome="invalid", reason=str(error), windows=windows)
            return policy.judged(record, self.session.config)
        if not steady:
            late = " J/token had not become steady when measuring began."
            record = replace(record, reason=record.reason + late)
        record = policy.judged(record, self.session.config)
        runs = [run.id for run in head.runs]
        claimed = head.metric == "savings" and is_of_the_paper(*runs)
        return policy.claimed(record, self.session.baseline) if claimed else record

    def _require_open_work(self, question: Question) -> None:
        """Settle nothing by other work than the baseline left open."""
        opened = self.open_record.workload if self.open_record else None
        done = question.work_done
        if opened is not None and done is not None and opened != done:
            place = self.bench.places[HEAD]
            text = f"`{done}`, where `{opened}` was gated"
            raise SideFaultError(place.name, place.reference, "other", text)

    def _question(self, base: Ready, head: Ready) -> Question:
        return Question.of(
            self.session,
            EnergyMarker.from_item(self.item),
            self.item.nodeid,
            self.bench,
            (base, head),
            reference=self.arena.target.label,
            kind=self.arena.kind,
            open_record=self.open_record,
        )

    def _rounds(self, base: Ready, head: Ready) -> Rounds:
        old, new = (
            [
                Purchases(SideRun(self.bench, side, number, facts), self._show)
                for number, facts in enumerate(ready.runs)
            ]
            for side, ready in ((BASE, base), (HEAD, head))
        )
        return Rounds((old, new))

    def _show(self, identifier: str, number: int, window: Window) -> None:
        figure = quantity(window.joules_per_token, "J/token")
        text = f"{figure}  {window.tokens_per_second:,.0f} tokens/s"
        self.session.progress.window(identifier, number, text)

    def _faulted(self, fault: SideFaultError) -> VerdictRecord:
        """The record of what could not be compared: an error, unless the base lacks the test."""
        if fault.side == "head" and fault.kind == "skipped" and self.open_record is None:
            pytest.skip(fault.text)
        if fault.tail:
            title = f"energy, the end of what the {fault.side} printed"
            self.item.add_report_section("call", title, fault.tail)
        if self.open_record is not None:
            return replace(
                self.open_record,
                reason=f"{self.open_record.reason} It could not be settled: {fault}.",
            )
        record = VerdictRecord(
            id=self.item.name,
            metric="joules_per_token",
            nodeid=self.item.nodeid,
            method=self.session.meter.method,
        )
        if fault.side == "base" and fault.kind in _NOTHING_TO_COMPARE:
            return replace(
                record,
                outcome="missing",
                reason=f"nothing to compare with: {fault}; a revision that has it, or a baseline, "
                f"would do",
                fails=self.session.config.strict,
            )
        return replace(record, outcome="invalid", reason=f"not compared: {fault}", fails=True)


def _warm_up(rounds: Rounds, limit: int) -> bool:
    """Warm all runs of both sides up; says whether all became steady."""
    steady = True
    for side in rounds.purchases:
        for purchases in side:
            steady = purchases.warm_up(limit) and steady
    return steady
