"""Figures as a person reads them: joules with a fitting prefix, changes in per cent or points."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_TAKES_PREFIX = ("J", "W")
_ROUNDS_UP = 1 + 5e-5

LARGEST_LEVELS = {"tolerance": 1.0, "detect": 3.0}
"""The largest change to be allowed, or to be caught, that may be asked for, as fractions."""

LARGEST_STORED = {"tolerance": 1.0, "detect": 10.0}
"""The same in a baseline file, which may have been written before there were these limits."""

FRACTION = "fraction"
"""The unit of shares such as savings: shown in per cent, their changes in points."""


def ratio(part: float, whole: float) -> float:
    """`part / whole`; NaN, which every figure here can be, if there is no whole."""
    return part / whole if whole else math.nan


def quantity(value: float, unit: str) -> str:
    """`value` in four significant digits, such as `5.120 mJ/token`; a `fraction` in per cent."""
    if unit == FRACTION:
        return f"{100 * value:.1f} %"
    scale, letter = prefix(value, unit)
    return f"{_digits(value / scale, 4)} {letter}{unit}".rstrip()


def quantity_with_uncertainty(value: float, uncertainty: float, unit: str) -> str:
    """`value` and its half-width under one prefix, such as `5.120 ± 0.014 mJ/token`."""
    if unit == FRACTION:
        return f"{100 * value:.1f} ± {100 * uncertainty:.1f} %"
    scale, letter = prefix(value, unit)
    shown = _digits(value / scale, 4)
    decimals = len(shown.partition(".")[2])
    return f"{shown} ± {uncertainty / scale:.{decimals}f} {letter}{unit}".rstrip()


def duration(seconds: float) -> str:
    """Seconds in two digits or whole, such as `0.05 s` or `12 s`; minutes from two on."""
    if seconds < 0.001:
        return "0 s"
    if seconds >= 120:
        return f"{seconds / 60:,.0f} min"
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.2g} s"


def percent(ratio: float, *, signed: bool = False) -> str:
    """A ratio in per cent: `2 %`, `0.25 %`, signed with one decimal `+4.1 %`; never `-0.0 %`."""
    if signed:
        return f"{round(100 * ratio, 1) + 0.0:+.1f} %"
    return f"{100 * ratio:.3g} %"


def difference(change: float, unit: str, *, signed: bool = True) -> str:
    """A change of a figure in `unit`: relative in per cent, or points if it is a fraction."""
    if unit != FRACTION:
        return percent(change, signed=signed)
    points = f"{round(100 * change, 1) + 0.0:+.1f}" if signed else f"{100 * change:.3g}"
    return f"{points} point" if points.lstrip("+-") in ("1", "1.0") else f"{points} points"


def listed(texts: Sequence[str], most: int) -> str:
    """The first texts with commas between them, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


_NO_BREAK = "\u00a0"
_BEFORE_UNIT = re.compile(
    r"(?<=\d) (?=(?:%|points?\b|[GMkmµn]?(?:J|W|Wh)\b|tokens/s|gCO2e|(?:ms|s|min|h|MHz)\b|°C))"
    r"|(?<=\d) (?=± \d)|(?<=\d ±) (?=\d)"
)


def unbroken(text: str) -> str:
    """Text for a page: no line ends between a figure and its unit, or its uncertainty.

    What stands in backticks is to be copied, and stays as it is.
    """
    parts = text.split("`")
    shown = (_BEFORE_UNIT.sub(_NO_BREAK, part) for part in parts[::2])
    return "`".join(next(shown) if number % 2 == 0 else part for number, part in enumerate(parts))


def prefix(value: float, unit: str) -> tuple[float, str]:
    """What to divide figures as large as `value` by, and the letter that goes before the unit."""
    if not unit.startswith(_TAKES_PREFIX) or value == 0 or not math.isfinite(value):
        return 1.0, ""
    size = abs(value) * _ROUNDS_UP
    return next((entry for entry in _PREFIXES if size >= entry[0]), _PREFIXES[-1])


def _digits(value: float, significant: int) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    leading = math.floor(math.log10(abs(value) * _ROUNDS_UP))
    return f"{value:.{min(max(0, significant - 1 - leading), 9)}f}"
