"""Options that do not go together, each refused by name. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import pytest


def check_comparison(
    config: pytest.Config, settle: str | None, compare: str | None, update: str | None
) -> None:
    """Raise `pytest.UsageError` where an A/B cannot be what was asked for."""
    if settle and compare:
        raise pytest.UsageError(
            "`--energy-compare` compares every figure, so that nothing is left for "
            "`--energy-settle`; give one of them"
        )
    if settle and settle.startswith("python:"):
        raise pytest.UsageError(
            f"`--energy-settle={settle}` settles against a git revision; compare interpreters with "
            f"`--energy-compare={settle}`"
        )
    if compare and update:
        raise pytest.UsageError(
            "`--energy-update` records baselines, and `--energy-compare` does without; give one of "
            "them"
        )
    name = "--energy-compare" if compare else "--energy-settle"
    if (settle or compare) and uses_xdist(config):
        raise pytest.UsageError(
            f"`{name}` cannot compare under pytest-xdist, whose workers disturb each other's "
            f"windows; run it with `-n 0`"
        )


def uses_xdist(config: pytest.Config) -> bool:
    """Whether this run is spread over pytest-xdist's workers, or is one of them."""
    workers = config.getoption("numprocesses", None) or config.getoption("tx", None)
    return hasattr(config, "workerinput") or bool(workers)
