"""One check of both sides, from what they do to the record of its verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pytest_energy.ab.messages import SideFaultError
from pytest_energy.ab.rounds import BASE, HEAD, PairedSampler, SidePair
from pytest_energy.ab.same_work import OtherWorkError, RunFacts, changed_settings, require_same_work
from pytest_energy.ab.side_process import Ready
from pytest_energy.baselines import session_stats
from pytest_energy.checks import policy
from pytest_energy.checks.measuring import InvalidEvidenceError, Summary, summarise
from pytest_energy.checks.policy import CheckContext
from pytest_energy.checks.savings import joined_digest, pair_id
from pytest_energy.gate import Verdict
from pytest_energy.gate.explanation import Operating, explain
from pytest_energy.gate.sentences import LOCK_IN
from pytest_energy.results import ComparisonRecord, Side, VerdictRecord
from pytest_energy.stats.noise import SessionStats
from pytest_energy.units import FRACTION


@dataclass(frozen=True)
class Target:
    """What is compared with, as a person reads it, and what the sides differ in."""

    label: str
    kind: Literal["revision", "interpreter"]


class PairedCheck(ABC):
    """A check that both sides have come to; `open_record` is what a baseline left open.

    A baseline that is there gives it levels, and what is known of noise.
    """

    def __init__(
        self,
        context: CheckContext,
        target: Target,
        sides: SidePair,
        ready: tuple[Ready, Ready],
        open_record: VerdictRecord | None,
    ) -> None:
        self.context, self.sides, self.ready = context, sides, ready
        self._target, self._open = target, open_record
        base = _base_record(ready[HEAD], context, open_record)
        stored = context.store.find(base.metric, base.id)
        entry = stored.entry if stored else None
        self.levels = policy.levels(base.metric, context.asked, context.settings, entry)
        self.base = replace(base, tolerance=self.levels.tolerance, detect=self.levels.detect)
        self.alpha = context.settling_alpha() if open_record else context.alpha()
        self.beta = context.beta
        self.most_pairs = policy.most_windows(base, context, pairs=True)
        self.known: Sequence[SessionStats] = ()
        if entry and stored and base.metric == "joules_per_token" and not stored.local:
            same = entry.workload in (None, base.workload)
            self.known = session_stats(entry) if same else ()
        self.sampler = PairedSampler(sides, ready, context.on_window)

    def verdict(self) -> VerdictRecord:
        """The record of the check; raises `SideFaultError` if a side cannot go on."""
        self._require_open_work()
        settings = self.context.settings
        try:
            for old, new in zip(self.ready[BASE].runs, self.ready[HEAD].runs, strict=True):
                require_same_work(old, new)
            steady = self.sampler.warm_up(policy.warm_up_limit(self.base, settings, pairs=True))
            record = self._measured()
        except OtherWorkError as error:
            return replace(self.base, outcome="invalid", reason=str(error), fails=True)
        except InvalidEvidenceError as error:
            windows = tuple(self.sampler.rejected())
            record = replace(self.base, outcome="invalid", reason=str(error), windows=windows)
            return policy.judged(record, settings)
        if not steady:
            late = " J/token had not become steady when measuring began."
            record = replace(record, reason=record.reason + late)
        stored = self.context.store.baseline if record.metric == "savings" else None
        return policy.judged(record, settings, stored)

    @abstractmethod
    def _measured(self) -> VerdictRecord:
        """The record of what the gates decided; measures until they are sure."""

    def _answered(
        self, verdict: Verdict, pairs: Sequence[tuple[float, float]], run: int, **known: Any
    ) -> VerdictRecord:
        """The record with both sides beside each other; `run` is whose figures they are."""
        old, new = (self._side(which, run) for which in (BASE, HEAD))
        turns = self.sides.turns
        comparison = ComparisonRecord(
            reference=self._target.label,
            kind=self._target.kind,
            base=old,
            head=new,
            pairs=tuple(pairs),
            within_pair_drift=verdict.drift,
            settles=self._open is not None,
            turns=turns is not None,
            notes=() if turns is None else (turns,),
        )
        before, after = changed_settings(*(ready.runs[run] for ready in self.ready))
        record = replace(
            self.base,
            outcome=verdict.outcome,
            comparison=comparison,
            changed_environment=_differing(
                {**old.environment, **before}, {**new.environment, **after}
            ),
            **known,
        )
        if self._open is None:
            return record
        reason = f"{record.reason} It was open against the baseline."
        if record.outcome == "improvement":
            reason += f" To guard it, {LOCK_IN}."
        return replace(record, reason=reason)

    def summary(self, side: int, run: int = 0) -> Summary:
        """What a side's windows of a run say together."""
        return summarise(self.sampler.windows(side, run))

    def explained(self, run: int, *, padding: bool) -> str:
        """Why one run's J/token differs: power, throughput, the work and the environment."""
        facts = [ready.runs[run] for ready in self.ready]
        old, new = (
            _operating(self.summary(side, run), fact.padding_overhead if padding else None)
            for side, fact in zip((BASE, HEAD), facts, strict=True)
        )
        before, after = changed_settings(*facts)
        base, head = self.ready
        found = explain(old, new, {**base.environment, **before}, {**head.environment, **after})
        return found.sentence

    def _side(self, which: int, run: int) -> Side:
        place, ready = self.sides.places[which], self.ready[which]
        summary = self.summary(which, run)
        return Side(
            name=place.name,
            reference=place.reference,
            joules_per_token=summary.mean,
            mean_watts=summary.mean_watts or 0.0,
            tokens_per_second=summary.tokens_per_second or 0.0,
            padding_overhead=ready.runs[run].padding_overhead,
            environment=dict(ready.environment),
        )

    def _require_open_work(self) -> None:
        """Settle nothing by other work than the baseline left open."""
        opened = self._open.workload if self._open else None
        done = _digest(self.ready[HEAD].runs)
        if opened is not None and done is not None and opened != done:
            place = self.sides.places[HEAD]
            text = f"`{done}`, where `{opened}` was gated"
            raise SideFaultError(place.name, place.reference, "other", text)


def _base_record(
    head: Ready, context: CheckContext, open_record: VerdictRecord | None
) -> VerdictRecord:
    """What identifies the figure that both sides are measured for."""
    savings = head.metric == "savings"
    unit = FRACTION if savings else "J/token"
    if open_record is not None:
        # It may be open on J/real token, which is judged beside what is stored: J/token.
        return replace(
            open_record, metric=head.metric, unit=unit,
            explanation=None, warning=None, windows=(), local=False, trace=(),
        )  # fmt: skip
    first = head.runs[0]
    own = pair_id(first.id, head.runs[1].id) if savings else first.id
    return VerdictRecord(
        id=head.name or own,
        metric=head.metric,
        nodeid=context.test,
        unit=unit,
        method=context.method,
        workload=_digest(head.runs),
        tokens=first.tokens,
        parameters=None if savings else first.parameters,
    )


def _digest(runs: Sequence[RunFacts]) -> str | None:
    return joined_digest([run.digest for run in runs])


def _differing(
    old: Mapping[str, str], new: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return {name: (old.get(name), new.get(name)) for name in names}


def _operating(summary: Summary, padding_overhead: float | None) -> Operating:
    return Operating(summary.mean_watts or 0.0, summary.tokens_per_second or 0.0, padding_overhead)
