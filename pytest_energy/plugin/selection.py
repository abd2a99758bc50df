"""Whether a run is one of the whole suite. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_energy.plugin.marker import is_gated
from pytest_energy.plugin.xdist import uses_xdist


class Selection:
    """Notes what a run leaves out; registered as a plugin.

    A run is of the whole suite unless

    - a gated test was left out after it was collected: `-k`, `-m`, `--deselect`, a conftest, …;
    - files or single tests were named, or folders that hold a part of `testpaths` alone, or no
      gate;
    - `--lf` or `--ignore` was given;
    - a file could not be collected, or the run was stopped early.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._collected = 0
        leaves_out = config.getoption("lf", False) or _ignores(config)
        shown = not leaves_out and _names_the_suite(config)
        self.partial = leaves_out or shown is False
        # Under xdist the workers collect, and say so.
        collects = hasattr(config, "workerinput") or not uses_xdist(config)
        self._needs_gate = shown is None and collects

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Count gates before anybody takes some out, which need not be told by a hook."""
        self._collected += is_gated(item)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Take notice of what could not be collected."""
        self.partial = self.partial or report.failed

    def is_whole(self, session: pytest.Session) -> bool:
        """Whether nothing was left out, until now."""
        gates = sum(map(is_gated, session.items))
        left_out = gates < self._collected or (self._needs_gate and not gates)
        stopped = session.shouldstop or session.shouldfail or session.exitstatus in _ENDED_EARLY
        return not (self.partial or left_out or stopped)


_ENDED_EARLY = (
    pytest.ExitCode.INTERRUPTED,
    pytest.ExitCode.INTERNAL_ERROR,
    pytest.ExitCode.USAGE_ERROR,
)


def _ignores(config: pytest.Config) -> bool:
    """Whether more is ignored than the ini file says, which belongs to the suite."""
    ignored = (config.getoption(name, None) or () for name in ("ignore", "ignore_glob"))
    of_suite = [each for each in config.getini("addopts") if each.startswith("--ignore")]
    return sum(map(len, ignored)) > len(of_suite)


def _names_the_suite(config: pytest.Config) -> bool | None:
    """Whether what is named is the whole suite; None for folders that are if they hold a gate."""
    if config.args_source is config.ArgsSource.TESTPATHS:
        return True
    given = [config.invocation_params.dir / argument for argument in config.args]
    if not all(path.is_dir() for path in given):
        return False
    suite = [path for glob in config.getini("testpaths") for path in config.rootpath.glob(glob)]
    covered = [any(_is_in(path, each) for each in given) for path in suite or [config.rootpath]]
    if all(covered):
        return True
    cut = any(covered) or any(_is_in(path, each) for path in given for each in suite)
    return None if config.args_source is config.ArgsSource.ARGS and not cut else False


def _is_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
