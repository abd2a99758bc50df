"""In-session A/B: base and head in a process each, metered in turn; docs/comparing.md says how."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_energy.ab.paired_figures import PairedJoulesPerToken, PairedSavings
from pytest_energy.ab.protocol import SideFaultError
from pytest_energy.ab.revisions import Revision, Worktree, find_revision
from pytest_energy.ab.side_place import (
    PREFIX,
    Interpreter,
    SidePlace,
    find_interpreter,
    import_path,
    lend_package,
    side_arguments,
)
from pytest_energy.ab.sides import BASE, HEAD, SidePair, SideProcess
from pytest_energy.checks import Settings
from pytest_energy.checks.figures import BaselineRunner
from pytest_energy.checks.measuring import Run
from pytest_energy.checks.policy import CheckContext
from pytest_energy.errors import EnergyError, SkippedInHeadError, raised_elsewhere
from pytest_energy.meters import Meter
from pytest_energy.processes import PrivateFolder
from pytest_energy.results import NOT_COMPARED, VerdictRecord

__tracebackhide__ = raised_elsewhere


@dataclass(frozen=True)
class Invocation:
    """What of the run's own command line its sides need as well.

    `configuration` is the ini file in use, `passed` arguments that decide how tests run. `reset`
    are those that give a side the defaults of what it must not have from an ini file.
    """

    configuration: Path | None
    passed: tuple[str, ...]
    reset: tuple[str, ...]


class Comparison:
    """What a run compares with, `target`; its worktree lives from first use to `close`.

    Raises `EnergyError` if there is no such thing, before any energy is spent.
    """

    def __init__(self, settings: Settings, invocation: Invocation) -> None:
        asked = settings.compare or settings.settle or ""
        self._settings, self._invocation = settings, invocation
        self._root = settings.root.resolve()
        self._made = ExitStack()
        self._places: tuple[SidePlace, SidePlace] | None = None
        self.target: Revision | Interpreter
        if asked.startswith(PREFIX):
            self.target = find_interpreter(asked, self._root)
        else:
            option = "--energy-compare" if settings.compare else "--energy-settle"
            self.target = find_revision(asked, option, self._root)

    def sides(
        self, context: CheckContext, meter: Meter, earlier: Sequence[VerdictRecord] = ()
    ) -> SidePair:
        """Both sides of one test, `earlier` being the verdicts on its checks so far."""
        settings, invocation = self._settings, self._invocation
        ini = invocation.configuration
        budget, asked = context.store.budget, context.asked.tokens
        if asked:
            budget = replace(budget, tokens=asked, of_tasks={})

        def start(place: SidePlace) -> SideProcess:
            arguments = side_arguments(
                context.test,
                place.root,
                place.own(ini) if ini else None,
                invocation.passed,
                settings.data,
                settings.models,
                reset=invocation.reset,
            )
            return SideProcess(place, arguments, budget, settings.side_timeout_seconds, meter)

        if self._places is None:
            self._places = self._make_places(self.target)
        return SidePair(self._places, start, earlier)

    def close(self) -> None:
        """Remove what was made for the sides; a second call does nothing."""
        self._places = None
        self._made.close()

    def _make_places(self, target: Revision | Interpreter) -> tuple[SidePlace, SidePlace]:
        """Base and head."""
        root, own = self._root, sys.executable
        if isinstance(target, Interpreter):
            path = lent = import_path(root, root, root)
            if target.lends:
                folder = PrivateFolder("lent")
                self._made.callback(folder.remove)
                lent = (*path, lend_package(folder.path))
            base = SidePlace("base", target.label, target.python, root, root, lent)
            return base, SidePlace("head", f"{PREFIX}{own}", own, root, root, path)
        top = target.toplevel
        worktree = Worktree(top, target.commit)
        self._made.callback(worktree.remove)
        tree = worktree.path
        path, inside = import_path(root, top, tree), tree / target.inside
        base = SidePlace("base", target.label, own, tree, inside, path, ignored=top)
        path = import_path(root, top, top)
        return base, SidePlace("head", "working tree", own, top, root, path)


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
        with self._comparison.sides(context, self._meter(), gated) as sides:
            record = self._next(context, sides, open_record)
        if record is None:
            raise EnergyError(
                f"`{context.test}` comes to fewer checks in a process of its own; let its checks "
                f"not depend on what ran before"
            )
        return record

    def compared(self, context: CheckContext) -> Generator[VerdictRecord, None, None]:
        """The record of each check of a test that runs in its sides alone."""
        with self._comparison.sides(context, self._meter()) as sides:
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
            raise SideFaultError(sides.places[BASE], "absent", "it comes to no such check")
        check = PairedSavings if head.metric == "savings" else PairedJoulesPerToken
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
    missing = fault.side == "base" and fault.kind in ("absent", "skipped")
    reason = f"{NOT_COMPARED}{fault}"
    if missing:
        reason = (
            f"nothing to compare with: {fault}; a revision that has it, or a baseline, would do"
        )
    function, bracket, parameters = context.test.partition("[")
    return VerdictRecord(
        id=function.rpartition("::")[2] + bracket + parameters,
        metric="joules_per_token",
        outcome="missing" if missing else "invalid",
        reason=reason,
        nodeid=context.test,
        method=context.method,
        fails=context.settings.strict or not missing,
    )
