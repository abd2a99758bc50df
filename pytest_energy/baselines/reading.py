"""A parsed baseline document, checked name by name and turned into dataclasses."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pytest_energy.baselines import (
    METRICS,
    SCHEMA,
    Band,
    Baseline,
    Entry,
    Source,
    StoredSession,
)
from pytest_energy.baselines import calibration as stored_calibration
from pytest_energy.baselines.calibration import StoredCalibration
from pytest_energy.errors import BaselineError, DataError, did_you_mean
from pytest_energy.files import read_text
from pytest_energy.outcomes import Method
from pytest_energy.units import LARGEST_LEVELS


def known_hardware(folder: Path) -> dict[str, tuple[str, ...]]:
    """Hardware keys and their device-name globs, from every file in a folder of baselines."""
    return {path.stem: read(path).match for path in sorted(folder.glob("*.toml"))}


def read(path: Path) -> Baseline:
    """Read a baseline file; raises `BaselineError` naming the file and the place."""
    return parse(text_of(path), path)


def text_of(path: Path) -> str:
    """The text of a baseline file; raises `BaselineError` if it is empty or unreadable."""
    try:
        return read_text(path, "the TOML of a baseline").replace("\r\n", "\n")
    except DataError as error:
        raise BaselineError(f"{error}; mend or remove the file") from error


def parse(text: str, path: Path, *, any_name: bool = False) -> Baseline:
    """Parse the text of a baseline file; `path` is what errors name.

    Its name must be the hardware's key unless it may have `any_name`, such as a copy.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BaselineError(
            f"`{path}` is not valid TOML: {error}; mend that line, or restore the file from git"
        ) from error

    return Reader(path, any_name=any_name).baseline(document)


def _type(hint: Any) -> type:
    kinds: tuple[type, ...] = (*get_args(hint), hint)
    return next(kind for kind in kinds if kind is not type(None))


_SESSION_NAMES = {
    **{name: _type(hint) for name, hint in get_type_hints(StoredSession).items()},
    "pairs": int,
    "sd": float,
}
_ENTRY_NAMES = {
    "tolerance": float,
    "detect": float,
    "workload": str,
    "source": str,
    "note": str,
    "sessions": list,
}
_METHODS = get_args(Method)
_BAND_NAMES = {"low": float, "mean": float, "high": float, "mean_watts": float}
_HARDWARE_NAMES = {
    "key": str,
    "match": list,
    "tokens_per_window": int,
    "max_tokens_per_batch": int,
    "note": str,
}


