"""One check of both sides, from what they do to the record of its verdict, for each figure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_energy.ab.protocol import Ready, RunFacts, SideFaultError
from pytest_energy.ab.revisions import Revision
from pytest_energy.ab.rounds import BASE, HEAD, Figure, PairedSampler, SidePair
from pytest_energy.ab.side_place import Interpreter
from pytest_energy.baselines import session_stats
from pytest_energy.checks import acknowledging, policy
from pytest_energy.checks.figures import PADDING_DIFFERS, joined_digest, pair_id
from pytest_energy.checks.measuring import InvalidEvidenceError, summarise, summarise_pairs
from pytest_energy.checks.policy import CheckContext
from pytest_energy.gate import Verdict
from pytest_energy.gate.explanation import Operating, explain
from pytest_energy.gate.gates import PairedGate
from pytest_energy.gate.sentences import LOCK_IN, QUIETER_OR_MORE, THE_BASE, sentence
from pytest_energy.metering import Window
from pytest_energy.results import ComparisonRecord, Side, VerdictRecord
from pytest_energy.units import FRACTION

_MUST_AGREE = ("task", "model", "architecture", "data", "seed", "lora")
"""Where these differ nothing is left to compare; what else differs is what the change is about."""


def other_work(base: RunFacts, head: RunFacts) -> str | None:
    """Why a run cannot be compared, its task, model or data being another; None if it can."""
    if base.id != head.id:
        return (
            f"the base fine-tunes `{base.id}` and the head `{head.id}`: another task or model "
            f"cannot be compared; give both sides the same, or compare them as runs of one test"
        )
    for name in _MUST_AGREE:
        old, new = base.fields.get(name), head.fields.get(name)
        if base.fields and head.fields and old != new:
            return (
                f"`{name}` of `{head.id}` is {old!r} in the base and {new!r} in the head: that is "
                f"other work, which cannot be compared; give both sides the same"
            )
    return None


def changed_settings(base: RunFacts, head: RunFacts) -> tuple[dict[str, str], dict[str, str]]:
    """What differs in the work itself, padding policy or batch size, as (old, new) by name."""
    names = [n for n in head.fields if n in base.fields and base.fields[n] != head.fields[n]]
    if not names and base.digest != head.digest:
        return {"workload": str(base.digest)}, {"workload": str(head.digest)}
    old = {name: str(base.fields[name]) for name in names}
    return old, {name: str(head.fields[name]) for name in names}


class PairedCheck(ABC):
    """A check that both sides have come to; `open_record` is what a baseline left open.

    A baseline that is there gives it levels, and what is known of noise.
    """

    def __init__(
        self,
        context: CheckContext,
        target: Revision | Interpreter,
        sides: SidePair,
        ready: tuple[Ready, Ready],
        open_record: VerdictRecord | None,
    ) -> None:
        self.context, self.sides, self.ready = context, sides, ready
        self._target, self._open = target, open_record
        base = _base_record(ready[HEAD], context, open_record)
        stored = context.store.find(base.metric, base.id)
        entry = stored.entry if stored else None
        self._own_levels = policy.levels(base.metric, context.asked, context.settings, entry)
        # What is acknowledged is so against the baseline, whose open verdict this may settle.
        self._reference = stored if open_record else None
        stated = acknowledging.acknowledgement(self._reference)
        self.levels = acknowledging.widened(self._own_levels, stated)
        self.base = replace(
            base,
            acknowledged=stated,
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
        )
        self._alpha = context.settling_alpha() if open_record else context.alpha()
        self._seconds = policy.stored_seconds(entry, base.tokens)
        self._known = None
        if entry and stored and base.metric == "joules_per_token" and not stored.local:
            same = entry.workload in (None, base.workload)
            self._known = (session_stats(entry) or None) if same else None
        self.sampler = PairedSampler(sides, ready, context.on_window)

    def verdict(self) -> VerdictRecord:
        """The record of the check; raises `SideFaultError` if a side cannot go on."""
        settings = self.context.settings
        opened, done = self._open and self._open.workload, _digest(self.ready[HEAD].runs)
        if opened is not None and done is not None and opened != done:
            # Nothing is settled by other work than the baseline left open.
            text = f"`{done}`, where `{opened}` was gated"
            raise SideFaultError(self.sides.places[HEAD], "other", text)
        for old, new in zip(self.ready[BASE].runs, self.ready[HEAD].runs, strict=True):
            if reason := other_work(old, new):
                return replace(self.base, outcome="invalid", reason=reason, fails=True)
        try:
            limit = policy.warm_up_limit(self.base, settings, pairs=True)
            pairs = limit + policy.most_windows(self.base, self.context, pairs=True)
            most = 2 * len(self.ready[BASE].runs) * pairs
            self.context.on_begin(most, self.base.id, self._seconds)
            steady = self.sampler.warm_up(limit)
            record = self._measured()
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

    def gate(self, unit: str, *, share: int = 1, scale: float = 1.0) -> PairedGate:
        """A gate that has one `share`-th of the error rate; levels are divided by `scale`."""
        return PairedGate(
            self._known,
            tolerance=self.levels.tolerance / scale,
            detect=self.levels.detect / scale,
            alpha=self._alpha / share,
            beta=self.context.beta,
            max_pairs=policy.most_windows(self.base, self.context, pairs=True),
            unit=unit,
        )

    def answered(self, verdict: Verdict, figure: Figure, run: int, **known: Any) -> VerdictRecord:
        """The record with both sides beside each other; `run` is whose figures they are."""
        old, new = (self._side(which, run) for which in (BASE, HEAD))
        turns = self.sides.turns
        comparison = ComparisonRecord(
            reference=self._target.label,
            kind=self._target.kind,
            base=old,
            head=new,
            pairs=tuple(self.sampler.pairs(figure)),
            within_pair_drift=verdict.drift,
            settles=self._open is not None,
            turns=turns is not None,
            notes=() if turns is None else (turns,),
        )
        before, after = self._circumstances(run)
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        fields: dict[str, Any] = {
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "baseline": verdict.baseline,
            "change": verdict.change,
            "trace": verdict.trace,
            "comparison": comparison,
            "changed_environment": {name: (before.get(name), after.get(name)) for name in changed},
        }
        record = replace(self.base, **{**fields, **known})
        record = acknowledging.acknowledged(
            record, self._own_levels, self._reference, verdict.facts
        )
        if self._open is None:
            return record
        reason = f"{record.reason} It was open against the baseline."
        if record.outcome == "improvement":
            reason += f" To guard it, {LOCK_IN}."
        return replace(record, reason=reason)

    def explained(self, run: int, *, padding: bool) -> str:
        """Why one run's J/token differs: power, throughput, the work and the environment."""
        old, new = (
            Operating(
                side.mean_watts, side.tokens_per_second, side.padding_overhead if padding else None
            )
            for side in (self._side(BASE, run), self._side(HEAD, run))
        )
        before, after = self._circumstances(run)
        return explain(old, new, before, after).sentence

    def _circumstances(self, run: int) -> list[dict[str, str]]:
        """Each side's environment and what a change has changed of the work, by name."""
        changed = changed_settings(*(ready.runs[run] for ready in self.ready))
        return [
            {**ready.environment, **own} for ready, own in zip(self.ready, changed, strict=True)
        ]

    def _side(self, which: int, run: int) -> Side:
        place, ready = self.sides.places[which], self.ready[which]
        summary = summarise(self.sampler.windows(which, run))
        return Side(
            name=place.name,
            reference=place.reference,
            joules_per_token=summary.mean,
            mean_watts=summary.mean_watts or 0.0,
            tokens_per_second=summary.tokens_per_second or 0.0,
            padding_overhead=ready.runs[run].padding_overhead,
            environment=dict(ready.environment),
        )


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


