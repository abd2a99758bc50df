"""The pytest plugin: options, markers and hooks, which only delegate. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from collections.abc import Generator, MutableMapping
from typing import Any

import pytest

from pytest_energy.plugin.fixtures import (  # noqa: F401 - pytest finds fixtures by name here
    CLAIM,
    SESSION,
    energy,
    energy_claim,
    energy_gate,
    energy_session,
    energy_workload,
    finetune,
    session_of,
)
from pytest_energy.plugin.marker import EnergyMarker
from pytest_energy.plugin.options import EnergyConfig, OptionValues, add_options, figures_asked_for

_FIXTURES = frozenset({"energy", "energy_claim", "energy_gate", "energy_session", "finetune"})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and check the options."""
    config.addinivalue_line(
        "markers",
        "energy(max_joules, tolerance, detect, tokens, max_windows): limit the joules of a whole "
        "test, or set the levels (percent) and budgets of its gates",
    )
    EnergyConfig.from_pytest_config(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under `--energy-compare` leave tests that have a gate to their sides' processes."""
    if OptionValues(config).text("energy_compare") and not config.option.collectonly:
        from pytest_energy.plugin.ab_items import replace_gated

        replace_gated(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Open the session where a test needs it, and find bad input before energy is spent."""
    metered = [item for item in session.items if _is_metered(item)]
    if (metered or figures_asked_for(session.config)) and not session.config.option.collectonly:
        from pytest_energy.plugin.lifecycle import begin

        begin(session.config, metered)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let go of what an earlier attempt at the test reported."""
    if SESSION in item.config.stash:
        from pytest_energy.plugin.outcome import begin

        begin(item.config.stash[SESSION], item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail where a verdict stands; else meter a test that has a limit, and judge its claim."""
    if SESSION in item.config.stash:
        from pytest_energy.plugin.outcome import fail_again

        fail_again(item)
    limit = EnergyMarker.from_item(item).max_joules if _is_limited(item) else None
    if limit is None:
        result = yield
    else:
        from pytest_energy.plugin.outcome import limited

        with limited(session_of(item), item, limit):
            result = yield
    if CLAIM in item.stash:
        from pytest_energy.plugin.outcome import conclude

        conclude(item)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Take back what a test recorded that failed afterwards, and count it as done."""
    report = yield
    if SESSION in item.config.stash:
        session = item.config.stash[SESSION]
        if report.failed:
            session.discard(item.nodeid)
        if _is_metered(item):
            session.progress.reported(report.when, skipped=report.skipped)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """End the attempt, and tell pytest-benchmark of its windows where a test uses both."""
    if SESSION not in item.config.stash:
        return
    from pytest_energy.plugin.outcome import end

    end(item)
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    if benchmark is not None:
        from pytest_energy.plugin.neighbours import annotate

        annotate(item.config.stash[SESSION], item, benchmark)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: MutableMapping[str, Any]
) -> None:
    """Tell pytest-benchmark which devices were metered."""
    if SESSION in config.stash:
        from pytest_energy.plugin.neighbours import describe_machine

        describe_machine(config.stash[SESSION], config, machine_info)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Store what was recorded, or send it home from an xdist worker."""
    if SESSION in session.config.stash:
        from pytest_energy.plugin.lifecycle import finish

        finish(session)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take in what an xdist worker sends when it is done."""
    payload = getattr(node, "workeroutput", {}).get("energy")
    if payload is not None:
        from pytest_energy.plugin.lifecycle import receive

        receive(node.config, payload)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the verdicts."""
    if SESSION in terminalreporter.config.stash:
        from pytest_energy.plugin.lifecycle import summarise

        summarise(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the meter."""
    if SESSION in config.stash:
        config.stash[SESSION].close()


def _is_metered(item: pytest.Item) -> bool:
    return _is_marked(item) or not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _is_limited(item: pytest.Item) -> bool:
    """Whether a test runs here and as itself; a side's waits for the other one meanwhile."""
    in_a_side = SESSION in item.config.stash and item.config.stash[SESSION].server is not None
    return _is_marked(item) and not in_a_side and not getattr(item, "compared", False)


def _is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("energy") is not None
