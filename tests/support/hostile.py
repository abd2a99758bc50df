"""Texts that try to give commands to a CI, a terminal, a page or a shell, and who obeyed them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

HOSTILE = (
    "a\n::error::PWNED\r\n##[error]PWNED\x1b[2J\u202e[red]b[/red]\u2028::warning::PWNED\t"
    "';touch PWNED;$(touch PWNED)`c`|<script>alert(1)</script>\udcff\x85{{7*7}}"
)
"""Ends of lines, workflow commands, ESC, marks, markup, shell and bytes that were no text."""

STARTS = "::error::PWNED"
"""A text that is a command if it begins a line."""

SECRET = "hush"

_COMMAND = re.compile(r"\s*::(?!error file=|error title=|warning file=|warning title=)|.*##\w*\[")
_RAW = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# What a record says by fixed words, not by texts of somebody.
_WORDS = {"outcome", "metric", "unit", "method", "kind", "color", "verdict", "clock"}


def poisoned(record: Any, text: str = HOSTILE) -> Any:
    """A record with a text in place of every other text in it."""
    if isinstance(record, str):
        return text
    if isinstance(record, Mapping):
        return {f"{name}{text}": poisoned(part, text) for name, part in record.items()}
    if isinstance(record, (tuple, list)):
        return type(record)(poisoned(part, text) for part in record)
    if not is_dataclass(record) or isinstance(record, type):
        return record
    values = {
        each.name: poisoned(getattr(record, each.name), text)
        for each in fields(record)
        if each.init and each.name not in _WORDS
    }
    return replace(record, **values)


def faults(output: str) -> list[str]:
    """Lines of an output that a CI would obey, or that hold what no line should."""
    return [
        line
        for line in output.split("\n")
        if _COMMAND.match(line) or _RAW.search(line) or "PWNED\r" in line
    ]
