"""One probe: pytest with `--energy-compare` in a process of its own, in a worktree."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.ab.from_caller import FOREIGN_VARIABLE, NOISE_VARIABLE, noise_text
from pytest_energy.ab.protocol import last_error
from pytest_energy.ab.revisions import Worktree
from pytest_energy.ab.side_place import lend_package
from pytest_energy.bisect import Finding, Probe
from pytest_energy.bisect.commits import Ends
from pytest_energy.bisect.documents import (
    BROKEN,
    Figure,
    choose_figure,
    finding_of,
    was_disturbed,
)
from pytest_energy.bisect.estimates import noise_sessions
from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.files import write_atomically
from pytest_energy.private_folders import PrivateFolder
from pytest_energy.processes import (
    FLOODS,
    ChildProcess,
    signal_name,
    stop_all,
    tail_of,
    uninterrupted,
)
from pytest_energy.results import RunRecord
from pytest_energy.results.json_codec import read_document

TIMEOUT_SECONDS = 7200.0
_POLL_SECONDS = 0.5
_ENDING_SECONDS = 15.0
"""How long a probe that is broken off may take to remove what it has made."""

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


_FOLDERS = ("--energy-data", "--energy-models")


@dataclass(frozen=True)
class Asking:
    """What each probe runs: pytest's arguments, the figure's id if one is named, and limits."""

    arguments: tuple[str, ...]
    figure: str | None = None
    timeout_seconds: float = TIMEOUT_SECONDS


@dataclass(frozen=True)
class _Ran:
    """A run's record, and the error that it printed last; without a record why it has none."""

    record: RunRecord | None
    said: str


class Prober:
    """Answers probes by running pytest; `findings` and `figure` are of a search that goes on."""

    def __init__(
        self,
        ends: Ends,
        asking: Asking,
        findings: Sequence[Finding] = (),
        figure: Figure | None = None,
    ) -> None:
        self.figure = figure
        self._ends, self._asking = ends, asking
        self._findings = list(findings)

    def ask(self, probe: Probe) -> Finding:
        """What a probe finds; once more if windows were measured and disturbed.

        Raises `EnergyError` for what no commit is to blame for, such as an unknown option.
        """
        ran = self._run(probe)
        if ran.record and self.figure and was_disturbed(ran.record, self.figure):
            ran = self._run(probe)
        finding = self._finding(probe, ran)
        self._findings.append(finding)
        return finding

    def _finding(self, probe: Probe, ran: _Ran) -> Finding:
        if ran.record is None:
            return Finding(probe, BROKEN, reason=ran.said)
        figure = self.figure or choose_figure(ran.record, self._asking.figure, ran.said)
        finding = finding_of(probe, ran.record, figure, ran.said)
        if not finding.is_broken:
            self.figure = figure
        return finding

    def _run(self, probe: Probe) -> _Ran:
        """One run of pytest in a worktree of the commit."""
        with ExitStack() as made:
            tree = Worktree(self._ends.toplevel, probe.commit)
            made.callback(tree.remove)
            folder = PrivateFolder("probe")
            made.callback(folder.remove)
            place = tree.path / self._ends.inside
            if not place.is_dir():
                return _Ran(None, f"it has no folder `{self._ends.inside}`")
            document = folder.path / "run.json"
            lent = lend_package(_folder(folder.path / "lent"))
            command = [sys.executable, "-c", _PROGRAM, lent, str(place)]
            command += self._arguments(probe, tree.path, document)
            variables = self._variables(tree.path, folder.path)
            code, why, printed = self._finished(command, place, variables)
            if document.is_file() and code not in (_BAD_INPUT, _NO_TESTS, None):
                return _Ran(read_document(document).record, last_error(printed) or "")
            return _Ran(None, why or self._without_record(probe, code or 0, printed))

    def _arguments(self, probe: Probe, tree: Path, document: Path) -> list[str]:
        return [
            *(_for_tree(word, self._ends.toplevel, tree) for word in self._asking.arguments),
            *(f"--deselect={nodeid}" for nodeid in (self.figure.others if self.figure else ())),
            *("-p", "no:cacheprovider", "--color=no"),
            *_ALONE,
            f"--energy-compare={probe.against}",
            f"--energy-tolerance={100 * probe.tolerance:.6g}",
            f"--energy-detect={100 * probe.detect:.6g}",
            f"--energy-max-windows={probe.most_pairs}",
            f"--energy-json={document}",
        ]

    def _variables(self, tree: Path, folder: Path) -> dict[str, str]:
        """The environment, in which what led into the checkout leads into the worktree."""
        top = self._ends.toplevel
        entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        path = os.pathsep.join(_moved(entry, top, tree) for entry in entries if entry)
        dropped = ("PYTEST_CURRENT_TEST", "GITHUB_STEP_SUMMARY", FOREIGN_VARIABLE, NOISE_VARIABLE)
        variables = {name: text for name, text in os.environ.items() if name not in dropped}
        variables |= {"PYTHONPATH": path, "GIT_OPTIONAL_LOCKS": "0"}
        if not tree.is_relative_to(top):
            variables[FOREIGN_VARIABLE] = str(top)
        if sessions := noise_sessions(self._findings):
            write_atomically(folder / "noise.json", noise_text(sessions))
            variables[NOISE_VARIABLE] = str(folder / "noise.json")
        return variables

    def _finished(
        self, command: Sequence[str], place: Path, variables: Mapping[str, str]
    ) -> tuple[int | None, str, str]:
        """The exit code, or None and why it was ended, and the end of what was printed."""
        folder = PrivateFolder("run")
        with uninterrupted():  # a process that nobody has noted would outlive the search
            child = ChildProcess(command, folder.path, environment=variables, working_folder=place)
        try:
            give_up, why = real_time.monotonic() + self._asking.timeout_seconds, ""
            while (code := child.wait(_POLL_SECONDS)) is None and not why:
                if child.floods:
                    why = FLOODS
                elif real_time.monotonic() > give_up:
                    why = f"it took longer than {self._asking.timeout_seconds:g} s (`--timeout`)"
            return code, "" if code is not None else why, tail_of(child.output)
        finally:
            # It has worktrees and processes of its own, which it removes if it is told to end.
            stop_all([child], 0.0, _ENDING_SECONDS)
            folder.remove()

    def _without_record(self, probe: Probe, code: int, printed: str) -> str:
        said = last_error(printed) or printed.rpartition("\n")[2]
        if code in (_BAD_INPUT, _NO_TESTS) and probe.purpose == "ends":
            what = "finds no test" if code == _NO_TESTS else "refuses these arguments"
            raise EnergyError(f"pytest {what} in `{probe.commit[:9]}`: {said}")
        name = signal_name(code)
        ended = f"was ended by {name}" if name else f"ended with code {code}"
        return f"pytest {ended} and measured nothing" + (f": {said}" if said else "")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


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
