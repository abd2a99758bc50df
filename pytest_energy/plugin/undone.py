"""What a run leaves out of the suite, or was asked for and did not do. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_energy.checks import Settings
from pytest_energy.plugin.marker import is_gated
from pytest_energy.plugin.settings import NEEDS_GATES, gates_asked_for, names_hardware, uses_xdist

if TYPE_CHECKING:
    from pytest_energy.baselines import Baseline, Entry
    from pytest_energy.results import NotMeasured, RunRecord, VerdictRecord
    from pytest_energy.results.run_results import RunResults

NOT_LOOKED_AT = "`--energy-require-all` was not looked at, since only a part of the suite ran"


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


def look_for_what_is_stored(results: RunResults, settings: Settings, *, whole: bool) -> None:
    """Note what the hardware's file has and a run of the whole suite did not measure.

    Raises `BaselineError` if the file cannot be read.
    """
    if not whole:
        if settings.require_all:
            results.remarks += (NOT_LOOKED_AT,)
        return
    from pytest_energy.baselines import baseline_path
    from pytest_energy.baselines.reading import read

    # By its key: under xdist the workers have opened the meter, and this process has not.
    path = baseline_path(settings.baselines, str(results.hardware.get("key", "")))
    if path.is_file():
        results.not_measured = not_measured(read(path), results.verdicts)


def left_undone(record: RunRecord, settings: Settings, config: pytest.Config) -> str | None:
    """What was not done, in a sentence; None if all was."""
    if record.not_measured and settings.require_all:
        missing = ", ".join(f"`{one.id}`" for one in record.not_measured)
        return (
            f"not all was measured that is stored, which is no success under "
            f"`--energy-require-all`: {missing}; run their tests, or remove what is gone from "
            "the baseline file"
        )
    if not record.figures and names_hardware(config):
        return "nothing was metered, which is no success if a hardware is named"
    # What is invalid though a test has not failed for it was recorded by one that was skipped.
    nothing = ("invalid", "missing") if settings.update else ()
    if all(each.metric == "joules" or each.outcome in nothing for each in record.verdicts):
        for name in gates_asked_for(config):
            return (
                f"nothing was {NEEDS_GATES[name]}, which is no success under "
                f"`--energy-{name}`: no test that passed has checked a figure by `energy_gate`"
            )
    return None


def not_measured(stored: Baseline, verdicts: Iterable[VerdictRecord]) -> tuple[NotMeasured, ...]:
    """The stored figures without a verdict, each with the new one that it may have become."""
    from pytest_energy.results import NotMeasured

    known = stored.entries
    found = {(verdict.stored_metric, verdict.id): verdict for verdict in verdicts}
    missing = [e for key, e in known.items() if e.sessions and key not in found]
    new = [v for key, v in found.items() if key not in known and v.metric != "joules"]
    rows = []
    for entry in missing:
        renamed = _renamed(entry, new, alone=len(missing) == 1)
        new = [verdict for verdict in new if verdict is not renamed]
        rows.append(NotMeasured(entry.metric, entry.id, renamed.id if renamed else None))
    return tuple(rows)


def _renamed(entry: Entry, new: Sequence[VerdictRecord], *, alone: bool) -> VerdictRecord | None:
    """The new figure of the same work, else of the closest name, else the only one there is."""
    like = {verdict.id: verdict for verdict in new if verdict.stored_metric == entry.metric}
    for verdict in like.values():
        if entry.workload is not None and verdict.workload == entry.workload:
            return verdict
    if alone and len(like) == 1:
        return next(iter(like.values()))
    from difflib import get_close_matches

    close = get_close_matches(entry.id, like, n=1)
    return like[close[0]] if close else None
