"""What a run compares with, checked before energy is spent, and the places where sides run."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import Literal

import pytest

from pytest_energy.ab import targets
from pytest_energy.ab.rounds import Bench
from pytest_energy.ab.side_place import SidePlace, import_path, passed_on, side_arguments
from pytest_energy.ab.side_process import SideProcess, SideSettings
from pytest_energy.ab.targets import Interpreter, Revision
from pytest_energy.ab.worktree import Worktree
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.options import OPTIONS, EnergyConfig, flag
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import VerdictRecord

WORKING_TREE = "working tree"
_EMPTIED = tuple(
    f"energy_{name}"
    for name in ("hw", "update", "json", "compare", "settle", "history", "markdown", "html")
)


class Arena:
    """The run's base, and benches of both sides; the worktree lives from first use to `close`."""

    def __init__(self, config: EnergyConfig) -> None:
        asked = config.compare or config.settle or ""
        self._config = config
        self._root = config.root.resolve()
        self._worktree: Worktree | None = None
        self._lent: tempfile.TemporaryDirectory[str] | None = None
        self.target: Revision | Interpreter
        if asked.startswith(targets.PREFIX):
            self.target = targets.find_interpreter(asked, self._root)
        else:
            option = "--energy-compare" if config.compare else "--energy-settle"
            self.target = targets.find_revision(asked, option, self._root)

    @property
    def kind(self) -> Literal["revision", "interpreter"]:
        """What the sides differ in."""
        return "revision" if isinstance(self.target, Revision) else "interpreter"

    def bench(
        self, session: EnergySession, item: pytest.Item, earlier: tuple[VerdictRecord, ...] = ()
    ) -> Bench:
        """Both sides of one test."""
        marker = EnergyMarker.from_item(item)
        settings = SideSettings(
            tokens=session.tokens_per_window(marker.tokens),
            max_tokens_per_batch=session.budget.max_tokens_per_batch,
            timeout_seconds=self._config.side_timeout_seconds,
        )
        passed = _passed_on(item.config)

        def start(place: SidePlace) -> SideProcess:
            arguments = side_arguments(
                item.nodeid,
                place.root,
                self._configuration(item.config, place),
                passed,
                self._config.data,
                self._config.models,
                [flag(name) for name in _EMPTIED if name in OPTIONS],
            )
            return SideProcess(place, arguments, settings, session.meter)

        return Bench(self._places(), start, earlier)

    def close(self) -> None:
        """Remove what was made for the sides; a second call does nothing."""
        if self._worktree is not None:
            self._worktree.remove()
        if self._lent is not None:
            self._lent.cleanup()
        self._worktree = self._lent = None

    def _places(self) -> tuple[SidePlace, SidePlace]:
        root = self._root
        if isinstance(self.target, Interpreter):
            path = import_path(root, root, root)
            lent = self._lend() if self.target.lends else ()
            label = self.target.label
            base = SidePlace("base", label, self.target.python, root, root, (*path, *lent))
            return base, SidePlace(
                "head", f"python:{sys.executable}", sys.executable, root, root, path
            )
        revision = self.target
        if self._worktree is None:
            self._worktree = Worktree(revision.toplevel, revision.commit, _end_in_order)
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
        head = SidePlace(
            "head", WORKING_TREE, sys.executable, top, root, import_path(root, top, top)
        )
        return base, head

    def _lend(self) -> tuple[str, ...]:
        if self._lent is None:
            self._lent = tempfile.TemporaryDirectory(prefix="pytest-energy-lent-")
            targets.lend_package(Path(self._lent.name))
        return (self._lent.name,)

    def _configuration(self, config: pytest.Config, place: SidePlace) -> Path | None:
        """The side's own copy of the ini file in use; none where its tree has none."""
        if config.inipath is None:
            return None
        source = self._root if place.toplevel == self._root else None
        if isinstance(self.target, Revision):
            source = self.target.toplevel
        moved = place.moved(config.inipath, source or self._root)
        return moved if moved.is_file() else None


def _passed_on(config: pytest.Config) -> list[str]:
    extra = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    arguments = [*extra, *(str(each) for each in config.invocation_params.args)]
    positional = [str(each) for each in config.getoption("file_or_dir")]
    value_options = {flag(name) for name, option in OPTIONS.items() if option[0] is not None}
    return passed_on(arguments, positional, value_options)


def _end_in_order(number: signal.Signals) -> None:
    pytest.exit(f"ended by {number.name}", returncode=128 + number)
