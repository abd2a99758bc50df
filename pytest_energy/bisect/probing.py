"""One probe: pytest with `--energy-compare` in a process of its own, and where that runs.

For a commit it is a worktree of it, in which the other side is another commit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pytest_energy.ab.measurement import NOISE_VARIABLE, noise_text
from pytest_energy.ab.protocol import last_error
from pytest_energy.ab.revisions import Worktree
from pytest_energy.ab.side_place import FOREIGN_VARIABLE, lend_package
from pytest_energy.bisect import Finding, Probe
from pytest_energy.bisect.commits import Ends
from pytest_energy.bisect.documents import BROKEN, Kept, choose_figure, finding_of, was_disturbed
from pytest_energy.bisect.levels import noise_sessions
from pytest_energy.errors import EnergyError
from pytest_energy.files import write_atomically
from pytest_energy.processes import PrivateFolder, finished, signal_name
from pytest_energy.results import RunRecord
from pytest_energy.results.json_codec import read_document

TIMEOUT_SECONDS = 7200.0

_BAD_INPUT, _NO_TESTS = 4, 5
"""pytest's exit codes."""

# Our own package comes from here, whatever the tree has by its name; then what `python -m pytest`
# puts on the path.
_PROGRAM = """
import sys
sys.path[0:1] = sys.argv[1:3]
import pytest
from pytest_energy.plugin.ab_side import plugin_arguments
sys.exit(pytest.main([*plugin_arguments(), *sys.argv[3:]]))
"""

_ALONE = (
    "--energy-json=", "--energy-markdown=", "--energy-html=", "--energy-history=",
    "--energy-settle=", "--energy-update=",
)  # fmt: skip
"""What a configuration may ask for that a probe must not do."""


_OURS_ALONE = ("PYTEST_CURRENT_TEST", "GITHUB_STEP_SUMMARY", FOREIGN_VARIABLE, NOISE_VARIABLE)
"""Variables that a probe does not have from here."""

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
    argument: Callable[[str], str] = str
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
            raise NotThereError(f"`{probe.commit[:9]}` has no folder `{self._ends.inside}`")
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


@dataclass(frozen=True)
class Asking:
    """What each probe runs: pytest's arguments, the figure's id if one is named, and limits."""

    arguments: tuple[str, ...]
    figure: str | None = None
    timeout_seconds: float = TIMEOUT_SECONDS


class Prober:
    """Answers probes by running pytest, from what is `kept` of the search and its figure."""

    def __init__(self, ground: Ground, asking: Asking, kept: Kept) -> None:
        self._ground, self._asking, self._kept = ground, asking, kept

    def ask(self, probe: Probe) -> Finding:
        """What a probe finds; once more if windows were measured and disturbed.

        Raises `EnergyError` for what no commit is to blame for, such as an unknown option.
        """
        figure = self._kept.figure
        record, said = self._run(probe)
        if record and figure and was_disturbed(record, figure):
            record, said = self._run(probe)
        if record is None:
            return Finding(probe, BROKEN, reason=said)
        figure = figure or choose_figure(record, self._asking.figure, said, probe.commit)
        finding = finding_of(probe, record, figure, said)
        if not finding.is_broken:
            self._kept.figure = figure
        return finding

    def _run(self, probe: Probe) -> tuple[RunRecord | None, str]:
        """A run's record, and the error that it printed last; without a record why it has none."""
        with ExitStack() as made:
            folder = PrivateFolder("probe")
            made.callback(folder.remove)
            try:
                where = self._ground.where(probe, made)
            except NotThereError as error:
                return None, str(error)
            document = folder.path / "run.json"
            lent = lend_package(folder.path / "lent")
            command = [where.python, "-c", _PROGRAM, lent, str(where.place)]
            command += self._arguments(probe, where, document)
            kept = {name: text for name, text in os.environ.items() if name not in _OURS_ALONE}
            variables = {**kept, **where.variables}
            if sessions := noise_sessions(self._kept.findings):
                write_atomically(folder.path / "noise.json", noise_text(sessions))
                variables[NOISE_VARIABLE] = str(folder.path / "noise.json")
            limit = self._asking.timeout_seconds
            late = f"it took longer than {limit:g} s (`--timeout`)"
            code, why, printed = finished(command, where.place, variables, limit, late)
            if document.is_file() and code not in (_BAD_INPUT, _NO_TESTS, None):
                return read_document(document).record, last_error(printed) or ""
            return None, why or _without_record(probe, code or 0, printed)

    def _arguments(self, probe: Probe, where: Where, document: Path) -> list[str]:
        others = self._kept.figure.others if self._kept.figure else ()
        return [
            *map(where.argument, self._asking.arguments),
            *(f"--deselect={nodeid}" for nodeid in others),
            *("-p", "no:cacheprovider", "--color=no"),
            *_ALONE,
            f"--energy-compare={where.reference}",
            f"--energy-tolerance={100 * probe.tolerance:.6g}",
            f"--energy-detect={100 * probe.detect:.6g}",
            f"--energy-max-windows={probe.most_pairs}",
            # What a commit is named for is to be told by operator, not what leads to it.
            f"--energy-profile={'auto' if probe.purpose == 'confirm' else 'never'}",
            f"--energy-json={document}",
        ]


def _without_record(probe: Probe, code: int, printed: str) -> str:
    said = last_error(printed) or printed.rpartition("\n")[2]
    if code in (_BAD_INPUT, _NO_TESTS) and probe.purpose == "ends":
        what = "finds no test" if code == _NO_TESTS else "refuses these arguments"
        raise EnergyError(f"pytest {what} in `{probe.commit[:9]}`: {said}")
    name = signal_name(code)
    ended = f"was ended by {name}" if name else f"ended with code {code}"
    return f"pytest {ended} and measured nothing" + (f": {said}" if said else "")
