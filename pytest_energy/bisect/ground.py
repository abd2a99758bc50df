"""Where a probe runs: for a commit a worktree of it, in which the other side is another commit."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pytest_energy.ab.from_caller import FOREIGN_VARIABLE
from pytest_energy.ab.revisions import Worktree
from pytest_energy.bisect import Probe
from pytest_energy.bisect.commits import Ends
from pytest_energy.errors import EnergyError

_FOLDERS = ("--energy-data", "--energy-models")


class NotThereError(EnergyError):
    """What is to be probed cannot be put in place; says why."""


@dataclass(frozen=True)
class Where:
    """A place to run pytest in: by which Python, in which folder, against which `reference`.

    `argument` makes of an argument of pytest's what it is there, `variables` are added to the
    environment.
    """

    python: str
    place: Path
    reference: str
    argument: Callable[[str], str]
    variables: Mapping[str, str] = field(default_factory=dict)


class Ground(Protocol):
    """What probes are made on, by how their ends are named."""

    def where(self, probe: Probe, made: ExitStack) -> Where:
        """The place of a probe; what is `made` for it ends with the probe.

        Raises `NotThereError` if there is no such place.
        """


class CommitGround:
    """Worktrees of commits, in which this Python runs pytest."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends

    def where(self, probe: Probe, made: ExitStack) -> Where:
        """The worktree of a commit."""
        tree = Worktree(self._ends.toplevel, probe.commit)
        made.callback(tree.remove)
        place = tree.path / self._ends.inside
        if not place.is_dir():
            raise NotThereError(f"it has no folder `{self._ends.inside}`")
        top = self._ends.toplevel
        return Where(
            sys.executable,
            place,
            probe.against,
            lambda word: _for_tree(word, top, tree.path),
            _variables(top, tree.path),
        )


def _variables(top: Path, tree: Path) -> dict[str, str]:
    """What in the environment led into the checkout leads into the worktree."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join(_moved(entry, top, tree) for entry in entries if entry)
    own = {"PYTHONPATH": path, "GIT_OPTIONAL_LOCKS": "0"}
    return own if tree.is_relative_to(top) else {**own, FOREIGN_VARIABLE: str(top)}


def _for_tree(word: str, top: Path, tree: Path) -> str:
    """An argument for a run in a worktree instead of here.

    A test or file of the checkout, named by its whole path, is the worktree's own; folders of data
    and models are those that are here.
    """
    flag, separator, value = word.partition("=")
    if flag in _FOLDERS and separator and Path(value).exists():
        return f"{flag}={Path(value).absolute()}"
    path, inside, name = word.partition("::")
    if path.startswith(f"{top}{os.sep}") and (moved := tree / Path(path).relative_to(top)).exists():
        return f"{moved}{inside}{name}"
    return word


def _moved(entry: str, top: Path, tree: Path) -> str:
    """An entry of a path, in the worktree if it lies in the checkout; what is installed stays."""
    path = Path(os.path.abspath(entry))
    own = path.is_relative_to(top) and not path.is_relative_to(Path(sys.prefix).resolve())
    return str(tree / path.relative_to(top)) if own else entry
