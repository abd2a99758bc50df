"""One check of both sides, from what they do to the record of its verdict."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from pytest_energy.ab.measurement import (
    Figure,
    Gates,
    PairedMeasurement,
    known_noise,
    profile_change,
)
from pytest_energy.ab.protocol import Ready, RunFacts, SideFaultError, changed_settings, other_work
from pytest_energy.ab.revisions import Revision
from pytest_energy.ab.side_place import Interpreter
from pytest_energy.ab.sides import BASE, HEAD, SidePair
from pytest_energy.baselines import session_stats
from pytest_energy.checks import policy
from pytest_energy.checks.figures import joined_digest, pair_id
from pytest_energy.checks.measuring import InvalidEvidenceError, summarise
from pytest_energy.checks.policy import CheckContext
from pytest_energy.errors import informing
from pytest_energy.gate import Verdict
from pytest_energy.gate.explanation import Operating, explain
from pytest_energy.gate.gates import PairedGate
from pytest_energy.gate.sentences import LOCK_IN, compared
from pytest_energy.outcomes import MOVED
from pytest_energy.results import ComparisonRecord, LeftOpen, Side, VerdictRecord
from pytest_energy.stats.noise import spread
from pytest_energy.stats.sequential import pair_variance
from pytest_energy.units import FRACTION


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
        stated = policy.acknowledgement(self._reference)
        self.levels = policy.widened(self._own_levels, stated)
        self.base = replace(
            base,
            acknowledged=stated,
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
        )
        self._alpha = context.settling_alpha() if open_record else context.alpha()
        self._seconds = policy.stored_seconds(entry, base.tokens)
        self._known, self._local = None, stored is not None and stored.local
        if base.metric == "joules_per_token":
            same = entry is not None and entry.workload in (None, base.workload)
            self._known = (session_stats(entry) if entry and same else None) or known_noise()
        self.measurement = PairedMeasurement(sides, ready, context.on_window)

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
            steady = self.measurement.warm_up(limit)
            record = self._measured()
        except InvalidEvidenceError as error:
            windows = tuple(self.measurement.rejected())
            record = replace(self.base, outcome="invalid", reason=str(error), windows=windows)
            return policy.judged(record, settings)
        if not steady:
            late = " J/token had not become steady when measuring began."
            record = replace(record, reason=record.reason + late)
        stored = self.context.store.baseline if record.metric == "savings" else None
        return self._profiled(policy.judged(record, settings, stored))

    def _profiled(self, record: VerdictRecord) -> VerdictRecord:
        """The record with what carries its change; that only informs, and may fail."""
        comparison = record.comparison
        if record.outcome not in MOVED or comparison is None:
            return record
        if self.context.settings.profile == "never":
            return record
        notes, found = list[str](), None
        with informing("not profiled", notes.append):
            run, change = self._most_changed()
            found = profile_change(self.sides, run, change)
        told = [record.explanation, found.sentence if found else None]
        return replace(
            record,
            explanation=" ".join(text for text in told if text) or None,
            comparison=replace(comparison, notes=(*comparison.notes, *notes)),
            profile=found,
        )

    def _most_changed(self) -> tuple[int, float]:
        """The run whose J/token differs the most, and by how much (relative)."""
        changes = []
        for run in range(len(self.ready[HEAD].runs)):
            base, head = (self._side(which, run, None) for which in (BASE, HEAD))
            changes.append(head.joules_per_token / base.joules_per_token - 1)
        most = max(range(len(changes)), key=lambda run: abs(changes[run]))
        return most, changes[most]

    @abstractmethod
    def _measured(self) -> VerdictRecord:
        """The record of what the gates decided; measures until they are sure."""

    def decide(self, gates: Gates) -> tuple[int, Verdict]:
        """The verdict that counts, and the number of its gate."""
        informs = policy.is_advisory(self.base) and not self.context.settings.strict
        return self.measurement.decide(gates, informs=informs)

    def gate(self, unit: str, *, renewed: bool, share: int = 1, scale: float = 1.0) -> PairedGate:
        """A gate that has one `share`-th of the error rate; levels are divided by `scale`."""
        return PairedGate(
            self._known,
            tolerance=self.levels.tolerance / scale,
            detect=self.levels.detect / scale,
            alpha=self._alpha / share,
            beta=self.context.beta,
            max_pairs=policy.most_windows(self.base, self.context, pairs=True),
            local=self._local,
            renewed=renewed,
            unit=unit,
        )

    def answered(self, verdict: Verdict, figure: Figure, run: int, **known: Any) -> VerdictRecord:
        """The record with both sides beside each other; `run` is whose figures they are."""
        old, new = (self._side(which, run, verdict) for which in (BASE, HEAD))
        noise = math.sqrt(pair_variance(spread(self._known))) if self._known else None
        comparison = ComparisonRecord(
            reference=self._target.label,
            kind=self._target.kind,
            base=old,
            head=new,
            pairs=tuple(self.measurement.pairs(figure)),
            within_pair_drift=verdict.drift,
            settles=self._open is not None,
            left_open=_left_open(self._open),
            turns=self.sides.turns is not None,
            processes=self.measurement.processes,
            between_processes=self.measurement.between_processes(figure, noise),
            notes=tuple(filter(None, (self._target.note, *self.measurement.notes(self.shown)))),
        )
        before, after = self._circumstances(run)
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        record = replace(
            self.base,
            outcome=verdict.outcome,
            reason=verdict.reason,
            value=verdict.value,
            baseline=verdict.baseline,
            change=verdict.change,
            interval=verdict.interval,
            trace=verdict.trace,
            comparison=comparison,
            changed_environment={name: (before.get(name), after.get(name)) for name in changed},
            **known,
        )
        record = policy.acknowledged(record, self._own_levels, self._reference, verdict.facts)
        if self._open is None:
            return replace(record, reason=f"{record.reason} The base is `{comparison.reference}`.")
        reason = f"{record.reason} {_settled(comparison)}"
        if record.outcome == "improvement":
            reason += f" To guard it, {LOCK_IN}."
        return replace(record, reason=reason)

    def shown(self, verdict: Verdict) -> Verdict:
        """A gate's verdict in the figure's own unit."""
        return verdict

    def explained(self, run: int, *, verdict: Verdict | None = None, padding: bool = False) -> str:
        """Why one run's J/token differs: power, throughput, the work and the environment.

        By as much as a verdict says, if there is one on that run.
        """
        sides = [self._side(which, run, verdict) for which in (BASE, HEAD)]
        old, new = (
            Operating.at(
                side.joules_per_token,
                side.tokens_per_second,
                side.padding_overhead if padding else None,
            )
            for side in sides
        )
        before, after = self._circumstances(run)
        return explain(old, new, before, after).sentence

    def _circumstances(self, run: int) -> list[dict[str, str]]:
        """Each side's environment and what a change has changed of the work, by name."""
        changed = changed_settings(*(ready.runs[run] for ready in self.ready))
        return [
            {**ready.environment, **own} for ready, own in zip(self.ready, changed, strict=True)
        ]

    def _side(self, which: int, run: int, verdict: Verdict | None) -> Side:
        place, ready = self.sides.places[which], self.ready[which]
        windows = self.measurement.windows(which, run)
        overhead = ready.runs[run].padding_overhead
        speed = summarise(windows).tokens_per_second or 0.0
        joules = math.exp(fmean(math.log(window.joules_per_token) for window in windows))
        judged = verdict and (verdict.baseline if which == BASE else verdict.value)
        if verdict and judged and verdict.unit != FRACTION:
            joules = judged / ((overhead or 1.0) if verdict.unit == "J/real token" else 1.0)
        return Side(
            name=place.name,
            reference=place.reference,
            joules_per_token=joules,
            mean_watts=joules * speed,
            tokens_per_second=speed,
            padding_overhead=overhead,
            environment=dict(ready.environment),
        )


def _left_open(record: VerdictRecord | None) -> LeftOpen | None:
    if record is None or None in (record.value, record.baseline, record.change):
        return None
    return LeftOpen(
        record.unit,
        record.value or 0.0,
        record.baseline or 0.0,
        record.change or 0.0,
        record.interval,
    )


def _settled(comparison: ComparisonRecord) -> str:
    """What else to know where pairs have settled what a baseline left open: what that had found."""
    found = comparison.left_open
    text = "It was open against the baseline"
    if found is not None:
        figures = compared(found.value, found.baseline, found.change, found.interval, found.unit)
        text += f": {figures}"
    return f"{text}; pairs say nothing of what changed before `{comparison.reference}`."


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
