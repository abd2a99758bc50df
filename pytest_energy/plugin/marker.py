"""Which tests are ours: the fixtures they use, the marker `energy` and what it asks for.

A project may have fixtures, parameters and a marker of its own by these names, which are never
taken for ours. PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeGuard

import pytest

from pytest_energy.checks import TestSettings
from pytest_energy.errors import did_you_mean
from pytest_energy.plugin.options import RANGES, usage_error
from pytest_energy.plugin.settings import check_levels

RUN = "pytest_energy_run"
"""The fixture that all of ours use, and none of a project's: it tells ours from theirs."""

GATE = "energy_gate"

LINE = (
    "energy(max_joules, tolerance, detect, tokens, max_windows): limit the joules of a whole "
    "test, or set the levels (percent) and budgets of its gates; without arguments meter the test"
)
"""How the marker is registered."""

_KNOWN = tuple(field.name for field in fields(TestSettings))


def is_metered(item: pytest.Item) -> bool:
    """Whether a test needs the meter."""
    return _uses_fixtures(item) or is_marked(item)


def is_gated(item: pytest.Item) -> bool:
    """Whether a test has a gate."""
    return _uses_fixtures(item) and GATE in getattr(item, "fixturenames", ())


def is_marked(item: pytest.Item) -> bool:
    """Whether a test has our marker."""
    return bool(_own_marks(item))


def is_metered_whole(item: pytest.Item) -> bool:
    """Whether a test has our marker without arguments, and no fixture that meters parts of it."""
    marks = _own_marks(item)
    return bool(marks) and not any(m.kwargs for m in marks) and not _uses_fixtures(item)


def asked_by(item: pytest.Item) -> TestSettings:
    """What a test asks for: the nearest marker's arguments over the outer ones'.

    Raises `pytest.UsageError` for unknown names and values that are none.
    """
    arguments: dict[str, Any] = {}
    for marker in _own_marks(item):
        if marker.args:
            raise usage_error(
                f"`@pytest.mark.energy` on `{item.nodeid}` takes arguments by name only; "
                f"write `max_joules={marker.args[0]!r}`, or register the marker `energy` if it is "
                "one of your own"
            )
        arguments.update(marker.kwargs)
    return from_arguments(arguments, item.nodeid)


def from_arguments(arguments: Mapping[str, Any], test: str) -> TestSettings:
    """Levels come in percent; raises `pytest.UsageError` naming the argument and the test."""
    for name, value in arguments.items():
        if name not in _KNOWN:
            raise usage_error(
                f"`{name}` on `{test}` is no argument of `@pytest.mark.energy`; "
                f"{did_you_mean(name, _KNOWN)}it knows {', '.join(f'`{k}`' for k in _KNOWN)}. "
                f"If the marker is one of your own, register it under `markers` in pytest's ini "
                f"file, and give its arguments names that are unlike these"
            )
        whole = name in ("tokens", "max_windows")
        low, high = RANGES.get(name, (0.0, float("inf")))
        fits = _is_number(value) and low <= value <= high and value not in (0, float("inf"))
        if not fits or (whole and value != int(value)):
            what = "a whole number" if whole else "joules" if name == "max_joules" else "percent"
            most = f" and at most {high:g}" if high < float("inf") else ""
            raise usage_error(
                f"`{name}={value!r}` on `{test}` is out of range; give {what} "
                f"{f'from {low:g}' if low else 'above 0'}{most}"
            )
    percent = {k: arguments[k] / 100 for k in ("tolerance", "detect") if k in arguments}
    counts = {k: int(arguments[k]) for k in ("tokens", "max_windows") if k in arguments}
    asked = TestSettings(**{**arguments, **percent, **counts})
    check_levels(("tolerance", asked.tolerance), ("detect", asked.detect), f" on `{test}`")
    return asked


def _uses_fixtures(item: pytest.Item) -> bool:
    return RUN in getattr(item, "fixturenames", ())


def _own_marks(item: pytest.Item) -> list[pytest.Mark]:
    """The marks `energy` of a test that are ours, the outermost first."""
    marks = reversed(list(item.iter_markers("energy")))
    return [mark for mark in marks if _is_ours(mark, item.config)]


def _is_ours(mark: pytest.Mark, config: pytest.Config) -> bool:
    """Whether a mark means our marker, be it misspelt; a project's own takes what it likes.

    Where the project has registered one, ours has numbers under names like those of ours alone.
    """
    values = (*mark.args, *mark.kwargs.values())
    if _project_has_its_own(config):
        if not mark.kwargs or mark.args:
            return False
        alike = all(did_you_mean(name, _KNOWN) for name in mark.kwargs)
        return alike and all(map(_is_number, values))
    return not mark.kwargs.keys().isdisjoint(_KNOWN) or all(map(_is_number, values))


def _project_has_its_own(config: pytest.Config) -> bool:
    """Whether somebody else has registered a marker `energy`."""
    lines = [line for line in config.getini("markers") if line != LINE]
    return any(line.split(":")[0].split("(")[0].strip() == "energy" for line in lines)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
