"""The reference load in a history: how it moved where another figure did."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_energy.gate.reference import LoadChange
from pytest_energy.history.series import Series
from pytest_energy.results import REFERENCE_LOAD

AROUND = 20
"""Sessions on either side of a change in which the load's joules are compared."""


def is_load(series: Series) -> bool:
    """Whether a series is that of the reference load itself."""
    return series.metric == REFERENCE_LOAD


def load_change(
    series: Series, loads: Iterable[Series], since: str, until: str, begin: str, end: str | None
) -> LoadChange | None:
    """How the load moved from sessions in `begin` to before `since`, to those in `until` to `end`.

    Dates are as in points; None if too few sessions on one card have it on both sides.
    """
    for load in loads:
        if load.hardware != series.hardware or load.device != series.device:
            continue
        before = [one.value for one in load.points if begin <= one.date < since]
        after = [
            one.value
            for one in load.points
            if until <= one.date and (end is None or one.date < end)
        ]
        found = LoadChange.between(before[-AROUND:], after[:AROUND])
        if found is not None:
            return found
    return None
