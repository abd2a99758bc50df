"""What of pytest's command line a side is given: what decides how tests run, not which or where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Options that select, report, distribute or write; True: a value follows.
_DROPPED: dict[str, bool] = {
    "-k": True, "-m": True, "-n": True, "-r": True, "-c": True, "-x": False, "-s": False,
    "-v": False, "-q": False, "-l": False, "-h": False,
    "--basetemp": True, "--cache-clear": False, "--cache-show": False, "--capture": True,
    "--co": False, "--collect-only": False, "--color": True, "--config-file": True,
    "--deselect": True, "--dist": True, "--durations": True, "--durations-min": True,
    "--exitfirst": False, "--ff": False, "--failed-first": False, "--fixtures": False,
    "--html": True, "--ignore": True, "--ignore-glob": True, "--junit-prefix": True,
    "--junit-xml": True, "--junitprefix": True, "--junitxml": True, "--keep-duplicates": False,
    "--last-failed": False, "--lf": False, "--lfnf": True, "--log-file": True,
    "--looponfail": False, "--maxfail": True, "--maxprocesses": True, "--new-first": False,
    "--nf": False, "--no-header": False, "--no-summary": False, "--numprocesses": True,
    "--pdb": False, "--pyargs": False, "--quiet": False, "--report-log": True,
    "--rootdir": True, "--self-contained-html": False, "--setup-plan": False,
    "--setup-show": False, "--show-capture": True, "--stepwise": False, "--stepwise-skip": False,
    "--sw": False, "--tb": True, "--trace": False, "--tx": True, "--verbose": False,
    "--verbosity": True,
}  # fmt: skip
_KEPT_SHORT = ("-p", "-o", "-W")
_COVERAGE = ("--cov", "--no-cov")
_OURS = "--energy-"


def passed_on(arguments: Sequence[str], positional: Sequence[str]) -> list[str]:
    """The arguments of a run that its sides need as well; `positional` names files and tests."""
    files, kept, index = list(positional), [], 0
    while index < len(arguments):
        word, following = arguments[index], arguments[index + 1 : index + 2]
        width = 1
        if word.startswith("--"):
            name, separate = word.partition("=")[0], "=" not in word
            if name in _DROPPED or name.startswith(_OURS):
                takes = _DROPPED.get(name, _takes_value(name))
                width += takes and separate
            elif not name.startswith(_COVERAGE):
                kept.append(word)
        elif word.startswith("-") and len(word) > 1:
            short = word[:2]
            alone = len(word) == 2
            if short in _KEPT_SHORT:
                width += alone
                kept += [word, *following] if alone else [word]
            else:
                width += alone and _DROPPED.get(short, False)
        elif word in files:
            files.remove(word)
        else:
            kept.append(word)  # the value of an option of the project's own
        index += width
    return kept


def _takes_value(name: str) -> bool:
    from pytest_energy.config import OPTIONS

    option = OPTIONS.get(name.removeprefix("--").replace("-", "_"))
    return option is not None and option[0] is not None


def side_arguments(
    nodeid: str,
    root: Path,
    configuration: Path | None,
    passed: Sequence[str],
    data: str,
    models: Path | None,
) -> list[str]:
    """The whole command line of a side's pytest; nothing of the user's own files is written."""
    emptied = ("hw", "update", "json", "compare", "settle", "history", "markdown", "html")
    from pytest_energy.config import OPTIONS

    return [
        *passed,
        f"--rootdir={root}",
        *(["-c", str(configuration)] if configuration else []),
        *(f"--energy-{name}=" for name in emptied if f"energy_{name}" in OPTIONS),
        f"--energy-data={data}",
        *([f"--energy-models={models}"] if models else []),
        # Captured output would be lost with a process that dies; here it goes to a file.
        "--capture=no",
        "--tb=short",
        "--color=no",
        "-q",
        # What an ini file selects need not be what this run did; here the test is named.
        "-m",
        "",
        "-k",
        "",
        nodeid,
    ]
