"""The figures of a verdict as properties of its test, which JUnit XML shows beside the case."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytest_energy.records import Comparison, VerdictRecord

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
_OF_SIDES = ("reference", "joules_per_token", "mean_watts", "tokens_per_second")
_FIRST = re.compile(r"energy_(\d+_)?id")


def properties(record: VerdictRecord, names: Iterable[str]) -> list[tuple[str, object]]:
    """What is known of a record, by property name; `names` are those that the test has already.

    A test's first check has `energy_value`, its second `energy_2_value`, and so on.
    """
    number = 1 + sum(_FIRST.fullmatch(name) is not None for name in names)
    prefix = "energy_" if number == 1 else f"energy_{number}_"
    known = ((name, getattr(record, name)) for name in _NAMES)
    both = [*known, *_of_sides(record.comparison)]
    return [(prefix + name, value) for name, value in both if value is not None]


def _of_sides(comparison: Comparison | None) -> list[tuple[str, object]]:
    sides = () if comparison is None else (comparison.base, comparison.head)
    return [(f"{side.name}_{name}", getattr(side, name)) for side in sides for name in _OF_SIDES]
