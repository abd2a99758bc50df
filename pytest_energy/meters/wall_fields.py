"""Names, units and number forms in which plug meters, PDUs and their loggers write readings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pytest_energy.meters.wall_trace import Figure

WATT_HOUR = 3600.0
KILOWATT_HOUR = 3.6e6
WATT_MINUTE = 60.0

TIMES = ("timestamp", "time", "datetime", "date_time", "date", "ts", "unixtime", "statussns.time")

_WATTS = (
    (1.0, "watts watt w power power_w power_watts active_power active_power_w apower apower_w"),
    (1.0, "energy.power statussns.energy.power"),
    (1000.0, "kw power_kw"),
)
_JOULES = (
    (KILOWATT_HOUR, "kwh energy_kwh total_kwh energy_total_kwh"),
    (KILOWATT_HOUR, "energy.total statussns.energy.total"),
    (WATT_HOUR, "wh energy_wh total_wh energy_total_wh"),
    (WATT_HOUR, "aenergy.total aenergy_total aenergy_total_wh"),
    (1.0, "joules energy_j energy_joules"),
)

WATTS = {name: scale for scale, names in _WATTS for name in names.split()}
"""Names of power, in the order in which they are looked for, with watts a unit."""

JOULES = {name: scale for scale, names in _JOULES for name in names.split()}
"""Names of cumulative energy, in the order in which they are looked for, with joules a unit."""

_FRACTION = re.compile(r"[.,](\d+)")
_ZONE = re.compile(r"([+-]\d\d):?(\d\d)$")
_MILLISECONDS_FROM = 1e11


def plain(name: str) -> str:
    """A column's name in lower case, other signs as underscores: `Power (W)` gives `power_w`."""
    return re.sub(r"[^a-z0-9.]+", "_", name.strip().lower()).strip("_")


def flat(document: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Numbers and texts of nested JSON objects, by their plain names joined with dots."""
    found: dict[str, str] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{above}{plain(name)}."))
        elif isinstance(value, str):
            found[above + plain(name)] = value
    return found


def figure(text: str, scale: float = 1.0) -> Figure:
    """A number from 0, in its unit times `scale`, with its last digit; `ValueError` otherwise."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"`{text.strip()}` is no number") from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or number < 0 or not math.isfinite(float(number)):
        raise ValueError(f"`{text.strip()}` is no number from 0")
    return Figure(float(number) * scale, 10.0 ** min(exponent, 0) * scale)


def moment(text: str) -> Figure:
    """Unix time (s) of ISO 8601 or Unix seconds or milliseconds; `ValueError` otherwise.

    A time without a zone is taken as local time.
    """
    text = text.strip()
    try:
        number = figure(text)
    except ValueError:
        return _iso(text)
    if number.value >= _MILLISECONDS_FROM:
        return Figure(number.value / 1000, number.digit / 1000)
    return number


def _iso(text: str) -> Figure:
    fraction = _FRACTION.search(text)
    digits = fraction[1] if fraction else ""
    # Python 3.10 reads neither `Z` nor fractions of other than 3 or 6 digits.
    tidy = _FRACTION.sub("." + digits[:6].ljust(6, "0"), text) if digits else text
    tidy = _ZONE.sub(r"\1:\2", re.sub(r"[zZ]$", "+00:00", tidy))
    if not re.search(r"\d[T ]\d", tidy):
        raise ValueError(f"`{text}` is no date and time")
    try:
        seconds = datetime.fromisoformat(tidy).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"`{text}` is no date and time") from None
    return Figure(seconds, 10.0 ** -len(digits[:6]))
