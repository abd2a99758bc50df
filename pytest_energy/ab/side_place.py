"""Where a side runs: its tree, its interpreter, what it imports from, and its command line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

from pytest_energy.errors import EnergyError
from pytest_energy.metering.device_lock import HELD_VARIABLE, held_devices
from pytest_energy.processes import finished
from pytest_energy.workloads import engine

PREFIX = "python:"
LEAST = (3, 10)
_PROBE_SECONDS = 120
_PROBE = """
import json, sys
from importlib.util import find_spec
found = {name: find_spec(name) is not None for name in ("pytest", "pytest_energy")}
worker = found["pytest_energy"] and find_spec("pytest_energy.ab") is not None
print(json.dumps({"version": list(sys.version_info[:3]), "worker": worker, **found}))
"""

FOREIGN_VARIABLE = "PYTEST_ENERGY_FOREIGN_TREE"
"""Where a program that compares two worktrees names the checkout, which no side imports from."""

INSTALLED = ("site-packages", "dist-packages")
"""Folders of what is installed, which belongs to no tree."""

_QUIET = {"OMP_NUM_THREADS": "1", **engine.VARIABLES}
"""Modelled joules are CPU time. Threads that wait for each other spin, and memory that goes back to
the kernel at each step is zeroed at each step: processes then differ by per cents."""


@dataclass(frozen=True)
class SidePlace:
    """One side's whereabouts; `root` is pytest's root there, `toplevel` the tree around it.

    `import_path` comes first on the side's path; entries under `ignored`, the user's tree where
    the side has another, are taken off it.
    """

    name: str
    reference: str
    python: str
    toplevel: Path
    root: Path
    import_path: tuple[str, ...]
    ignored: Path | None = None

    def own(self, path: Path) -> Path | None:
        """The side's own copy of a file, if that is in the user's tree; None if there is none."""
        path = path.resolve()
        if self.ignored is not None and path.is_relative_to(self.ignored):
            path = self.toplevel / path.relative_to(self.ignored)
        return path if path.is_file() else None

    def variables(self, method: str) -> dict[str, str]:
        """The environment of the side's process, whose joules a meter of that method reads."""
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        others = [p for p in inherited if p and not self._ignores(p)]
        # A side reports to us alone, not into the job's summary.
        dropped = ("PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "GITHUB_STEP_SUMMARY")
        variables = {k: v for k, v in os.environ.items() if k not in dropped}
        path = os.pathsep.join([*self.import_path, *others])
        # Nor may git, asked by some plugin there, rewrite the user's index.
        own = {"PYTHONPATH": path, "GIT_OPTIONAL_LOCKS": "0"}
        # Whoever meters holds the devices for both sides.
        own[HELD_VARIABLE] = "\n".join(held_devices())
        quiet = _QUIET if method == "modelled" else {}
        return {**quiet, **variables, **own}

    def _ignores(self, entry: str) -> bool:
        return self.ignored is not None and Path(entry).resolve().is_relative_to(self.ignored)


def import_path(root: Path, toplevel: Path, place: Path) -> tuple[str, ...]:
    """The entries of our own path that lie in the user's tree, as they are in the tree `place`.

    pytest's root and a folder `src` beside it come first, whether they are on our path or not.
    What packages are installed in is left out.
    """
    environment = Path(sys.prefix).resolve()
    own = [root, root / "src"]
    for path in (Path(entry or ".").resolve() for entry in sys.path):
        installed = path.is_relative_to(environment) and environment != toplevel
        if path.is_relative_to(toplevel) and not installed and path.name not in INSTALLED:
            own.append(path)
    moved = [place / path.relative_to(toplevel) for path in own]
    return tuple(dict.fromkeys(str(path) for path in moved if path.is_dir()))


def foreign_tree() -> str | None:
    """The tree that neither side may import from, if there is one."""
    return os.environ.get(FOREIGN_VARIABLE) or None


def foreign_module(
    folder: str, modules: Mapping[str, ModuleType], prefix: str = sys.prefix
) -> tuple[str, str] | None:
    """(name, file) of a module that was imported from below a folder; None if there is none.

    What is installed there does not count: a virtual environment in the checkout serves both.
    """
    below = os.path.join(folder, "")
    environment = os.path.join(os.path.realpath(prefix), "")
    if os.path.join(os.path.realpath(os.getcwd()), "").startswith(below):
        return None  # the side's own tree lies in it, and nothing tells whose a file is
    for name, module in list(modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.startswith(below):
            continue
        installed = any(part in INSTALLED for part in file.split(os.sep))
        if not installed and not file.startswith(environment):
            return name, file
    return None


@dataclass(frozen=True)
class Interpreter:
    """Another Python; `lends` is whether it has to be lent this installation's package."""

    kind: ClassVar[Literal["interpreter"]] = "interpreter"
    note: ClassVar[str] = ""
    python: str
    lends: bool

    @property
    def label(self) -> str:
        """The interpreter as a person reads it."""
        return f"{PREFIX}{self.python}"


def find_interpreter(asked: str, root: Path) -> Interpreter:
    """The interpreter of `python:PATH`; raises `EnergyError` if no side can run in it."""
    # Not resolved: a virtual environment's python is a link to another's.
    path = Path(os.path.abspath(root / Path(asked.removeprefix(PREFIX)).expanduser()))
    option = f"`--energy-compare={asked}`"
    if path.is_dir() or not os.access(path, os.X_OK):
        raise EnergyError(
            f"{option}: `{path}` is no program; give the path of an interpreter, such as "
            f"`python:.venv-new/bin/python`"
        )
    try:
        answer = _answer_of(path)
        version = tuple(map(int, answer["version"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise EnergyError(
            f"{option}: `{path}` does not answer as a Python interpreter ({error}); run it by "
            f"hand to see why"
        ) from None
    if version[:2] < LEAST:
        found = ".".join(map(str, version))
        raise EnergyError(
            f"{option} is Python {found}; a side needs {LEAST[0]}.{LEAST[1]} or newer"
        )
    # A side meters by us and stores nothing: of all that our package needs it imports no more.
    if not answer["pytest"]:
        raise EnergyError(
            f"{option} lacks `pytest`, which a side needs; `{path} -m pip install pytest`"
        )
    if answer["pytest_energy"] and not answer["worker"]:
        raise EnergyError(
            f"{option} has a pytest-energy that knows no A/B; upgrade or uninstall it there"
        )
    return Interpreter(str(path), lends=not answer["pytest_energy"])


def _answer_of(python: Path) -> dict[str, Any]:
    """What the probe prints; `ValueError` if that is nothing of the kind, or not in time."""
    code, why, printed = finished(
        [str(python), "-c", _PROBE],
        python.parent,  # not the tree, whose packages would answer for its own
        os.environ,
        _PROBE_SECONDS,
        f"no answer in {_PROBE_SECONDS} s",
        ending_seconds=0.0,
    )
    if code is None:
        raise ValueError(why)
    lines = printed.splitlines() or [""]
    answer: dict[str, Any] = json.loads(
        next((line for line in reversed(lines) if line.startswith("{")), lines[-1])
    )
    return answer


def lend_package(folder: Path) -> str:
    """A folder for another interpreter's path that holds our package and nothing else."""
    folder.mkdir(exist_ok=True)
    (folder / "pytest_energy").symlink_to(Path(__file__).parents[1])
    return str(folder)


# Options that select, report, distribute or write.
_DROPPED = {
    "-x", "-s", "-v", "-q", "-l", "-h", "--cache-clear", "--cache-show", "--co", "--collect-only",
    "--exitfirst", "--ff", "--failed-first", "--fixtures", "--keep-duplicates", "--last-failed",
    "--lf", "--looponfail", "--new-first", "--nf", "--no-header", "--no-summary", "--pdb",
    "--pyargs", "--quiet", "--self-contained-html", "--setup-plan", "--setup-show", "--stepwise",
    "--stepwise-skip", "--sw", "--trace", "--verbose",
}  # fmt: skip
_DROPPED_WITH_VALUE = {
    "-k", "-m", "-n", "-r", "-c", "--basetemp", "--capture", "--color", "--config-file",
    "--deselect", "--dist", "--durations", "--durations-min", "--html", "--ignore", "--ignore-glob",
    "--junit-prefix", "--junit-xml", "--junitprefix", "--junitxml", "--lfnf", "--log-file",
    "--maxfail", "--maxprocesses", "--numprocesses", "--report-log", "--rootdir", "--show-capture",
    "--tb", "--tx", "--verbosity",
}  # fmt: skip
_KEPT_SHORT = ("-p", "-o", "-W")
_DROPPED_PREFIXES = ("--energy-", "--cov", "--no-cov")


def passed_on(
    arguments: Sequence[str], positional: Sequence[str], value_options: Collection[str]
) -> list[str]:
    """The arguments of a run that its sides need as well; `positional` names files and tests.

    `value_options` are those of our options that take a value, such as `--energy-json`.
    """
    files, kept, words = list(positional), [], iter(arguments)
    for word in words:
        if word.startswith("--"):
            name, separate = word.partition("=")[0], "=" not in word
            if name in _DROPPED_WITH_VALUE or name in value_options:
                if separate:
                    next(words, None)
            elif name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES):
                kept.append(word)
        elif word.startswith("-") and len(word) > 1:
            short, alone = word[:2], len(word) == 2
            if short in _KEPT_SHORT:
                kept += [word, *islice(words, 1 if alone else 0)]
            elif alone and short in _DROPPED_WITH_VALUE:
                next(words, None)
        elif word in files:
            files.remove(word)
        else:
            kept.append(word)  # the value of an option of the project's own
    return kept


def side_arguments(
    nodeid: str,
    root: Path,
    configuration: Path | None,
    passed: Sequence[str],
    data: str,
    models: Path | None,
    reset: Sequence[str],
) -> list[str]:
    """The whole command line of a side's pytest; nothing of the user's own files is written.

    `reset` are arguments that take back what an ini file may say, such as `--energy-json=`.
    """
    return [
        *passed,
        f"--rootdir={root}",
        *(["-c", str(configuration)] if configuration else []),
        *reset,
        f"--energy-data={data}",
        *([f"--energy-models={models}"] if models else []),
        # Captured output would be lost with a process that dies; here it goes to a file.
        "--capture=no",
        "--tb=short",
        "--color=no",
        "-q",
        # What an ini file selects need not be what this run did; here the test is named.
        *("-m", "", "-k", ""),
        nodeid,
    ]
