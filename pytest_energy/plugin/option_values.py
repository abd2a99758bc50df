"""From the text of an option to its value; what is out of range is refused. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pytest_energy.text import masked_argument, safe_lines, url

_UNBOUNDED = 1e9
RANGES = {
    "tolerance": (0.0, 1000.0),
    "detect": (0.0, 3000.0),
    "tokens": (1, 1e12),
    "max_windows": (3, 10_000),
}
"""What levels (percent, above 0) and budgets may be, as options and as a marker's arguments."""


@dataclass(frozen=True)
class Given:
    """A value as it was given: for which option, as which text, and what its paths start from."""

    flag: str
    text: str
    folder: Path

    def error(self, problem: str) -> pytest.UsageError:
        """The error that names option and value."""
        return usage_error(f"`{self.flag}={masked_argument(self.text)}` {problem}")


Parser = Callable[[Given], Any]


def usage_error(text: str) -> pytest.UsageError:
    """An error that ends the run before it begins, with a text that is safe to show."""
    return pytest.UsageError(safe_lines(text))


def text(given: Given) -> str:
    """The text as it was given."""
    return given.text


def path(given: Given) -> Path:
    """An absolute path; `~` is the home folder."""
    return given.folder / Path(given.text).expanduser()


def location(given: Given) -> str:
    """A URL as it is, a path made absolute."""
    address = "://" in given.text or "::" in given.text
    return url(given.text) if address else str(path(given))


def webhook(given: Given) -> str:
    """An address that nobody on the way can read; its path is a secret as well."""
    try:
        parts = urlsplit(given.text)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        known = parts.scheme == "https" or (parts.scheme == "http" and local)
        if known and parts.hostname and parts.port != 0 and given.text.isprintable():
            return given.text
    except ValueError:  # of a port or a host that is none
        pass
    raise usage_error(f"`{given.flag}` is no https:// address; give one, such as a Slack webhook's")


def data(given: Given) -> str:
    """A source of data: a word that is known, or a folder as an absolute path."""
    return given.text if given.text in ("synthetic", "hub") else str(path(given))


def choice(*allowed: str) -> Parser:
    """A parser that takes one of these words."""

    def parse(given: Given) -> str:
        if given.text not in allowed:
            raise given.error(f"is not known; give one of {', '.join(f'`{a}`' for a in allowed)}")
        return given.text

    return parse


def number(low: float, high: float = _UNBOUNDED, kind: Callable[[float], Any] = float) -> Parser:
    """A parser that takes numbers of a kind from `low` to `high`, both allowed."""

    def parse(given: Given) -> Any:
        read = _read(given, given.text.replace("_", ""))
        if not low <= read <= high or kind(read) != read:
            most = f" and at most {high:g}" if high < _UNBOUNDED else ""
            what = "whole number" if kind is int else "number"
            raise given.error(f"is out of range; give a {what}, at least {low:g}{most}")
        return kind(read)

    return parse


def percent(name: str) -> Parser:
    """A parser that takes percent in a level's range, and gives a fraction."""
    _, high = RANGES[name]

    def parse(given: Given) -> float:
        read = _read(given, given.text.rstrip("%"))
        if not 0 < read <= high:
            raise given.error(f"is out of range; give percent above 0 and at most {high:g}")
        return read / 100

    return parse


def _read(given: Given, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise given.error("is no number; give one") from None
