"""Values of options: the command line's, else the ini file's. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def flag(name: str) -> str:
    """The command-line spelling of an option."""
    return "--" + name.replace("_", "-")


NEEDS_GATES = {"energy_compare": "compared", "energy_update": "recorded"}
"""Options that do nothing in a run without a gate, and what it then was not."""


def gates_asked_for(config: pytest.Config) -> list[str]:
    """Options of the command line that a run without a gate leaves undone."""
    return [name for name in NEEDS_GATES if config.getoption(name)]


def figures_asked_for(config: pytest.Config) -> bool:
    """Whether the command line asks for what a run without a metered test cannot give."""
    return config.getoption("energy_hw") not in (None, "auto") or bool(gates_asked_for(config))


_UNBOUNDED = 1e9


class OptionValues:
    """One option's value from the command line, else from the ini file."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def text(self, name: str) -> str | None:
        """A value as it was given; None where it is blank or not given."""
        value = self._config.getoption(name)
        if value is None:
            value = self._config.getini(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        return str(value)

    def switch(self, name: str) -> bool:
        """Whether a switch is on."""
        return bool(self._config.getoption(name) or self._config.getini(name))

    def path(self, name: str) -> Path | None:
        """A path: relative to where pytest was called, or to the root from the ini file."""
        given = self._config.getoption(name)
        base = self._config.rootpath if given is None else self._config.invocation_params.dir
        text = self.text(name)
        return None if text is None else base / Path(text).expanduser()

    def location(self, name: str) -> str | None:
        """A URL as it is; a path as `path` gives it."""
        text = self.text(name)
        return text if text is None or "://" in text or "::" in text else str(self.path(name))

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """One of the words that are allowed."""
        value = self.text(name)
        if value is not None and value not in allowed:
            options = ", ".join(f"`{a}`" for a in allowed)
            raise pytest.UsageError(f"`{flag(name)}={value}` is not known; give one of {options}")
        return value

    def number(self, name: str, low: float, high: float, *, percent: bool = False) -> float | None:
        """A number in a range; percent are given back as a fraction."""
        value = self.text(name)
        if value is None:
            return None
        parse: Callable[[str], float] = float
        try:
            number = parse(value.rstrip("%") if percent else value.replace("_", ""))
        except ValueError:
            number = float("nan")
        if not low <= number <= high or (percent and number == 0):
            least = f"percent above {low:g}" if percent else f"a number, at least {low:g}"
            most = f" and at most {high:g}" if high < _UNBOUNDED else ""
            raise pytest.UsageError(f"`{flag(name)}={value}` is out of range; give {least}{most}")
        return number / 100 if percent else number
