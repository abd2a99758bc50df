"""What pytest is configured with in a folder, for commands. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.plugin.options import add_options, value_of

_ARGUMENTS = (
    # The probe knows the options in the plugin's stead.
    *("-p", "no:energy"),
    # Neither other options nor code of the folder matter, and nothing is to be rewritten or shown.
    *("-o", "addopts=", "--noconftest", "--assert=plain", "--capture=no", "-W", "ignore"),
)


def configured(name: str, folder: Path) -> str | None:
    """The option called `name` in a folder, a path as an absolute one; None if it is not set.

    Raises `EnergyError` with pytest's own message if the configuration cannot be read.
    """
    probe = _Probe(name)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main([*_ARGUMENTS, str(folder)], plugins=[probe])
    if code != pytest.ExitCode.OK:
        raise EnergyError(
            f"`energy_{name}` cannot be read from the pytest configuration of `{folder}`: "
            f"{output.getvalue().strip()}"
        )
    return probe.found


class _Probe:
    """A plugin that reads one option once pytest is configured, in place of any test."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.found: str | None = None

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        """Know the plugin's options."""
        add_options(parser)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        """Read the option, and let nothing run."""
        self.found = value_of(self._name, config)
        return pytest.ExitCode.OK