class PairedJoulesPerToken(PairedCheck):
    """J/token of head against base, and J/real token beside it if padding differs."""

    def _measured(self) -> VerdictRecord:
        gates = self._gates()
        number, verdict = self.sampler.decide(gates)
        of_real_tokens = number > 0
        factor = (self.ready[HEAD].runs[0].padding_overhead if of_real_tokens else None) or 1.0
        windows = tuple(self.sampler.windows(HEAD))
        return self.answered(
            verdict,
            gates[number][1],
            run=0,
            metric="joules_per_real_token" if of_real_tokens else "joules_per_token",
            unit="J/real token" if of_real_tokens else "J/token",
            explanation=self.explained(0, padding=of_real_tokens),
            value=verdict.value,  # the mean of logarithms, as the base's: their ratio is the change
            uncertainty=summarise(windows).uncertainty * factor,
            windows=windows,
        )

    def _gates(self) -> list[tuple[PairedGate, Figure]]:
        base, head = (ready.runs[0].padding_overhead for ready in self.ready)
        if not base or not head or abs(head / base - 1) <= PADDING_DIFFERS:
            return [(self.gate("J/token"), _joules_per_token)]
        overheads = (base, head)

        def of_real_tokens(side: int, windows: Sequence[Window]) -> float:
            return windows[0].joules_per_token * overheads[side]

        # J/token does not see a worse padding policy; J/real token does.
        return [
            (self.gate("J/token", share=2), _joules_per_token),
            (self.gate("J/real token", share=2), of_real_tokens),
        ]


