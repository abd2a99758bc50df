"""Tests as the plugin sees them: metered or not, what they ask for, and their run's session.

PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from pytest_energy.checks import TestSettings
from pytest_energy.errors import EnergyError

if TYPE_CHECKING:
    from pytest_energy.plugin.session import EnergySession
    from pytest_energy.results.claims import EnergyClaim

SESSION = pytest.StashKey["EnergySession"]()
"""Of a run's configuration: its session, once a test needs one."""

PLUGIN = "energy-run"
"""Under which the hooks of a run that meters are registered."""

CLAIM: pytest.StashKey[EnergyClaim] = pytest.StashKey()
"""Of a test: the claim that it makes."""

FIXTURES = frozenset({"energy", "energy_claim", "energy_gate", "energy_session", "finetune"})


def session_of(item: pytest.Item) -> EnergySession:
    """The run's session; begun here if collection did not see that the test needs one."""
    if SESSION not in item.config.stash:
        plugin: Any = item.config.pluginmanager.get_plugin(PLUGIN)
        try:
            plugin.begin([item])
        except pytest.UsageError as error:
            raise EnergyError(str(error)) from None
    return item.config.stash[SESSION]


def is_metered(item: pytest.Item) -> bool:
    """Whether a test needs the meter."""
    return is_marked(item) or not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def is_marked(item: pytest.Item) -> bool:
    """Whether a test has the marker `energy`."""
    return item.get_closest_marker("energy") is not None


def asked_by(item: pytest.Item) -> TestSettings:
    """What a test asks for: the nearest marker's arguments over the outer ones'.

    Raises `pytest.UsageError` for unknown names and values that are none.
    """
    arguments: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("energy"))):
        if marker.args:
            raise pytest.UsageError(
                f"`@pytest.mark.energy` on `{item.nodeid}` takes arguments by name only; "
                f"write `max_joules={marker.args[0]!r}`"
            )
        arguments.update(marker.kwargs)
    return from_arguments(arguments, item.nodeid)


def from_arguments(arguments: Mapping[str, Any], test: str) -> TestSettings:
    """Levels come in percent; raises `pytest.UsageError` naming the argument and the test."""
    known = [field.name for field in fields(TestSettings)]
    for name, value in arguments.items():
        if name not in known:
            raise pytest.UsageError(
                f"`{name}` on `{test}` is no argument of `@pytest.mark.energy`; "
                f"it knows {', '.join(f'`{k}`' for k in known)}"
            )
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        least = 1 if name in ("tokens", "max_windows") else 0
        if not number or not least <= value < float("inf") or value == 0:
            raise pytest.UsageError(
                f"`{name}={value!r}` on `{test}` is no positive number; "
                f"give joules, percent or a count above 0"
            )
    percent = {k: arguments[k] / 100 for k in ("tolerance", "detect") if k in arguments}
    counts = {k: int(arguments[k]) for k in ("tokens", "max_windows") if k in arguments}
    return TestSettings(**{**arguments, **percent, **counts})


@contextmanager
def user_errors() -> Iterator[None]:
    """Show an error that the user can mend as one sentence, without a traceback."""
    try:
        yield
        return
    except EnergyError as error:
        text = str(error)
    # Without what it was raised from, which says the same.
    raise pytest.fail.Exception(text, pytrace=False) from None
