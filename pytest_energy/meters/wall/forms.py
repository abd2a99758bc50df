"""Names, units and number forms in which plug meters, PDUs and their loggers write readings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from pytest_energy.clocks import real_time
from pytest_energy.text import one_line

WATT_HOUR = 3600.0
KILOWATT_HOUR = 3.6e6
WATT_MINUTE = 60.0
TIMES = ("timestamp", "time", "datetime", "date_time", "date", "ts", "unixtime", "statussns.time")

DEVICES = (
    *("device", "device_id", "device_name", "entity_id", "name", "id", "mac", "topic"),
    *("channel", "plug", "outlet", "socket", "phase"),
)
"""Names of what says which of several devices a reading is of."""

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
_LAST_SECONDS = 7.258e9


@dataclass(frozen=True)
class Figure:
    """A number as it was reported, and the value of its last digit, in the same unit."""

    value: float
    digit: float = 0.0


def plain(name: str) -> str:
    """A column's name in lower case, other signs as underscores: `Power (W)` gives `power_w`."""
    return re.sub(r"[^a-z0-9.]+", "_", name.strip().lower()).strip("_")


def json_fields(text: str | bytes) -> dict[str, str]:
    """Figures, texts and truths of nested JSON objects, by their plain names joined with dots.

    `ValueError` for what is no JSON or nested too deep, `TypeError` for what is no object.
    """
    try:
        # As they are written, since a figure's last digit says how fine it is.
        document = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
        if not isinstance(document, dict):
            raise TypeError("no JSON object")
        return _flat(document)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _flat(document: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{above}{plain(name)}."))
        elif isinstance(value, str | bool):
            found[above + plain(name)] = str(value)
    return found


MOST = 1e15
"""No figure of power or energy, in whatever unit, nor time in milliseconds, is larger."""
_SHOWN = 40


def figure(text: str, scale: float = 1.0) -> Figure:
    """A number from 0 to `MOST`, times `scale`, with its last digit; `ValueError` otherwise."""
    shown = one_line(text.strip(), _SHOWN)
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"`{shown}` is no number") from None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not 0 <= number <= MOST:
        raise ValueError(f"`{shown}` is no number from 0 to {MOST:g}")
    return Figure(float(number) * scale, 10.0 ** min(exponent, 0) * scale)


def first_figure(fields: Mapping[str, str], scales: Mapping[str, float]) -> Figure | None:
    """The figure of the first name that there is, in its unit times its scale."""
    return next((figure(fields[name], scales[name]) for name in scales if name in fields), None)


def moment(text: str) -> Figure:
    """Unix time (s) of ISO 8601 or Unix seconds or milliseconds; `ValueError` otherwise.

    A time without a zone is taken as local time.
    """
    text = text.strip()
    try:
        number = figure(text)
    except ValueError:
        number = _iso(text)
    else:
        if number.value >= _MILLISECONDS_FROM:
            number = Figure(number.value / 1000, number.digit / 1000)
    if not 0 <= number.value <= _LAST_SECONDS:
        raise ValueError(f"`{one_line(text, _SHOWN)}` is no date from 1970 to 2199")
    return number


def _iso(text: str) -> Figure:
    fraction = _FRACTION.search(text)
    digits = fraction[1] if fraction else ""
    # Python 3.10 reads neither `Z` nor fractions of other than 3 or 6 digits.
    tidy = _FRACTION.sub("." + digits[:6].ljust(6, "0"), text) if digits else text
    tidy = _ZONE.sub(r"\1:\2", re.sub(r"[zZ]$", "+00:00", tidy))
    try:
        if not re.search(r"\d[T ]\d", tidy):
            raise ValueError
        seconds = real_time.moment.fromisoformat(tidy).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"`{one_line(text, _SHOWN)}` is no date and time") from None
    return Figure(seconds, 10.0 ** -len(digits[:6]))