class PairedSavings(PairedCheck):
    """What one run saves of another's J/token, in the head against in the base.

    A round is four windows. The gate takes what is spent of the larger run's J/token.
    """

    def _measured(self) -> VerdictRecord:
        self.sampler.measure()
        # Levels are points of what is saved; the test takes them relative to what the base spends.
        spent = _spent(BASE, self.sampler.round(BASE, 0))
        _, verdict = self.sampler.decide([(self.gate(FRACTION, scale=spent), _spent)])
        pairs = list(zip(self.sampler.windows(HEAD, 0), self.sampler.windows(HEAD, 1), strict=True))
        summary = summarise_pairs(pairs)
        return self.answered(
            self._in_points(verdict, verdict.baseline or spent),
            _spent,
            run=1,
            explanation=" ".join(
                f"{self.ready[HEAD].runs[run].id}: {self.explained(run, padding=False)}"
                for run in (0, 1)
            ),
            value=summary.mean,
            uncertainty=summary.uncertainty,
            windows=tuple(window for both in pairs for window in both),
        )

    def _in_points(self, verdict: Verdict, base: float) -> Verdict:
        """A verdict on what is spent, as one on what is saved; `base` is what the base spends."""

        def edges(pair: tuple[float, float] | None) -> tuple[float, float] | None:
            return None if pair is None else (-base * pair[1], -base * pair[0])

        shown = replace(
            verdict,
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            value=1 - (verdict.value or base),
            baseline=1 - base,
            change=-base * (verdict.change or 0.0),
            interval=edges(verdict.interval or (0.0, 0.0)),
            trace=tuple(
                replace(
                    point,
                    change=-base * point.change,
                    within=edges(point.within),
                    changed=edges(point.changed),
                )
                for point in verdict.trace
            ),
        )
        cause = f"{len(verdict.windows)} rounds, the most allowed, were not enough"
        reason = sentence(shown, THE_BASE, "interleaved rounds", cause, QUIETER_OR_MORE)
        return replace(shown, reason=reason)


def _joules_per_token(side: int, windows: Sequence[Window]) -> float:
    del side
    return windows[0].joules_per_token


def _spent(side: int, windows: Sequence[Window]) -> float:
    """J/token of the smaller run over the larger's."""
    del side
    return windows[1].joules_per_token / windows[0].joules_per_token
