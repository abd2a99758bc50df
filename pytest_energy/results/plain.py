"""What a test notes, as builtin types: numbers of other libraries do not reach records as such."""

from __future__ import annotations

import operator
from typing import Any

from pytest_energy.documents import LARGEST, shown
from pytest_energy.errors import EnergyError


def number(value: Any, what: str) -> float:
    """A float of what can be one; raises `EnergyError` that names `what`."""
    if not isinstance(value, (str, bytes)):
        try:
            return float(value)
        except Exception:  # other libraries raise what they like
            pass
    raise EnergyError(f"{what} is {shown(value)}, which is no number: give a float")


def optional(value: Any, what: str) -> float | None:
    """The same, or None."""
    return None if value is None else number(value, what)


def ends(interval: Any, what: str) -> tuple[float | None, float | None]:
    """Both ends of an interval, None if there is none."""
    if interval is None:
        return None, None
    try:
        low, high = interval
    except (TypeError, ValueError):
        raise EnergyError(
            f"`interval` of {what} is {shown(interval)}: give its two ends, such as `(0.5, 2.0)`"
        ) from None
    return number(low, f"`interval` of {what}"), number(high, f"`interval` of {what}")


def cell(value: Any, what: str) -> str | int | float | None:
    """A table's cell; whole numbers stay whole as far as a document holds them."""
    if value is None:
        return None
    if isinstance(value, (str, bool)):
        return str(value)
    try:
        whole = operator.index(value)
    except Exception:  # such as of a float, or of an array
        return number(value, what)
    return whole if abs(whole) <= LARGEST else number(whole, what)
