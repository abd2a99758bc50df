"""Where a side runs: its tree, its interpreter, and what it imports from."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.metering.device_lock import HELD_VARIABLE, held_devices
from pytest_energy.workloads import engine

_PACKAGES = ("site-packages", "dist-packages")
_QUIET = {"OMP_NUM_THREADS": "1", **engine.VARIABLES}
"""Modelled joules are CPU time. Threads that wait for each other spin, and memory that goes back to
the kernel at each step is zeroed at each step: processes then differ by per cents."""


@dataclass(frozen=True)
class SidePlace:
    """One side's whereabouts; `root` is pytest's root there, `toplevel` the tree around it.

    `import_path` comes first on the side's path; entries under `ignored` are taken off it.
    """

    name: str
    reference: str
    python: str
    toplevel: Path
    root: Path
    import_path: tuple[str, ...]
    ignored: Path | None = None

    def moved(self, path: Path, source: Path) -> Path:
        """What a path under another tree is here; one from elsewhere stays."""
        path = path.resolve()
        if not path.is_relative_to(source):
            return path
        return self.toplevel / path.relative_to(source)

    def variables(self, method: str) -> dict[str, str]:
        """The environment of the side's process, whose joules a meter of that method reads."""
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        others = [p for p in inherited if p and not _is_under(p, self.ignored)]
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


def import_path(root: Path, toplevel: Path, place: Path) -> tuple[str, ...]:
    """The entries of our own path that lie in the user's tree, as they are in the tree `place`.

    pytest's root and a folder `src` beside it come first, whether they are on our path or not.
    """
    own = [root, root / "src", *_in_tree(sys.path, toplevel)]
    moved = [place / path.relative_to(toplevel) for path in own]
    return tuple(dict.fromkeys(str(path) for path in moved if path.is_dir()))


def _in_tree(entries: Iterable[str], toplevel: Path) -> list[Path]:
    """Entries under a tree, without those that packages are installed in."""
    environment = Path(sys.prefix).resolve()
    found = []
    for entry in entries:
        path = Path(entry or ".").resolve()
        installed = path.is_relative_to(environment) and environment != toplevel
        if path.is_relative_to(toplevel) and not installed and path.name not in _PACKAGES:
            found.append(path)
    return found


def _is_under(entry: str, folder: Path | None) -> bool:
    return folder is not None and Path(entry).resolve().is_relative_to(folder)


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
    files, kept, index = list(positional), [], 0
    while index < len(arguments):
        word, following = arguments[index], arguments[index + 1 : index + 2]
        width = 1
        if word.startswith("--"):
            name, separate = word.partition("=")[0], "=" not in word
            if name in _DROPPED_WITH_VALUE or name in value_options:
                width += separate
            elif name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES):
                kept.append(word)
        elif word.startswith("-") and len(word) > 1:
            short = word[:2]
            alone = len(word) == 2
            if short in _KEPT_SHORT:
                width += alone
                kept += [word, *following] if alone else [word]
            else:
                width += alone and short in _DROPPED_WITH_VALUE
        elif word in files:
            files.remove(word)
        else:
            kept.append(word)  # the value of an option of the project's own
        index += width
    return kept


def side_arguments(
    nodeid: str,
    root: Path,
    configuration: Path | None,
    passed: Sequence[str],
    data: str,
    models: Path | None,
    emptied: Collection[str],
) -> list[str]:
    """The whole command line of a side's pytest; nothing of the user's own files is written.

    `emptied` are options that are to have no value there, such as `--energy-json`.
    """
    return [
        *passed,
        f"--rootdir={root}",
        *(["-c", str(configuration)] if configuration else []),
        *(f"{option}=" for option in emptied),
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