class Reader:
    """Turns a parsed document into a `Baseline`, refusing what it does not know by name."""

    def __init__(self, path: Path, *, any_name: bool = False) -> None:
        self._path, self._any_name = path, any_name

    def baseline(self, document: Mapping[str, Any]) -> Baseline:
        """The document as a `Baseline`; raises `BaselineError` naming the place and the file."""
        schema = document.get("schema")
        if schema != SCHEMA:
            raise self._error(
                "schema",
                f"is {schema!r}, this version reads {SCHEMA}; write that, or upgrade pytest-energy",
            )
        tables = ("schema", "hardware", "environment", "claims", "calibration", *METRICS)
        for name in document:
            if name not in tables:
                meant = did_you_mean(name, tables)
                raise self._error(
                    name, f"is not known; {meant}a baseline file has {', '.join(tables)}"
                )
        hardware = self._checked(document.get("hardware", {}), _HARDWARE_NAMES, "hardware")
        key = hardware.get("key", self._path.stem)
        if key != self._path.stem and not self._any_name:
            raise self._error(
                "hardware.key", f"is {key!r} but the file is `{self._path.name}`; make them agree"
            )
        if "tokens_per_window" not in hardware and any(document.get(m) for m in METRICS):
            raise self._error(
                "hardware", "has no `tokens_per_window`; write the budget its sessions had"
            )
        entries = {
            (metric, identifier): self._entry(metric, identifier, table)
            for metric in METRICS
            for identifier, table in self._tables(document, metric).items()
        }
        return Baseline(
            path=self._path,
            key=key,
            match=tuple(str(glob) for glob in hardware.get("match", [])),
            tokens_per_window=hardware.get("tokens_per_window"),
            max_tokens_per_batch=hardware.get("max_tokens_per_batch"),
            entries=entries,
            claims=self._claims(self._tables(document, "claims")),
            environments={
                name: {k: str(v) for k, v in self._table(values, f"environment.{name}").items()}
                for name, values in self._tables(document, "environment").items()
            },
            calibrations={
                device: self._calibration(table, f'calibration."{device}"')
                for device, table in self._tables(document, "calibration").items()
            },
        )

    def _entry(self, metric: str, identifier: str, table: Any) -> Entry:
        where = f'{metric}."{identifier}"'
        values = self._checked(table, _ENTRY_NAMES, where)
        if values.get("source", "measured") != "measured":
            raise self._error(
                f"{where}.source",
                f"is {values['source']!r}, but what has sessions is measured; state a band from "
                f"elsewhere under `[claims.{metric}]`",
            )
        sessions = tuple(
            self._session(row, f"{where}.sessions[{index}]", paired=metric == "savings")
            for index, row in enumerate(values.get("sessions", []))
        )
        for name in ("tolerance", "detect"):
            if name in values and not 0 < values[name] <= LARGEST_LEVELS[name]:
                raise self._error(f"{where}.{name}", _no_level(values[name], LARGEST_LEVELS[name]))
        return Entry(
            metric=metric,
            id=identifier,
            sessions=sessions,
            workload=values.get("workload"),
            tolerance=values.get("tolerance"),
            detect=values.get("detect"),
        )

    def _session(self, row: Any, where: str, *, paired: bool) -> StoredSession:
        values = self._checked(row, _SESSION_NAMES, where)
        if "pairs" in values:
            values["windows"] = values.pop("pairs")
        if "sd" in values:
            values["cv"] = values.pop("sd")
        for name in ("date", "windows", "mean", "cv"):
            if name not in values:
                raise self._error(where, f"has no `{name}`; restore the row or remove it")
        mean = values["mean"]
        if not (mean < 1 if paired else mean > 0):
            raise self._error(where, f"needs `mean` {'below 1' if paired else 'above 0'}")
        if not -1 <= values.get("autocorrelation", 0.0) <= 1 or values["cv"] < 0:
            raise self._error(where, "needs `cv` from 0 and `autocorrelation` from -1 to 1")
        for name in ("windows", "tokens", "padding_overhead", "mean_watts", "tokens_per_second"):
            if values.get(name, 1) <= 0:
                raise self._error(where, f"needs `{name}` above 0")
        return StoredSession(**values)

    def _calibration(self, table: Any, where: str) -> StoredCalibration:
        values = self._checked(table, stored_calibration.NAMES, where)
        try:
            return stored_calibration.from_table(values)
        except ValueError as error:
            raise self._error(where, str(error)) from None

    def _claims(self, table: Mapping[str, Any]) -> dict[tuple[str, str], Band]:
        claims = {}
        for name, bands in table.items():
            where = f"claims.{name}"
            if name not in METRICS:
                raise self._error(where, f"is no claim; write {' or '.join(METRICS)}")
            source = self._table(bands, where).get("source", "measured")
            if source not in ("measured", "paper"):
                raise self._error(f"{where}.source", f"is {source!r}; write `measured` or `paper`")
            band_of = self._joules_band if name == "joules_per_token" else self._band
            for key, band in bands.items():
                if key not in ("source", "note"):
                    if name == "savings" and key not in _METHODS:
                        raise self._error(f"{where}.{key}", f"is none of {', '.join(_METHODS)}")
                    claims[name, key] = band_of(band, f"{where}.{key}", source)
        return claims

    def _band(self, band: Any, where: str, source: Source) -> Band:
        numbers = isinstance(band, list) and all(map(_is_number, band))
        if not (numbers and len(band) == 2 and band[0] < band[1]):
            raise self._error(where, "must be a band such as [0.4, 0.6]")
        return Band(float(band[0]), float(band[1]), source)

    def _joules_band(self, band: Any, where: str, source: Source) -> Band:
        values = self._checked(band, _BAND_NAMES, where)
        low, mean, high = (values.get(name, 0.0) for name in ("low", "mean", "high"))
        if not 0 < low <= mean <= high < float("inf") or values.get("mean_watts", 1.0) <= 0:
            raise self._error(
                where,
                "must be a band in J/token such as { low = 0.029, mean = 0.031, high = 0.036 }, "
                "all above 0 and in that order",
            )
        return Band(low, high, source, mean, values.get("mean_watts"))

    def _tables(self, document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        return self._table(document.get(name, {}), name)

    def _table(self, value: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._error(where, "must be a table")
        return value

    def _checked(self, value: Any, names: Mapping[str, type], where: str) -> dict[str, Any]:
        checked: dict[str, Any] = {}
        for name, item in self._table(value, where).items():
            if name not in names:
                meant = did_you_mean(name, names)
                raise self._error(
                    f"{where}.{name}", f"is not known; {meant}it may be {', '.join(names)}"
                )
            wanted = names[name]
            if name == "date" and isinstance(item, date):
                item = item.isoformat()
            fits = isinstance(item, wanted) and not isinstance(item, bool)
            if not (_is_number(item) if wanted is float else fits):
                raise self._error(f"{where}.{name}", f"must be of type {wanted.__name__}")
            if wanted is int and item <= 0:
                raise self._error(f"{where}.{name}", "must be above 0")
            checked[name] = float(item) if wanted is float else item
        return checked

    def _error(self, where: str, what: str) -> BaselineError:
        return BaselineError(f"`{where}` in `{self._path}` {what}")


def _no_level(value: float, most: float) -> str:
    """What is wrong with a tolerance or detect; percent is what people mean by 2."""
    meant = f"{value / 100:g} for {value:g} %" if most < value <= 100 else "0.02 for 2 %"
    return f"is {value:g}; write a fraction above 0 and at most {most:g}, such as {meant}"


def _is_number(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]
