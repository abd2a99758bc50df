"""What every check of a figure shares: its reference, its levels, its outcomes, its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_energy.baselines import Reference, pooled_of, sessions_of
from pytest_energy.checks import comparability as comparable
from pytest_energy.checks import policy
from pytest_energy.checks.measuring import InvalidEvidenceError, Purchases, Summary
from pytest_energy.checks.recording import Keeper
from pytest_energy.errors import BaselineError, EnergyError, raised_elsewhere
from pytest_energy.gate import Verdict
from pytest_energy.gate.resolution import gap_warning
from pytest_energy.metering import Window
from pytest_energy.meters.protocol import FOREIGN
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import VerdictRecord
from pytest_energy.units import quantity

__tracebackhide__ = raised_elsewhere


class Check:
    """One figure of one test, on its way from a run to the record of its verdict."""

    def __init__(
        self, session: EnergySession, nodeid: str, marker: EnergyMarker, base: VerdictRecord
    ) -> None:
        self.session = session
        self.keeper = Keeper(session, marker)
        self._marker = marker
        self.refusal: BaselineError | None = None
        self.reference: Reference | None = None
        try:
            self.reference = comparable.reference(base, session)
        except BaselineError as error:
            self.refusal = error
        entry = self.reference.entry if self.reference else None
        levels = policy.levels(base.metric, marker, session.config, entry)
        self.base = replace(
            base,
            nodeid=nodeid,
            method=session.meter.method,
            tolerance=levels.tolerance,
            detect=levels.detect,
            local=self.reference is not None and self.reference.local,
            changed_environment=self._changed_environment(),
        )
        self.levels = levels
        self.unsteady = False
        self.alpha = session.error_budget.take(nodeid) / self._stages
        """This figure's share of the false failures that one run allows itself."""

    @property
    def beta(self) -> float:
        """The share of changes to be caught that this figure's gate may miss."""
        return policy.MISSED / self._stages

    @property
    def _stages(self) -> int:
        """Where pairs can settle what stays open, either stage has half of what may go wrong."""
        return 2 if self.session.config.settle else 1

    @property
    def most_windows(self) -> int:
        """The most windows, or pairs, that the verdict may cost."""
        asked = self._marker.max_windows or self.session.config.max_windows
        advisory = policy.is_advisory(self.base) and not self.session.config.strict
        return asked or (policy.MOST_ADVISORY_WINDOWS if advisory else policy.MOST_WINDOWS)

    def require_comparable(self) -> None:
        """Raise `InvalidEvidenceError` where conditions differ from the baseline's, or disturb."""
        if self.reference is not None and self.session.config.update != "replace":
            comparable.require_same_conditions(self.reference, self.session.hardware)
        comparable.require_undisturbed(self.session.config, self.session.hardware)

    def warm_up(self, purchases: Purchases) -> None:
        """Warm a run up; one that does not become steady is never recorded."""
        limit = policy.warm_up_limit(self.base, self.session.config)
        if purchases.warm_up(limit):
            return
        if self.session.config.update:
            raise InvalidEvidenceError(
                f"not recorded: J/token had not become steady after {limit} warm-up windows; let "
                f"the device warm up, stop other work on it, and record again"
            )
        self.unsteady = True

    def judged(
        self, verdict: Verdict, summary: Summary, windows: Sequence[Window]
    ) -> VerdictRecord:
        """The record of a gate's verdict, with whether its test fails."""
        late = " J/token had not become steady when measuring began." if self.unsteady else ""
        record = replace(
            self.base,
            outcome=verdict.outcome,
            reason=verdict.reason + late,
            value=summary.mean,
            uncertainty=summary.uncertainty,
            baseline=verdict.baseline,
            change=verdict.change,
            trace=verdict.trace,
            windows=tuple(windows),
            warning=self._warning(),
        )
        return policy.judged(record, self.session.config)

    def missing(self) -> VerdictRecord:
        """The record of a figure whose baseline is demanded and absent."""
        key, test = self.session.hardware.key, self.base.nodeid.partition("::")[0]
        record = replace(
            self.base,
            outcome="missing",
            reason=f"`{self.base.id}` has no {self.base.metric} baseline for `{key}`; record one "
            f"on an idle machine with `pytest {test} --energy-hw={key} --energy-update=new`",
        )
        return policy.judged(record, self.session.config)

    def refused(self, error: BaselineError) -> VerdictRecord:
        """The record of a figure whose baseline is of other work: an error, wherever it runs."""
        return replace(self.invalid(error, ()), fails=True)

    def invalid(self, error: EnergyError, windows: Sequence[Window]) -> VerdictRecord:
        """The record of a figure whose windows cannot be believed or compared."""
        reason = str(error)
        if self.session.config.parallel and FOREIGN in reason:
            reason += (
                "; pytest-xdist's other workers keep the GPU that they have used: run what is "
                "metered with `-n 0`"
            )
        record = replace(self.base, outcome="invalid", reason=reason, windows=tuple(windows))
        return policy.judged(record, self.session.config)

    def show(self, identifier: str, number: int, window: Window) -> None:
        """Tell the person of one more window."""
        figure = quantity(window.joules_per_token, "J/token")
        text = f"{figure}  {window.tokens_per_second:,.0f} tokens/s"
        self.session.progress.window(identifier, number, text)

    def _changed_environment(self) -> dict[str, tuple[str | None, str | None]]:
        if self.reference is None:
            return {}
        return comparable.changed_environment(self.reference, self.session.hardware)

    def _warning(self) -> str | None:
        found = self.reference
        if found is None or policy.is_advisory(self.base):
            return None
        return gap_warning(
            sessions_of(found.entry),
            self.levels.tolerance,
            self.levels.detect,
            pooled=pooled_of(found.baseline, found.entry),
            device=self.session.hardware.device,
        )
