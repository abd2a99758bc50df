"""One check of a test on both sides, from the windows to the record of its verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from pytest_energy import policy
from pytest_energy.compare import savings, tokens
from pytest_energy.compare.bench import BASE, HEAD, Bench
from pytest_energy.compare.faults import SideFaultError
from pytest_energy.compare.pairs import Rounds, SideRun
from pytest_energy.compare.question import Question
from pytest_energy.compare.sameness import OtherWorkError, require_same_work
from pytest_energy.compare.sides import Ready
from pytest_energy.evidence import InvalidEvidenceError, Purchases
from pytest_energy.marker import EnergyMarker
from pytest_energy.metering import Window
from pytest_energy.records import VerdictRecord
from pytest_energy.savings_check import is_of_the_paper
from pytest_energy.session import EnergySession
from pytest_energy.units import quantity

if TYPE_CHECKING:
    from pytest_energy.compare.arena import Arena

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
            answered = savings.answer if head.metric == "savings" else tokens.answer
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
