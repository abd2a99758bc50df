"""Beside pytest-xdist: whether it spreads the run, and staying alone. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import pytest

LEFT_OUT = pytest.StashKey[str]()
"""What the run was configured for and does not do, for its header."""

_ALONE = ("update", "compare", "settle")
"""Options whose windows workers of pytest-xdist would disturb."""


def uses_xdist(config: pytest.Config) -> bool:
    """Whether this run is spread over pytest-xdist's workers, or is one of them."""
    workers = config.getoption("numprocesses", None) or config.getoption("tx", None)
    return hasattr(config, "workerinput") or bool(workers)


def leave_workers_out(config: pytest.Config) -> None:
    """Measure in this process what is recorded or compared, if an ini file spreads the run.

    `PYTEST_ADDOPTS` counts as one. Who types an option of pytest-xdist as well is refused later.
    """
    asked = [name for name in _ALONE if config.getoption(f"energy_{name}")]
    if not asked or hasattr(config, "workerinput") or not uses_xdist(config):
        return
    from pytest_energy.reports.next_steps import asks_for_workers

    if not asks_for_workers(map(str, config.invocation_params.args)):
        stay_in_this_process(config)
        config.stash[LEFT_OUT] = (
            f"energy: pytest-xdist, which the configuration asks for, is left out: "
            f"`--energy-{asked[0]}` measures in one process"
        )


def stay_in_this_process(config: pytest.Config) -> None:
    """Undo what pytest-xdist was asked for, before it begins to distribute."""
    for name, value in (("numprocesses", 0), ("dist", "no"), ("tx", [])):
        if hasattr(config.option, name):
            setattr(config.option, name, value)
