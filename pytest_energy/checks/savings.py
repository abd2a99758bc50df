"""What one run saves of another's J/token, from interleaved pairs of windows."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_energy.baselines import Reference, pair_stats, pooled_of
from pytest_energy.checks.check import Check
from pytest_energy.checks.measuring import Run, summarise_pairs
from pytest_energy.checks.policy import CheckContext
from pytest_energy.checks.recording import extend_local, windows_to_record
from pytest_energy.errors import raised_elsewhere
from pytest_energy.gate.gates import SavingsGate
from pytest_energy.metering import Window
from pytest_energy.results import VerdictRecord
from pytest_energy.units import FRACTION

__tracebackhide__ = raised_elsewhere


def pair_id(baseline: str, candidate: str) -> str:
    """The name of a pair of runs: `sst2/large-small` of `sst2/large` and `sst2/small`."""
    return f"{baseline}-{candidate.partition('/')[2] or candidate}"


def joined_digest(digests: Sequence[str | None]) -> str | None:
    """What names the work of some runs together; None if one of them names none."""
    return None if None in digests else "-".join(str(digest) for digest in digests)


class Savings(Check):
    """The check of what `candidate` saves of `baseline`'s J/token; `name` stands for both ids."""

    def __init__(
        self, context: CheckContext, baseline: Run, candidate: Run, name: str | None
    ) -> None:
        base = VerdictRecord(
            id=name or pair_id(baseline.id, candidate.id),
            metric="savings",
            unit=FRACTION,
            workload=joined_digest([baseline.digest, candidate.digest]),
            tokens=getattr(baseline, "tokens", None),
        )
        super().__init__(context, base, baseline, candidate)
        self._pairs: list[tuple[Window, Window]] = []

    def _unusable(self) -> Sequence[Window]:
        return [window for sampler in self.samplers for window in sampler.rejected]

    def _recorded(self) -> VerdictRecord:
        for _ in range(windows_to_record(self.context.settings)):
            self._measure_pair()
        values = [other.joules_per_token / base.joules_per_token for base, other in self._pairs]
        return self._kept(summarise_pairs(self._pairs), self._windows(), values)

    def _gated(self, reference: Reference) -> VerdictRecord:
        gate = SavingsGate(
            pair_stats(reference.entry),
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            alpha=self.alpha,
            beta=self.beta,
            max_pairs=self.most_windows,
            device=self.context.hardware.device,
            pooled=pooled_of(reference.baseline, reference.entry),
            local=reference.local,
        )
        while gate.verdict is None:
            base, other = self._measure_pair()
            gate.add(base.joules_per_token, other.joules_per_token)
        summary = summarise_pairs(self._pairs)
        record = self._decided(gate.verdict, summary, self._windows())
        extend_local(self.context, record, summary, reference)
        return record

    def _measure_pair(self) -> tuple[Window, Window]:
        # ABBA: what drifts with time weighs on both sides alike.
        base, other = self.samplers
        for sampler in (base, other) if len(self._pairs) % 2 == 0 else (other, base):
            sampler.measure()
        self._pairs.append((base.windows[-1], other.windows[-1]))
        return self._pairs[-1]

    def _windows(self) -> tuple[Window, ...]:
        return tuple(window for both in self._pairs for window in both)
