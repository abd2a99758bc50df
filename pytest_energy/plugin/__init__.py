"""The pytest plugin: what pytest needs to know at its start. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import pytest

from pytest_energy.plugin.fixtures import (  # noqa: F401 - pytest finds fixtures by name here
    PLUGIN,
    SESSION,
    energy,
    energy_claim,
    energy_gate,
    energy_session,
    energy_workload,
    finetune,
    module_energy,
    module_finetune,
    run_session,
)
from pytest_energy.plugin.marker import LINE
from pytest_energy.plugin.options import add_options
from pytest_energy.plugin.settings import leave_workers_out, left_out, settings_of
from pytest_energy.plugin.state import EnergyPlugin


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, check the options, and add the hooks of a run that meters."""
    config.addinivalue_line("markers", LINE)
    leave_workers_out(config)
    if SESSION not in config.stash:  # a side of an A/B has brought its own
        config.pluginmanager.register(EnergyPlugin(config, settings_of(config)), PLUGIN)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What of the configuration is left out."""
    return left_out(config)
