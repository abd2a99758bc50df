"""Whether a run is one of the whole suite. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_energy.plugin.marker import is_gated


class Selection:
    """Notes what a run leaves out; registered as a plugin.

    A run is of the whole suite unless a gated test was deselected (`-k`, `-m`, `--deselect`, …),
    files or single tests were named, folders that hold a part of `testpaths` alone, `--lf` or
    `--ignore`, a file could not be collected, or the run was stopped early.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.partial = not _names_the_suite(config)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Take notice of gates that were deselected."""
        self.partial = self.partial or any(map(is_gated, items))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take notice of what could not be collected."""
        self.partial = self.partial or report.failed

    def is_whole(self, session: pytest.Session) -> bool:
        """Whether nothing was left out, until now."""
        stopped = session.shouldstop or session.shouldfail or session.exitstatus in _ENDED_EARLY
        return not (self.partial or stopped)


_ENDED_EARLY = (
    pytest.ExitCode.INTERRUPTED,
    pytest.ExitCode.INTERNAL_ERROR,
    pytest.ExitCode.USAGE_ERROR,
)


def _names_the_suite(config: pytest.Config) -> bool:
    if config.getoption("lf", False) or any(
        str(argument).startswith("--ignore") for argument in config.invocation_params.args
    ):
        return False
    if config.args_source is not config.ArgsSource.ARGS:
        return True
    given = [config.invocation_params.dir / argument for argument in config.args]
    if not all(path.is_dir() for path in given):
        return False
    suite = [path for glob in config.getini("testpaths") for path in config.rootpath.glob(glob)]
    covered = [any(_is_in(path, each) for each in given) for path in suite]
    cut = any(_is_in(path, each) for path in given for each in suite)
    return all(covered) or not (any(covered) or cut)


def _is_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
