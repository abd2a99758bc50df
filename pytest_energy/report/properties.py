"""The figures of a verdict as properties of its test, which JUnit XML shows beside the case."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_energy.records import VerdictRecord

_NAMES = (
    "id",
    "metric",
    "outcome",
    "value",
    "uncertainty",
    "baseline",
    "change",
    "unit",
)
_FIRST = re.compile(r"energy_(\d+_)?id")


def properties(record: VerdictRecord, names: Iterable[str]) -> list[tuple[str, object]]:
    """What is known of a record, by property name; `names` are those that the test has already.

    A test's first check has `energy_value`, its second `energy_2_value`, and so on.
    """
    number = 1 + sum(_FIRST.fullmatch(name) is not None for name in names)
    prefix = "energy_" if number == 1 else f"energy_{number}_"
    known = ((name, getattr(record, name)) for name in _NAMES)
    return [(prefix + name, value) for name, value in known if value is not None]
