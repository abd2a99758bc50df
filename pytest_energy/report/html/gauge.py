"""A change drawn beside its figure: where it lies between what is allowed and what is caught."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_energy.records import VerdictRecord

_EDGE = 1.6
"""Times `detect` that the gauge reaches to; what lies farther out sits at its end."""


@dataclass(frozen=True)
class Gauge:
    """Places on the gauge in per cent of its width: the allowed band, and the change."""

    allowed_left: float
    allowed_width: float
    at: float


def gauge(verdict: VerdictRecord) -> Gauge | None:
    """The gauge of a change; None where there is none, or no levels to hold it against."""
    change, tolerance, detect = verdict.change, verdict.tolerance, verdict.detect
    if change is None or tolerance is None or not detect:
        return None
    reach = _EDGE * detect
    half = min(50.0, 50 * tolerance / reach)
    at = 50 + 50 * max(-1.0, min(1.0, change / reach))
    return Gauge(round(50 - half, 2), round(2 * half, 2), round(at, 2))
