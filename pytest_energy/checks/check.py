"""What every check of a figure shares: its reference, levels and outcomes, and how it ends."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_energy.baselines import Reference, far_off_in_words, pooled_of, sessions_of
from pytest_energy.checks import comparability, policy
from pytest_energy.checks.measuring import (
    InvalidEvidenceError,
    Run,
    Sampler,
    Summary,
    latest_windows,
    summarise,
)
from pytest_energy.checks.policy import CheckContext
from pytest_energy.checks.recording import is_to_record, keep_session, windows_to_record
from pytest_energy.clocks import real_time
from pytest_energy.errors import BaselineError, raised_elsewhere
from pytest_energy.gate import Verdict
from pytest_energy.gate.sentences import LOAD_IT, RECORD_AGAIN, RECORD_ANEW, gap_warning
from pytest_energy.metering import Window
from pytest_energy.meters.protocol import FOREIGN
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.steadiness import LEAST_ALIKE, LEAST_ALIKE_RECORDED

__tracebackhide__ = raised_elsewhere


class Check(ABC):
    """One figure of one test, from its run's windows to the record of its verdict.

    `base` has what identifies the figure; `alpha` and `beta` are the rates at which its gate may
    fail what has not changed, and pass what must be caught.
    """

    def __init__(self, context: CheckContext, base: VerdictRecord, *runs: Run) -> None:
        self.context = context
        self.reference: Reference | None = None
        self._refusal: BaselineError | None = None
        try:
            self.reference = comparability.reference(base, context)
        except BaselineError as error:
            self._refusal = error
        entry = self.reference.entry if self.reference else None
        self._own_levels = policy.levels(base.metric, context.asked, context.settings, entry)
        stated = policy.acknowledgement(self.reference)
        self.levels = policy.widened(self._own_levels, stated)
        self.base = replace(
            base,
            acknowledged=stated,
            nodeid=context.test,
            method=context.method,
            tolerance=self.levels.tolerance,
            detect=self.levels.detect,
            local=self.reference is not None and self.reference.local,
            sessions=len(entry.sessions) if entry is not None else None,
            changed_environment=comparability.changed_environment(self.reference, context.hardware),
        )
        self.samplers = tuple(Sampler(run, self._seen) for run in runs)
        self.alpha, self.beta = context.alpha(), context.beta
        self.most_windows = policy.most_windows(self.base, context)
        self._unsteady = False
        self._colder = 0.0
        self._unloaded = False
        self._load_seconds = 0.0

    def verdict(self) -> VerdictRecord:
        """The record of the check; measures until it is sure, or records what has no baseline."""
        if self._refusal is not None:
            # Other work than the baseline's is an error, wherever the test runs.
            return replace(self._ended("invalid", str(self._refusal)), fails=True)
        context = self.context
        recorded = is_to_record(context.settings, self.reference)
        if not recorded and self.reference is None:
            return self._missing()
        try:
            if self.reference is not None and context.settings.update != "replace":
                comparability.require_same_conditions(self.reference, context.hardware)
            comparability.require_undisturbed(context.settings, context.hardware)
            self._begin(recorded=recorded or self.reference is None)
            if recorded or self.reference is None:
                return self._recorded()
            return self._gated(self.reference)
        except InvalidEvidenceError as error:
            reason = str(error)
            if context.settings.parallel and FOREIGN in reason:
                reason += (
                    "; pytest-xdist's other workers keep the GPU that they have used: run what is "
                    "metered with `-n 0`"
                )
            return self._ended("invalid", reason, self._unusable())

    def _begin(self, *, recorded: bool) -> None:
        """Warm the runs up, so that the windows that follow are evidence."""
        entry = self.reference.entry if self.reference else None
        seconds = policy.stored_seconds(entry, self.base.tokens)
        self.context.on_begin(self._most_in_all(recorded), self.base.id, seconds)
        for sampler in self.samplers:
            self._warm_up(sampler, recorded=recorded)
        self._load_seconds = self.context.store.device.load_seconds

    @abstractmethod
    def _recorded(self) -> VerdictRecord:
        """The record of a figure that is measured and kept as a baseline."""

    @abstractmethod
    def _gated(self, reference: Reference) -> VerdictRecord:
        """The record of a figure that is measured until its gate is sure."""

    @abstractmethod
    def _unusable(self) -> Sequence[Window]:
        """The windows to be shown with a figure that cannot be believed."""

    def _decided(
        self, verdict: Verdict, summary: Summary, windows: Sequence[Window], **known: Any
    ) -> VerdictRecord:
        """The record of a gate's verdict; `known` is what is special to the metric."""
        late = " J/token had not become steady when measuring began." if self._unsteady else ""
        if self._colder:
            late += f" The device was {self._colder:.0f} °C colder than its baseline."
        if self._unloaded:
            late += (
                " The device had worked for less than half as long as in its baseline, and tells "
                "no temperature."
            )
        record = replace(
            self.base,
            outcome=verdict.outcome,
            reason=verdict.reason + late,
            value=verdict.value,
            uncertainty=summary.uncertainty,
            baseline=verdict.baseline,
            change=verdict.change,
            interval=verdict.interval,
            trace=verdict.trace,
            windows=tuple(windows),
            warning="; ".join(filter(None, (self._warning(), self._far_off()))) or None,
        )
        record = replace(record, **known)
        record = policy.acknowledged(record, self._own_levels, self.reference, verdict.facts)
        return policy.judged(record, self.context.settings, self.context.store.baseline)

    def _kept(
        self,
        summary: Summary,
        windows: Sequence[Window],
        values: Sequence[float],
        padding_overhead: float | None = None,
    ) -> VerdictRecord:
        """The record of a session that is kept, unless it lies outside what is stated for it."""
        mean, half = summary.mean, summary.uncertainty
        record = replace(self.base, value=mean, uncertainty=half, windows=tuple(windows))
        outside = policy.outside_band(record, self.context.store.baseline)
        return outside or keep_session(
            self.context, record, summary, values, self.reference, padding_overhead
        )

    def _most_in_all(self, recorded: bool) -> int:
        """The most windows of this figure: to warm up, and to be recorded or judged by."""
        settings = self.context.settings
        evidence = windows_to_record(settings) if recorded else self.most_windows
        return len(self.samplers) * (policy.warm_up_limit(self.base, settings) + evidence)

    def _seen(self, name: str, number: int, window: Window) -> None:
        self.context.store.device.load_seconds += window.seconds
        self.context.on_window(name, number, window)

    def _summarised(self, windows: Sequence[Window]) -> Summary:
        return replace(summarise(windows), load_seconds=self._load_seconds)

    def _warm_up(self, sampler: Sampler, *, recorded: bool) -> None:
        """Warm a run up; one that does not become steady is never recorded.

        Nor is one measured that is not as warm as its baseline, if its verdict could fail.
        """
        limit = policy.warm_up_limit(self.base, self.context.settings)
        context = self.context
        warmth = comparability.warmth(self.reference, context, limit, recorded=recorded)
        within = policy.steady_within(self.base, self.context.settings)
        least = LEAST_ALIKE_RECORDED if warmth.recorded else LEAST_ALIKE
        steady = sampler.warm_up(limit, warmth, latest_windows(sampler.run), within, least)
        if not warmth.is_reached and warmth.celsius:
            windows = f"{len(warmth.celsius)} warm-up windows"
            if recorded and context.settings.update:
                raise InvalidEvidenceError(
                    f"not recorded: the device was still becoming warmer after {windows}, at "
                    f"{warmth.celsius[-1]:.0f} °C; {LOAD_IT} {RECORD_AGAIN}"
                )
            self._colder = warmth.missing_celsius or 0.0
            if self._colder and warmth.limit > limit:
                raise InvalidEvidenceError(
                    f"not as warm as its baseline: {warmth.celsius[-1]:.0f} °C after {windows}, "
                    f"and that began at {warmth.wanted:.0f} °C; {LOAD_IT} before, or {RECORD_ANEW}"
                )
        self._unloaded |= warmth.limit > limit and not (warmth.is_reached or warmth.celsius)
        if steady:
            return
        if context.settings.update:
            raise InvalidEvidenceError(
                f"not recorded: J/token had not become steady after {limit} warm-up windows; let "
                f"the device warm up, stop other work on it, {RECORD_AGAIN}"
            )
        self._unsteady = True

    def _missing(self) -> VerdictRecord:
        store, key = self.context.store, self.context.hardware.key
        file = self.context.settings.typed(self.context.test.partition("::")[0])
        command = ["pytest", file, f"--energy-hw={key}"]
        above = store.above()
        instead = f"use `{above}` with `--energy-baselines`, or " if above else ""
        return self._ended(
            "missing",
            f"`{self.base.id}` has no {self.base.metric} baseline for `{key}` in `{store.path}`; "
            f"{instead}record one on an idle machine with `{shlex.join(command)} "
            f"--energy-update=new`{self._orphan()}",
        )

    def _orphan(self) -> str:
        """A stored figure of the same work, which may be this one under the name it had."""
        stored, work = self.context.store.baseline, self.base.workload
        for (metric, identifier), entry in (stored.entries if stored else {}).items():
            if metric == self.base.metric and work is not None and entry.workload == work:
                return f"; `{identifier}` is stored of the same work: if it was renamed, rename it"
        return ""

    def _ended(self, outcome: str, reason: str, windows: Sequence[Window] = ()) -> VerdictRecord:
        record = replace(self.base, outcome=outcome, reason=reason, windows=tuple(windows))
        return policy.judged(record, self.context.settings)

    def _far_off(self) -> str | None:
        found = self.reference
        return far_off_in_words(found.baseline, found.entry) if found and not found.local else None

    def _warning(self) -> str | None:
        found = self.reference
        if found is None or policy.is_advisory(self.base):
            return None
        now = real_time.utc()
        return gap_warning(
            sessions_of(found.entry, now),
            self.levels.tolerance,
            self.levels.detect,
            pooled=pooled_of(found.baseline, found.entry, now),
            device=comparability.place(found, self.context.hardware),
        )
