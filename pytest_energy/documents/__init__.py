"""Documents from outside: JSON and TOML parsed within limits, and what is wrong with one."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from pytest_energy.text import one_line

LONGEST_TEXT = 100_000
"""Characters of a text, and of a line of TOML (whose parser is slow with long dotted keys)."""
MOST_ITEMS = 100_000
"""Entries of a list or a table."""
LARGEST = 1e18
"""No number is farther from 0, so that products of a few stay finite."""
SMALLEST = 1e-18
"""What must be above 0 is at least so much, so that quotients stay finite."""

SHOWN = 40
"""Characters of a value that are shown."""


class FaultyDocumentError(ValueError):
    """A document, or a value at a `place` in it, is not what it should be; says how."""

    def __init__(self, wrong: str) -> None:
        super().__init__(wrong)
        self.wrong, self.place = wrong, ""

    def __str__(self) -> str:
        return f"`{one_line(self.place.lstrip('.'))}` {self.wrong}" if self.place else self.wrong


@dataclass(frozen=True)
class Range:
    """What a number may be, both ends included; nan and infinity only if it is not `finite`."""

    low: float = -LARGEST
    high: float = LARGEST
    finite: bool = True
    words: str = ""

    def __str__(self) -> str:
        if self.words:
            return self.words
        if self.high < LARGEST:
            return f"from {self.low:g} to {self.high:g}"
        return _FROM.get(self.low, f"a number up to {LARGEST:g}")

    def for_one_outside(self, value: float) -> str:
        """The same in words that say what is wrong with `value`, be it too large or not finite."""
        words = str(self)
        if words not in _FROM.values() or value < self.low:
            return words
        if isinstance(value, int) or math.isfinite(value):
            return f"{words} and at most {self.high:g}"
        return f"a finite number {'of ' if words[0].isdigit() else ''}{words}"


_FROM = {0.0: "0 or more", SMALLEST: "above 0", 1.0: "1 or more"}


AnyFloat = Annotated[float, Range(-sys.float_info.max, sys.float_info.max, finite=False)]
"""A float that may be nan or infinite, since it is only shown."""
NotNegative = Annotated[float, Range(0.0)]
Positive = Annotated[float, Range(SMALLEST)]
Moment = Annotated[float, Range(0.0, 4e9)]
"""Unix time (s), at most of the year 2096."""
Count = Annotated[int, Range(0.0)]
PositiveCount = Annotated[int, Range(1.0)]


def parse_json(data: bytes) -> Any:
    """The value that JSON states; raises `FaultyDocumentError`."""
    if not data.strip():
        raise FaultyDocumentError("is empty")
    with _parsing("JSON"):
        return json.loads(data)


def parse_toml(text: str) -> dict[str, Any]:
    """The document that TOML states; raises `FaultyDocumentError`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_TEXT:
            raise FaultyDocumentError(
                f"is not valid TOML: line {number} has more than {LONGEST_TEXT:,} characters"
            )
    with _parsing("TOML"):
        return tomllib.loads(text)


@contextmanager
def _parsing(form: str) -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise FaultyDocumentError(f"is not valid {form}: it is nested too deeply") from None
    except ValueError as error:
        why = one_line(str(error).partition("; use sys.")[0])
        raise FaultyDocumentError(f"is not valid {form}: {why}") from None


def shown(value: object) -> str:
    """A value from outside in a few characters, whatever it is."""
    if isinstance(value, str):
        return f"{one_line(value, SHOWN)!r}"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int) and value.bit_length() > 64:
        return f"a number of about {value.bit_length() * 3 // 10} digits"
    if isinstance(value, (int, float)):
        return f"{value!r}"
    return "a table" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def installed_version() -> str:
    """The version of pytest-energy that runs; empty in a checkout that is not installed."""
    try:
        return version("pytest-energy")
    except PackageNotFoundError:
        return ""


def other_schema(found: object, read: int, otherwise: str) -> str:
    """What to say of a document's schema that is not the one that is `read`, and what to do.

    One that is newer needs a newer pytest-energy; for any other `otherwise` says what to do.
    """
    here = f"pytest-energy {installed_version()}".rstrip()
    if isinstance(found, int) and not isinstance(found, bool) and found > read:
        return (
            f"{shown(found)}, of a newer pytest-energy: {here} is installed, and reads schema "
            f"{read}; upgrade it"
        )
    return f"{shown(found)}, but {here}, which is installed, reads schema {read}; {otherwise}"
