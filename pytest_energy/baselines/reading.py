"""A parsed baseline document, checked name by name and turned into dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pytest_energy.baselines import (
    METRICS,
    SCHEMA,
    Band,
    Baseline,
    Entry,
    Source,
    Spread,
    StoredSession,
    moment,
)
from pytest_energy.baselines.tables import Acknowledgement, StoredCalibration, StoredSensor
from pytest_energy.documents import (
    SMALLEST,
    FaultyDocumentError,
    Positive,
    PositiveCount,
    other_schema,
    parse_toml,
    shown,
)
from pytest_energy.documents.records import checked, converted, kinds_of
from pytest_energy.errors import BaselineError, DataError, Faults, did_you_mean
from pytest_energy.files import read_text
from pytest_energy.meters.sensors import Qualified
from pytest_energy.outcomes import METHODS
from pytest_energy.text import one_line
from pytest_energy.units import LARGEST_STORED

LARGEST_BYTES = 1 << 25
"""The most that is read of a baseline file."""

_Kind = TypeVar("_Kind")


def known_hardware(folder: Path) -> dict[str, tuple[str, ...]]:
    """Hardware keys and their device-name globs, from every file in a folder of baselines."""
    return {path.stem: read(path).match for path in sorted(folder.glob("*.toml"))}


def qualified(folder: Path) -> dict[str, Qualified]:
    """What a folder's files keep of cards' sensors, by UUID.

    A file that cannot be read tells nothing here; who needs it says why.
    """
    found = {}
    for path in sorted(folder.glob("*.toml")):
        with suppress(BaselineError):
            for uuid, sensor in read(path).sensors.items():
                found[uuid] = sensor.qualified
    return found


def read(path: Path) -> Baseline:
    """Read a baseline file; raises `BaselineError` naming the file and the place."""
    return parse(text_of(path), path)


def text_of(path: Path) -> str:
    """The text of a baseline file; raises `BaselineError` if it is empty or unreadable."""
    try:
        text = read_text(path, "the TOML of a baseline", LARGEST_BYTES)
    except DataError as error:
        why = str(error).removesuffix(": give a file")
        raise BaselineError(f"{why}; mend or remove the file") from error
    return text.replace("\r\n", "\n")


def parse(text: str, path: Path, *, any_name: bool = False) -> Baseline:
    """Parse the text of a baseline file; `path` is what errors name.

    Its name must be the hardware's key unless it may have `any_name`, such as a copy.
    """
    try:
        document = parse_toml(text)
    except FaultyDocumentError as error:
        raise BaselineError(
            f"`{path}` {error}; mend that line, or restore the file from git"
        ) from error
    return Reader(path, any_name=any_name).baseline(document)


_SESSION_KINDS = {
    **kinds_of(StoredSession),
    "pairs": PositiveCount,
    "sd": Spread,
}
_ENTRY_KINDS = {
    **dict.fromkeys(LARGEST_STORED, float),
    "workload": str,
    "source": str,
    "note": str,
    "sessions": list[Any],
}
_BAND_KINDS = {"low": Positive, "mean": Positive, "high": Positive, "mean_watts": Positive}
_HARDWARE_KINDS = {
    "key": str,
    "match": list[str],
    "tokens_per_window": PositiveCount,
    "max_tokens_per_batch": PositiveCount,
    "tokens_of_tasks": dict[str, PositiveCount],
    "note": str,
}
_STATED_KINDS = kinds_of(Acknowledgement)
_ENVIRONMENT = dict[str, str | bool | int | float]


class Reader:
    """Turns a parsed document into a `Baseline`, refusing what it does not know by name."""

    def __init__(self, path: Path, *, any_name: bool = False) -> None:
        self._path, self._any_name = path, any_name

    def baseline(self, document: Mapping[str, Any]) -> Baseline:
        """The document as a `Baseline`; raises `BaselineError` naming the place and the file."""
        if "schema" not in document:
            raise self._error("schema", f"is missing; write `schema = {SCHEMA}`")
        schema = document["schema"]
        if schema != SCHEMA:
            raise self._error(
                "schema", f"is {other_schema(schema, SCHEMA, f'write `schema = {SCHEMA}`')}"
            )
        tables = (
            *("schema", "hardware", "environment", "claims", "calibration", "sensor"),
            *("acknowledged", *METRICS),
        )
        for name in document:
            if name not in tables:
                meant = did_you_mean(name, tables)
                raise self._error(
                    name, f"is not known; {meant}a baseline file has {', '.join(tables)}"
                )
        hardware = self._checked(document.get("hardware", {}), _HARDWARE_KINDS, "hardware")
        key = hardware.get("key", self._path.stem)
        if key != self._path.stem and not self._any_name:
            raise self._error(
                "hardware.key",
                f"is {shown(key)} but the file is `{self._path.name}`; make them agree",
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
            match=tuple(hardware.get("match", [])),
            tokens_per_window=hardware.get("tokens_per_window"),
            max_tokens_per_batch=hardware.get("max_tokens_per_batch"),
            tokens_of_tasks=hardware.get("tokens_of_tasks", {}),
            entries=entries,
            claims=self._claims(self._tables(document, "claims")),
            environments={
                name: self._environment(values, f"environment.{name}")
                for name, values in self._tables(document, "environment").items()
            },
            calibrations=self._devices(document, "calibration", StoredCalibration),
            sensors=self._devices(document, "sensor", StoredSensor),
            acknowledged=self._acknowledged(document.get("acknowledged", [])),
        )

    def _entry(self, metric: str, identifier: str, table: Any) -> Entry:
        where = f'{metric}."{identifier}"'
        values = self._checked(table, _ENTRY_KINDS, where)
        if values.get("source", "measured") != "measured":
            raise self._error(
                f"{where}.source",
                f"is {shown(values['source'])}, but what has sessions is measured; state a band "
                f"from elsewhere under `[claims.{metric}]`",
            )
        sessions = tuple(
            self._session(row, f"{where}.sessions[{index}]", paired=metric == "savings")
            for index, row in enumerate(values.get("sessions", []))
        )
        for name, most in LARGEST_STORED.items():
            if name in values and not SMALLEST <= values[name] <= most:
                raise self._error(f"{where}.{name}", _no_level(values[name], most))
        return Entry(
            metric=metric,
            id=identifier,
            sessions=sessions,
            workload=values.get("workload"),
            tolerance=values.get("tolerance"),
            detect=values.get("detect"),
        )

    def _session(self, row: Any, where: str, *, paired: bool) -> StoredSession:
        values = self._checked(row, _SESSION_KINDS, where)
        for own, name in (("pairs", "windows"), ("sd", "cv")):
            if own in values:
                values[name] = values.pop(own)
        for name in ("date", "windows", "mean", "cv"):
            if name not in values:
                raise self._error(where, f"has no `{name}`; restore the row or remove it")
        mean = values["mean"]
        if not (mean < 1 if paired else mean >= SMALLEST):
            raise self._error(where, f"needs `mean` {'below 1' if paired else 'above 0'}")
        self._require_date(values["date"], where)
        return StoredSession(**values)

    def _environment(self, table: Any, where: str) -> dict[str, str]:
        values = self._converted(_ENVIRONMENT, table, where)
        return {name: str(value) for name, value in values.items()}

    def _require_date(self, date: str, where: str) -> None:
        try:
            moment(date)
        except (ValueError, OverflowError):
            raise self._error(
                where, f"has {shown(date)} for a `date`; write it as 2026-11-24T10:12:03Z"
            ) from None

    def _devices(self, document: Mapping[str, Any], name: str, kept: Any) -> dict[str, Any]:
        """What a group of tables states of each device; `kept` is the class of such tables."""
        found = {}
        for device, table in self._tables(document, name).items():
            where = f'{name}."{device}"'
            values = self._checked(table, kept.KINDS, where)
            try:
                found[device] = kept.from_table(values)
            except ValueError as error:
                raise self._error(where, str(error)) from None
        return found

    def _acknowledged(self, tables: Any) -> tuple[Acknowledgement, ...]:
        found, faults = dict[tuple[str, str], Acknowledgement](), Faults()
        for index, table in enumerate(self._converted(list[Any], tables, "acknowledged")):
            where, values = f"acknowledged[{index}]", dict[str, Any]()
            given = self._table(table, where)
            for name, value in given.items():
                with faults.gathered():
                    values |= self._checked({name: value}, _STATED_KINDS, where)
            for wrong in Acknowledgement.faults_of(values, given):
                with faults.gathered():
                    raise self._error(where, wrong)
            with faults.gathered():
                if values.get("metric", METRICS[0]) not in METRICS:
                    raise self._error(f"{where}.metric", f"is none of {', '.join(METRICS)}")
                if (key := (values.get("metric", ""), values.get("id", ""))) in found:
                    raise self._error(where, f"is the second of `{key[1]}`; remove one of them")
                if {*Acknowledgement.NEEDED} <= values.keys():
                    found[key] = Acknowledgement(**values)
        faults.tell()
        return tuple(found.values())

    def _claims(self, table: Mapping[str, Any]) -> dict[tuple[str, str], Band]:
        claims = {}
        for name, bands in table.items():
            where = f"claims.{name}"
            if name not in METRICS:
                raise self._error(where, f"is no claim; write {' or '.join(METRICS)}")
            source = self._table(bands, where).get("source", "measured")
            if source not in ("measured", "paper"):
                raise self._error(
                    f"{where}.source", f"is {shown(source)}; write `measured` or `paper`"
                )
            band_of = self._joules_band if name == "joules_per_token" else self._band
            for key, band in bands.items():
                if key not in ("source", "note"):
                    if name == "savings" and key not in METHODS:
                        raise self._error(f"{where}.{key}", f"is none of {', '.join(METHODS)}")
                    claims[name, key] = band_of(band, f"{where}.{key}", source)
        return claims

    def _band(self, band: Any, where: str, source: Source) -> Band:
        if not (isinstance(band, list) and len(band) == 2):
            raise self._error(where, "must be a band such as [0.4, 0.6]")
        low, high = self._converted(tuple[float, float], band, where)
        if low >= high:
            raise self._error(where, "must be a band such as [0.4, 0.6]")
        return Band(low, high, source)

    def _joules_band(self, band: Any, where: str, source: Source) -> Band:
        values = self._checked(band, _BAND_KINDS, where)
        low, mean, high = (values.get(name, 0.0) for name in ("low", "mean", "high"))
        if not 0 < low <= mean <= high:
            raise self._error(
                where,
                "must be a band in J/token such as { low = 0.029, mean = 0.031, high = 0.036 }, "
                "all above 0 and in that order",
            )
        return Band(low, high, source, mean, values.get("mean_watts"))

    def _tables(self, document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        return self._table(document.get(name, {}), name)

    def _table(self, value: Any, where: str) -> Mapping[str, Any]:
        return self._converted(dict[str, Any], value, where)

    def _converted(self, kind: type[_Kind], value: Any, where: str) -> _Kind:
        try:
            return converted(kind, value)
        except FaultyDocumentError as error:
            raise self._error(where + error.place, error.wrong) from None

    def _checked(self, value: Any, kinds: Mapping[str, Any], where: str) -> dict[str, Any]:
        try:
            return checked(value, kinds)
        except FaultyDocumentError as error:
            raise self._error(where + error.place, error.wrong) from None

    def _error(self, where: str, what: str) -> BaselineError:
        return BaselineError(f"`{one_line(where)}` in `{self._path}` {what}")


def _no_level(value: float, most: float) -> str:
    """What is wrong with a tolerance or detect; percent is what people mean by 2."""
    meant = f"{value / 100:g} for {value:g} %" if most < value <= 100 else "0.02 for 2 %"
    return f"is {value:g}; write a fraction above 0 and at most {most:g}, such as {meant}"
