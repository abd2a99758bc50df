"""Checks by interleaved pairs: instead of a baseline, or of what a baseline left open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from pytest_energy.ab import Comparison
from pytest_energy.ab.messages import SideFaultError
from pytest_energy.ab.paired_check import PairedCheck
from pytest_energy.ab.paired_figures import PairedJoulesPerToken, PairedSavings
from pytest_energy.ab.rounds import BASE, HEAD, SidePair
from pytest_energy.checks.measuring import Run
from pytest_energy.checks.policy import CheckContext
from pytest_energy.checks.runner import BaselineRunner
from pytest_energy.errors import EnergyError, raised_elsewhere
from pytest_energy.meters import Meter
from pytest_energy.results import VerdictRecord

__tracebackhide__ = raised_elsewhere

_CHECKS: dict[str, type[PairedCheck]] = {
    "joules_per_token": PairedJoulesPerToken,
    "savings": PairedSavings,
}
_NOTHING_TO_COMPARE = ("absent", "skipped")


class SkippedInHeadError(EnergyError):
    """The head skips the test, as a run without a comparison would; says why."""


class PairedRunner:
    """Compares the checks of a test in both sides' processes.

    `earlier` gives the verdicts on a test's checks so far, `note` tells a person something now.
    """

    def __init__(
        self,
        comparison: Comparison,
        meter: Callable[[], Meter],
        earlier: Callable[[str], Sequence[VerdictRecord]],
        note: Callable[[str], None],
    ) -> None:
        self._comparison, self._meter = comparison, meter
        self._earlier, self._note = earlier, note

    def check(
        self, context: CheckContext, metric: str, runs: Sequence[Run], name: str | None
    ) -> VerdictRecord:
        """The record of one check of a test that runs here, too."""
        del metric, runs, name  # the sides have their own
        return self.settled(context, None)

    def settled(self, context: CheckContext, open_record: VerdictRecord | None) -> VerdictRecord:
        """The record of the next check of a test; `open_record` is what a baseline left open."""
        gated = [v for v in self._earlier(context.test) if v.metric != "joules"]
        with closing(self._comparison.sides(context, self._meter(), gated)) as sides:
            record = self._next(context, sides, open_record)
        if record is None:
            raise EnergyError(
                f"`{context.test}` comes to fewer checks in a process of its own; let its checks "
                f"not depend on what ran before"
            )
        return record

    def compared(self, context: CheckContext) -> Iterator[VerdictRecord]:
        """The record of each check of a test that runs in its sides alone."""
        with closing(self._comparison.sides(context, self._meter())) as sides:
            while (record := self._next(context, sides, None)) is not None:
                yield record
                sides.answer(record)

    def _next(
        self, context: CheckContext, sides: SidePair, open_record: VerdictRecord | None
    ) -> VerdictRecord | None:
        """The record of the next check; None if the head's test has ended."""
        try:
            try:
                return self._attempt(context, sides, open_record)
            except SideFaultError as fault:
                if fault.kind != "memory" or sides.turns is not None:
                    raise
                self._note(sides.take_turns(fault))
                return self._attempt(context, sides, open_record)
        except SideFaultError as fault:
            return _faulted(fault, context, open_record)

    def _attempt(
        self, context: CheckContext, sides: SidePair, open_record: VerdictRecord | None
    ) -> VerdictRecord | None:
        sides.open()
        head = sides.come_to_check(HEAD)
        if head is None:
            return None
        base = sides.come_to_check(BASE)
        if base is None or base.metric != head.metric:
            place = sides.places[BASE]
            text = "it comes to no such check"
            raise SideFaultError(place.name, place.reference, "absent", text)
        check = _CHECKS[head.metric]
        return check(context, self._comparison.target, sides, (base, head), open_record).verdict()


class SettlingRunner:
    """Gates figures against baselines, and settles by pairs what those leave open."""

    def __init__(self, paired: PairedRunner) -> None:
        self._baseline, self._paired = BaselineRunner(), paired

    def check(
        self, context: CheckContext, metric: str, runs: Sequence[Run], name: str | None
    ) -> VerdictRecord:
        """The baseline's record, or that of the pairs."""
        record = self._baseline.check(context, metric, runs, name)
        if record.outcome != "inconclusive":
            return record
        return self._paired.settled(context, record)


def _faulted(
    fault: SideFaultError, context: CheckContext, open_record: VerdictRecord | None
) -> VerdictRecord:
    """The record of what could not be compared: an error, unless the base lacks the test."""
    if fault.side == "head" and fault.kind == "skipped" and open_record is None:
        raise SkippedInHeadError(fault.text)
    if fault.tail:
        context.on_output(f"energy, the end of what the {fault.side} printed", fault.tail)
    if open_record is not None:
        reason = f"{open_record.reason} It could not be settled: {fault}."
        return replace(open_record, reason=reason)
    record = VerdictRecord(
        id=context.test.rpartition("::")[2],
        metric="joules_per_token",
        nodeid=context.test,
        method=context.method,
    )
    if fault.side == "base" and fault.kind in _NOTHING_TO_COMPARE:
        return replace(
            record,
            outcome="missing",
            reason=f"nothing to compare with: {fault}; a revision that has it, or a baseline, "
            f"would do",
            fails=context.settings.strict,
        )
    return replace(record, outcome="invalid", reason=f"not compared: {fault}", fails=True)
