"""J/token of a run against its baseline, and J/real token beside it if padding has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_energy.baselines import Entry, Reference, StoredSession, pooled_of, session_stats
from pytest_energy.checks import comparability
from pytest_energy.checks.check import Check
from pytest_energy.checks.measuring import Run, summarise
from pytest_energy.checks.policy import CheckContext
from pytest_energy.checks.recording import extend_local, windows_to_record
from pytest_energy.errors import raised_elsewhere
from pytest_energy.gate.gates import SequentialGate, worst
from pytest_energy.metering import Window
from pytest_energy.outcomes import MOVED
from pytest_energy.results import VerdictRecord

__tracebackhide__ = raised_elsewhere

PADDING_DIFFERS = 1e-3
"""Relative difference of padding overheads, which are exact, beyond rounding in the file."""


class JoulesPerToken(Check):
    """The check of a run's J/token; `name` stands for the run's id."""

    def __init__(self, context: CheckContext, run: Run, name: str | None) -> None:
        parameters = getattr(run, "parameters", None)
        base = VerdictRecord(
            id=name or run.id,
            metric="joules_per_token",
            workload=run.digest,
            tokens=getattr(run, "tokens", None),
            # On a module of torch it is a method.
            parameters=parameters if isinstance(parameters, tuple) else None,
        )
        super().__init__(context, base, run)
        (self._sampler,) = self.samplers
        self._overhead = run.padding_overhead

    def _unusable(self) -> Sequence[Window]:
        return self._sampler.windows + self._sampler.rejected

    def _recorded(self) -> VerdictRecord:
        for _ in range(windows_to_record(self.context.settings)):
            self._sampler.measure()
        windows = self._sampler.windows
        values = [window.joules_per_token for window in windows]
        return self._kept(summarise(windows), windows, values, self._overhead)

    def _gated(self, reference: Reference) -> VerdictRecord:
        gates = self._gates(reference)
        while any(gate.verdict is None for _, gate in gates):
            value = self._sampler.measure().joules_per_token
            for factor, gate in gates:
                if gate.verdict is None:
                    gate.add(value * factor)
        verdicts = [gate.verdict for _, gate in gates if gate.verdict is not None]
        verdict = worst(verdicts)
        summary = summarise(self._sampler.windows)
        overhead = None if verdict is verdicts[0] else self._overhead
        known: dict[str, Any] = {}
        if overhead:
            known = {
                "metric": "joules_per_real_token",
                "unit": "J/real token",
                "value": summary.mean * overhead,
                "uncertainty": summary.uncertainty * overhead,
            }
        if verdict.outcome in MOVED:
            known["explanation"] = comparability.explanation(
                summary, reference, self.context.hardware, overhead
            )
        record = self._decided(verdict, summary, self._sampler.windows, **known)
        # What is stored is J/token, whichever of the two was judged.
        stored = replace(record, metric=self.base.metric, unit=self.base.unit)
        extend_local(self.context, stored, summary, reference, self._overhead)
        return record

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
        return SequentialGate(
            session_stats(entry),
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            alpha=self.alpha / share,
            beta=self.beta,
            max_windows=self.most_windows,
            device=self.context.hardware.device,
            pooled=pooled_of(reference.baseline, entry),
            local=reference.local,
            unit=unit,
        )


def _pads_otherwise(row: StoredSession, overhead: float) -> bool:
    return abs(overhead / (row.padding_overhead or overhead) - 1) > PADDING_DIFFERS
