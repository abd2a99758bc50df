"""What a run was asked for and did not do, so that it is no success. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import pytest

from pytest_energy.baselines import baseline_path
from pytest_energy.baselines.reading import read
from pytest_energy.checks import Settings
from pytest_energy.checks.unmeasured import not_measured
from pytest_energy.plugin.options import NEEDS_GATES, gates_asked_for, names_hardware
from pytest_energy.results import RunRecord
from pytest_energy.results.run_results import RunResults

NOT_LOOKED_AT = "`--energy-require-all` was not looked at, since only a part of the suite ran"


def look_for_what_is_stored(results: RunResults, settings: Settings, *, whole: bool) -> None:
    """Note what the hardware's file has and a run of the whole suite did not measure.

    Raises `BaselineError` if the file cannot be read.
    """
    if not whole:
        if settings.require_all:
            results.remarks += (NOT_LOOKED_AT,)
        return
    # By its key: under xdist the workers have opened the meter, and this process has not.
    path = baseline_path(settings.baselines, str(results.hardware.get("key", "")))
    results.not_measured = not_measured(read(path) if path.is_file() else None, results.verdicts)


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
