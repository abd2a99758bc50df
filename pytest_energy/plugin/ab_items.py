"""An A/B as pytest runs it: its runner, and tests that only their sides run."""

from __future__ import annotations

import os
import shlex
from contextlib import closing
from typing import Any

import pytest

from pytest_energy.ab import Comparison, Invocation, PairedRunner, SettlingRunner
from pytest_energy.ab.side_place import passed_on
from pytest_energy.plugin.fixtures import session_of, user_errors
from pytest_energy.plugin.marker import asked_by, is_gated
from pytest_energy.plugin.options import OPTIONS, VALUE_FLAGS
from pytest_energy.plugin.session import EnergySession

_RESET = ("hw", "update", "json", "compare", "settle", "history", "markdown", "html")
"""Options that a side must not have, so that it writes nothing and compares nothing."""


class ComparedItem(pytest.Item):
    """Stands in for a test, whose fixtures and body run in both sides' processes alone.

    Nothing of the user's is built here, so that no third model lies in the device's memory.
    """

    compared = True

    def __init__(self, *, original: pytest.Item, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._original = original
        self.fixturenames: list[str] = list(getattr(original, "fixturenames", ()))
        self.funcargs: dict[str, object] = {}  # others look for their fixtures there
        self.own_markers = list(original.own_markers)
        self.keywords.update(original.keywords)

    def runtest(self) -> None:
        """Compare each check that the test makes."""
        with user_errors():
            session = session_of(self.config)
        assert isinstance(session.runner, PairedRunner), "collection has chosen it"
        with user_errors(), session.metered():
            context = session.context(self, asked_by(self))
            with closing(session.runner.compared(context)) as records:
                for record in records:
                    session.report(session, self, record)

    def reportinfo(self) -> Any:
        """Where the test is."""
        return self._original.reportinfo()


def replace_gated(items: list[pytest.Item]) -> None:
    """Put a `ComparedItem` in the place of each test that has a gate."""
    for index, item in enumerate(items):
        if is_gated(item) and item.parent is not None:
            items[index] = ComparedItem.from_parent(item.parent, name=item.name, original=item)


def choose_runner(session: EnergySession, config: pytest.Config) -> None:
    """Have checks done by an A/B; raises `EnergyError` if there is nothing to compare with."""
    settings = session.settings
    comparison = Comparison(settings, invocation_of(config))
    session.close_later(comparison.close)
    paired = PairedRunner(
        comparison, lambda: session.meter, session.results.of, session.progress.note
    )
    session.runner = paired if settings.compare else SettlingRunner(paired)


def invocation_of(config: pytest.Config) -> Invocation:
    """What of pytest's command line the sides of an A/B need as well."""
    extra = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    arguments = [*extra, *(str(each) for each in config.invocation_params.args)]
    files = [str(each) for each in config.getoption("file_or_dir")]
    return Invocation(
        configuration=config.inipath,
        passed=tuple(passed_on(arguments, files, VALUE_FLAGS)),
        reset=tuple(
            f"{option.flag}={option.default or ''}" for option in OPTIONS if option.name in _RESET
        ),
    )
