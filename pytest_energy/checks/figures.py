"""The figures that are gated, J/token and savings, and who turns them into verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from pytest_energy.baselines import (
    Entry,
    Reference,
    StoredSession,
    pair_stats,
    pooled_of,
    session_stats,
)
from pytest_energy.checks import comparability, policy
from pytest_energy.checks.check import Check
from pytest_energy.checks.measuring import (
    Earlier,
    Run,
    Summary,
    offer_windows,
    require_run,
    summarise_pairs,
    take_windows,
    without_outliers,
)
from pytest_energy.checks.policy import CheckContext
from pytest_energy.checks.recording import extend_local, windows_to_record
from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import SavingsGate, SequentialGate, worst
from pytest_energy.metering import Window
from pytest_energy.outcomes import MOVED
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.steadiness import warm_up_length
from pytest_energy.text import encodable
from pytest_energy.units import FRACTION

__tracebackhide__ = raised_elsewhere

PADDING_DIFFERS = 1e-3
"""Relative difference of padding overheads, which are exact, beyond rounding in the file."""

_RUNS = {"joules_per_token": 1, "savings": 2}


class GateRunner(Protocol):
    """Turns a metric of one run, or of two, into the record of a verdict; one for each session."""

    def check(
        self, context: CheckContext, metric: str, runs: Sequence[Run], name: str | None
    ) -> VerdictRecord:
        """The record of one check of a test; `name` is the figure's, None: that of its runs."""


class BaselineRunner:
    """Gates figures against the baselines that are stored for the hardware."""

    def check(
        self, context: CheckContext, metric: str, runs: Sequence[Run], name: str | None
    ) -> VerdictRecord:
        """The record of one check; recorded if there is no baseline to check against."""
        for run in runs:
            require_run(run)
        if metric == "savings":
            return Savings(context, runs[0], runs[1], name).verdict()
        return JoulesPerToken(context, runs[0], name).verdict()


def require_metric(metric: str, runs: Sequence[Run]) -> None:
    """Raise `EnergyError` if a metric is not known, or is not one of so many runs."""
    if _RUNS.get(metric) != len(runs):
        raise EnergyError(
            f"`{metric}` with {'one run' if len(runs) == 1 else 'two runs'} is no check; "
            f"give `joules_per_token` one run, or `savings` the larger and the smaller"
        )


class JoulesPerToken(Check):
    """The check of a run's J/token; `name` stands for the run's id."""

    def __init__(self, context: CheckContext, run: Run, name: str | None) -> None:
        parameters = getattr(run, "parameters", None)
        base = VerdictRecord(
            id=encodable(name or run.id),
            metric="joules_per_token",
            workload=run.digest,
            tokens=getattr(run, "tokens", None),
            # On a module of torch it is a method.
            parameters=parameters if isinstance(parameters, tuple) else None,
        )
        super().__init__(context, base, run)
        (self._sampler,) = self.samplers
        self._overhead = run.padding_overhead
        self._pairs, self._taken = Earlier(), 0

    def verdict(self) -> VerdictRecord:
        """The record of the check, which says how many of its windows were measured in pairs."""
        record = super().verdict()
        if not self._taken:
            return record
        reason = record.reason if record.reason.endswith(".") else f"{record.reason}."
        return replace(
            record,
            reason=f"{reason} {self._taken} of its windows were measured for the savings of "
            f"`{self._pairs.figure}`.",
        )

    def _begin(self, *, recorded: bool) -> None:
        """Take the windows of pairs of the same run, if a verdict informs only; else warm up."""
        if policy.is_advisory(self.base) and not self.context.settings.strict:
            least = comparability.least_load_seconds(
                self.reference, self.context, recorded=recorded
            )
            self._pairs = take_windows(self._sampler.run, least)
        if self._pairs.windows:
            self._load_seconds = self._pairs.load_seconds
        else:
            super()._begin(recorded=recorded)

    def _measure(self) -> Window:
        """The next window of evidence."""
        pairs = self._pairs.windows
        if self._taken < len(pairs):
            self._taken += 1
            self._sampler.windows.append(pairs[self._taken - 1])
            return self._sampler.windows[-1]
        if pairs and len(self._sampler.windows) == len(pairs):  # other work may have run since
            super()._begin(recorded=self.reference is None)
            self._load_seconds = self._pairs.load_seconds
        return self._sampler.measure()

    def _unusable(self) -> Sequence[Window]:
        return self._sampler.windows + self._sampler.rejected

    def _recorded(self) -> VerdictRecord:
        for _ in range(windows_to_record(self.context.settings)):
            self._measure()
        windows = self._sampler.windows
        values = [window.joules_per_token for window in windows]
        record = self._kept(self._summarised(windows), windows, values, self._overhead)
        comparability.keep_profile(self.context, self._sampler.run, record)
        return record

    def _gated(self, reference: Reference) -> VerdictRecord:
        gates = self._gates(reference)
        while any(gate.verdict is None for _, gate in gates):
            value = self._measure().joules_per_token
            for factor, gate in gates:
                if gate.verdict is None:
                    gate.add(value * factor)
        verdicts = [gate.verdict for _, gate in gates if gate.verdict is not None]
        verdict = worst(verdicts)
        summary = self._summarised(self._sampler.windows)
        overhead = None if verdict is verdicts[0] else self._overhead
        known: dict[str, Any] = {}
        if overhead:
            known = {
                "metric": "joules_per_real_token",
                "unit": "J/real token",
                "uncertainty": summary.uncertainty * overhead,
            }
        if verdict.outcome in MOVED or abs(verdict.change or 0.0) > self._own_levels.tolerance:
            known["explanation"] = self._explanation(verdict, summary, reference, overhead)
        record = self._decided(verdict, summary, self._sampler.windows, **known)
        # What is stored is J/token, whichever of the two was judged.
        stored = replace(record, metric=self.base.metric, unit=self.base.unit)
        values = [window.joules_per_token for window in self._sampler.windows]
        kept = without_outliers(summary, values)
        learnt = extend_local(self.context, stored, kept, reference, self._overhead)
        record = replace(record, reason=record.reason + learnt)
        return comparability.with_carrier(self.context, self._sampler.run, record)

    def _explanation(
        self, verdict: Verdict, summary: Summary, reference: Reference, overhead: float | None
    ) -> str | None:
        """Why it moved; where it surely did, whether the device or the code."""
        context = self.context
        why = comparability.explanation(verdict, summary, reference, context.hardware, overhead)
        load = None
        if verdict.outcome in MOVED and verdict.change:
            load = comparability.said_by_load(verdict.change, reference, context)
        return " ".join(filter(None, (why, load))) or None

    def _gates(self, reference: Reference) -> list[tuple[float, SequentialGate]]:
        """The gate of J/token, and that of J/real token if padding differs, with its factor."""
        rows, overhead = reference.entry.sessions, self._overhead
        stored = rows[-1].padding_overhead or overhead
        if not stored or not overhead or not any(_pads_otherwise(row, overhead) for row in rows):
            return [(1.0, self._gate(reference, reference.entry, share=1))]
        # J/token does not see a worse padding policy; J/real token does.
        real = tuple(replace(row, mean=row.mean * (row.padding_overhead or stored)) for row in rows)
        entry = replace(reference.entry, sessions=real)
        return [
            (1.0, self._gate(reference, reference.entry, share=2)),
            (overhead, self._gate(reference, entry, share=2, unit="J/real token")),
        ]

    def _gate(
        self, reference: Reference, entry: Entry, share: int, unit: str = "J/token"
    ) -> SequentialGate:
        now = real_time.utc()
        return SequentialGate(
            session_stats(entry, now),
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            alpha=self.alpha / share,
            beta=self.beta,
            max_windows=self.most_windows,
            device=comparability.place(reference, self.context.hardware),
            pooled=pooled_of(reference.baseline, entry, now),
            local=reference.local,
            settled=bool(self.context.settings.settle),
            unit=unit,
        )


