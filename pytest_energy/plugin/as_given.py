"""Errors name a setting as it was given: in the ini file, or on the command line.

Whoever finds a value to be wrong knows the option's name alone. PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.text import masked_argument, safe_lines

_FLAG = re.compile(r"`--(?P<name>energy-[a-z-]+)(?:=(?P<value>[^`]*))?`")


@contextmanager
def errors_as_given(config: pytest.Config) -> Iterator[None]:
    """Make an error of the block one that ends the run, and let it name settings as given."""
    try:
        yield
    except (EnergyError, pytest.UsageError) as error:
        raise pytest.UsageError(as_given(str(error), config)) from None


def as_given(text: str, config: pytest.Config) -> str:
    """An error's text, with options of the ini file by their name there.

    What a text advises to give is no setting of the file, unless it is just what is set there.
    """
    return _FLAG.sub(lambda found: _named(found, config), text)


def _named(found: re.Match[str], config: pytest.Config) -> str:
    name, value = found["name"].replace("-", "_"), found["value"]
    set_there = value_in_ini(name, config)
    if set_there is None or config.getoption(name, None) is not None:
        return found[0]
    shown = safe_lines(masked_argument(set_there))
    if value is None:
        return f"`{name}` {where_set(name, config)}"
    if found.start() and value != shown:  # advice
        return found[0]
    return f"`{name} = {shown}` {where_set(name, config)}"


def value_in_ini(name: str, config: pytest.Config) -> str | None:
    """What an ini setting is set to, as text; None if it is not set."""
    try:
        found = config.getini(name)
    except (ValueError, TypeError, pytest.UsageError):
        return None
    return None if found is None else str(found)


def where_set(name: str, config: pytest.Config) -> str:
    """Where an ini setting comes from, such as "in `pytest.ini`"."""
    overriding = config.getoption("override_ini", None) or ()
    if any(each.partition("=")[0].strip() == name for each in overriding):
        return "given by `-o`"
    if config.inipath is None:
        return "in the pytest configuration"
    return f"in `{os.path.relpath(config.inipath, config.invocation_params.dir)}`"
