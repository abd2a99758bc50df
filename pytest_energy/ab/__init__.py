"""In-session A/B: base and head in a process each, metered in turn; docs/comparing.md says how."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.ab.paired_check import Target
from pytest_energy.ab.rounds import SidePair
from pytest_energy.ab.side_place import SidePlace, import_path, side_arguments
from pytest_energy.ab.side_process import SideProcess, SideSettings
from pytest_energy.ab.targets import (
    PREFIX,
    Interpreter,
    Revision,
    find_interpreter,
    find_revision,
    lend_package,
)
from pytest_energy.ab.worktree import Worktree
from pytest_energy.checks import Settings
from pytest_energy.checks.policy import CheckContext
from pytest_energy.meters import Meter
from pytest_energy.results import VerdictRecord

WORKING_TREE = "working tree"


@dataclass(frozen=True)
class Invocation:
    """What of the run's own command line its sides need as well.

    `configuration` is the ini file in use, `passed` arguments that decide how tests run, `emptied`
    are options that a side must not have from an ini file. `end` ends the run in order on a signal
    that would end it at once.
    """

    configuration: Path | None
    passed: tuple[str, ...]
    emptied: tuple[str, ...]
    end: Callable[[signal.Signals], None]


class Comparison:
    """What a run compares with; its worktree lives from first use to `close`.

    Raises `EnergyError` if there is no such thing, before any energy is spent.
    """

    def __init__(self, settings: Settings, invocation: Invocation) -> None:
        asked = settings.compare or settings.settle or ""
        self._settings, self._invocation = settings, invocation
        self._root = settings.root.resolve()
        self._worktree: Worktree | None = None
        self._lent: tempfile.TemporaryDirectory[str] | None = None
        self._with: Revision | Interpreter
        if asked.startswith(PREFIX):
            self._with = find_interpreter(asked, self._root)
        else:
            option = "--energy-compare" if settings.compare else "--energy-settle"
            self._with = find_revision(asked, option, self._root)

    @property
    def target(self) -> Target:
        """What the sides differ in, and the name of the base."""
        kind = isinstance(self._with, Revision)
        return Target(self._with.label, "revision" if kind else "interpreter")

    def sides(
        self, context: CheckContext, meter: Meter, earlier: Sequence[VerdictRecord] = ()
    ) -> SidePair:
        """Both sides of one test, `earlier` being the verdicts on its checks so far."""
        settings, invocation = self._settings, self._invocation
        budget = context.store.budget
        told = SideSettings(
            tokens=context.asked.tokens or budget.tokens,
            max_tokens_per_batch=budget.max_tokens_per_batch,
            timeout_seconds=settings.side_timeout_seconds,
        )

        def start(place: SidePlace) -> SideProcess:
            arguments = side_arguments(
                context.test,
                place.root,
                self._configuration(place),
                invocation.passed,
                settings.data,
                settings.models,
                emptied=invocation.emptied,
            )
            return SideProcess(place, arguments, told, meter)

        return SidePair(self._places(), start, earlier)

    def close(self) -> None:
        """Remove what was made for the sides; a second call does nothing."""
        if self._worktree is not None:
            self._worktree.remove()
        if self._lent is not None:
            self._lent.cleanup()
        self._worktree = self._lent = None

    def _places(self) -> tuple[SidePlace, SidePlace]:
        root = self._root
        if isinstance(self._with, Interpreter):
            path = import_path(root, root, root)
            lent = self._lend() if self._with.lends else ()
            label, python = self._with.label, self._with.python
            base = SidePlace("base", label, python, root, root, (*path, *lent))
            own = f"python:{sys.executable}"
            return base, SidePlace("head", own, sys.executable, root, root, path)
        revision = self._with
        if self._worktree is None:
            self._worktree = Worktree(revision.toplevel, revision.commit, self._invocation.end)
        top, tree = revision.toplevel, self._worktree.path
        base = SidePlace(
            "base",
            revision.label,
            sys.executable,
            tree,
            tree / revision.inside,
            import_path(root, top, tree),
            ignored=top,
        )
        path = import_path(root, top, top)
        return base, SidePlace("head", WORKING_TREE, sys.executable, top, root, path)

    def _lend(self) -> tuple[str, ...]:
        if self._lent is None:
            self._lent = tempfile.TemporaryDirectory(prefix="pytest-energy-lent-")
            lend_package(Path(self._lent.name))
        return (self._lent.name,)

    def _configuration(self, place: SidePlace) -> Path | None:
        """The side's own copy of the ini file in use; none if its tree has none."""
        path = self._invocation.configuration
        if path is None:
            return None
        top = self._with.toplevel if isinstance(self._with, Revision) else self._root
        moved = place.moved(path, top)
        return moved if moved.is_file() else None