class Savings(Check):
    """The check of what `candidate` saves of `baseline`'s J/token; `name` stands for both ids."""

    def __init__(
        self, context: CheckContext, baseline: Run, candidate: Run, name: str | None
    ) -> None:
        base = VerdictRecord(
            id=encodable(name or pair_id(baseline.id, candidate.id)),
            metric="savings",
            unit=FRACTION,
            workload=joined_digest([baseline.digest, candidate.digest]),
            tokens=getattr(baseline, "tokens", None),
        )
        super().__init__(context, base, baseline, candidate)
        self._pairs: list[tuple[Window, Window]] = []

    def verdict(self) -> VerdictRecord:
        """The record of the check, whose windows are offered to the J/token of its runs."""
        record = super().verdict()
        if record.outcome != "invalid":
            for sampler in self.samplers:
                windows = self._steady(sampler.windows)
                offer_windows(sampler.run, windows, record.id, self._load_seconds)
        return record

    def _steady(self, windows: Sequence[Window]) -> Sequence[Window]:
        """The windows of a run since its J/token was steady."""
        within = policy.steady_within(self.base, self.context.settings)
        values = [window.joules_per_token for window in windows]
        return windows[warm_up_length(values, within) :] if self._unsteady else windows

    def _unusable(self) -> Sequence[Window]:
        return [window for sampler in self.samplers for window in sampler.rejected]

    def _recorded(self) -> VerdictRecord:
        for _ in range(windows_to_record(self.context.settings)):
            self._measure_pair()
        values = [other.joules_per_token / base.joules_per_token for base, other in self._pairs]
        return self._kept(summarise_pairs(self._pairs), self._windows(), values)

    def _gated(self, reference: Reference) -> VerdictRecord:
        now = real_time.utc()
        gate = SavingsGate(
            pair_stats(reference.entry, now),
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            alpha=self.alpha,
            beta=self.beta,
            max_pairs=self.most_windows,
            device=comparability.place(reference, self.context.hardware),
            pooled=pooled_of(reference.baseline, reference.entry, now),
            local=reference.local,
            settled=bool(self.context.settings.settle),
        )
        while gate.verdict is None:
            base, other = self._measure_pair()
            gate.add(base.joules_per_token, other.joules_per_token)
        summary = summarise_pairs(self._pairs)
        record = self._decided(gate.verdict, summary, self._windows())
        learnt = extend_local(self.context, record, summary, reference)
        return replace(record, reason=record.reason + learnt)

    def _measure_pair(self) -> tuple[Window, Window]:
        # ABBA: what drifts with time weighs on both sides alike.
        base, other = self.samplers
        for sampler in (base, other) if len(self._pairs) % 2 == 0 else (other, base):
            sampler.measure()
        self._pairs.append((base.windows[-1], other.windows[-1]))
        return self._pairs[-1]

    def _windows(self) -> tuple[Window, ...]:
        return tuple(window for both in self._pairs for window in both)


def pair_id(baseline: str, candidate: str) -> str:
    """The name of a pair of runs: `sst2/large-small` of `sst2/large` and `sst2/small`."""
    return f"{baseline}-{candidate.partition('/')[2] or candidate}"


def joined_digest(digests: Sequence[str | None]) -> str | None:
    """What names the work of some runs together; None if one of them names none."""
    return None if None in digests else "-".join(str(digest) for digest in digests)


def _pads_otherwise(row: StoredSession, overhead: float) -> bool:
    return abs(overhead / (row.padding_overhead or overhead) - 1) > PADDING_DIFFERS
