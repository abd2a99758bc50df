"""The run as JSON, for machines; the schema is documented in docs/formats.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from pytest_energy.documents import (
    Count,
    FaultyDocumentError,
    NotNegative,
    other_schema,
    parse_json,
)
from pytest_energy.documents.records import converted, name_in_documents
from pytest_energy.errors import DataError, EnergyError
from pytest_energy.files import read_bytes, write_atomically
from pytest_energy.metering import Window
from pytest_energy.outcomes import NO_EVIDENCE
from pytest_energy.results import JSON_SCHEMA, RunRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.footprint import Footprint, footprint
from pytest_energy.text import encodable, one_line

_Record = TypeVar("_Record")

LARGEST_BYTES = 1 << 28
"""The most that is read of a document."""

_OF_ORIGIN = ("project", "command", "commit", "branch", "dirty")


def as_json(value: Any) -> Any:
    """A record, or what is in one, of builtin types alone; derived figures are beside its own."""
    if is_dataclass(value):
        own = {name_in_documents(each): getattr(value, each.name) for each in fields(value)}
        return {name: as_json(part) for name, part in (own | _derived(value)).items()}
    if isinstance(value, Mapping):
        return {as_json(name): as_json(part) for name, part in value.items()}
    if isinstance(value, str):
        return encodable(value)
    return tuple(map(as_json, value)) if isinstance(value, (tuple, list)) else value


def _derived(record: Any) -> dict[str, Any]:
    if isinstance(record, Window):
        watts = record.mean_watts if record.seconds > 0 else None
        return {"joules": record.joules, "mean_watts": watts, "valid": record.valid}
    if isinstance(record, ClaimRecord):
        return {"outcome": record.outcome, "fails": record.fails}
    return {}


def from_json(kind: type[_Record], row: Mapping[str, Any]) -> _Record:
    """The record of a `kind` that `as_json` wrote; names that it does not have are passed over.

    Raises `FaultyDocumentError` if `row` does not fit.
    """
    return converted(kind, row)


def as_document(record: RunRecord, region: str | None) -> dict[str, Any]:
    """The document that `--energy-json` writes, of builtin types alone."""
    cost = footprint(record.cost.joules, region)
    return {
        "schema": JSON_SCHEMA,
        **{name: as_json(getattr(record.origin, name)) for name in _OF_ORIGIN},
        "hardware": as_json(record.hardware),
        "environment": as_json(record.environment),
        "verdicts": as_json(record.verdicts),
        "claims": as_json(record.claims),
        "not_measured": as_json(record.not_measured),
        "run": {
            "joules": record.cost.joules,
            "gco2e": cost.grams,
            "gco2e_source": cost.source,
            "seconds": record.cost.seconds,
            "complete": record.cost.complete,
            "idle_watts": record.idle_watts,
            "wall_joules": record.wall_joules,
            "disturbance": as_json(record.disturbance),
            "interrupted": as_json(record.interrupted),
            "unfinished": as_json(record.unfinished),
            "remarks": as_json(record.remarks),
            "data": as_json(record.data),
        },
    }


def write(path: Path, record: RunRecord, region: str | None) -> None:
    """Write the document in one step; its folder is made if it is missing."""
    write_atomically(path, json.dumps(as_document(record, region), indent=1) + "\n")


@dataclass(frozen=True)
class ReportedRun:
    """One run; `source` names its file (empty: the run itself)."""

    record: RunRecord
    footprint: Footprint
    source: str = ""


class _Device(TypedDict):
    domain: str
    name: str


class _DeviceFacts(_Device, total=False):
    uuid: str | None
    power_limit_watts: NotNegative | None
    driver: str | None
    max_sm_clock_mhz: Count | None
    application_sm_clock_mhz: Count | None


class _Hardware(TypedDict, total=False):
    key: str
    devices: list[_DeviceFacts]


@dataclass(frozen=True)
class _Rest:
    """What a document says beside what a `RunRecord` has."""

    hardware: _Hardware
    environment: dict[str, str]
    run: dict[str, Any]


@dataclass(frozen=True)
class _Cost:
    joules: NotNegative
    gco2e: NotNegative | None
    gco2e_source: str


def read_document(path: Path) -> ReportedRun:
    """The run in a document of `--energy-json`; raises `EnergyError` naming what is wrong."""
    try:
        data = read_bytes(path, LARGEST_BYTES)
    except DataError as error:
        why = str(error).removesuffix(": give a file")
        raise EnergyError(f"{why}; give a file that `--energy-json` wrote") from None
    try:
        document = parse_json(data)
    except FaultyDocumentError as error:
        raise EnergyError(f"`{path}` {error}; give a file that `--energy-json` wrote") from None
    return from_document(document, path)


def from_document(document: Any, path: Path) -> ReportedRun:
    """The run in a document's builtin types; `path` is named if they do not fit."""
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema is None or "verdicts" not in document:
        raise EnergyError(f"`{path}` is no record of a run; give a file that `--energy-json` wrote")
    if schema != JSON_SCHEMA:
        older = "read it with the version that wrote it"
        raise EnergyError(f"`{path}` has schema {other_schema(schema, JSON_SCHEMA, older)}")
    try:
        rest = converted(_Rest, document)
        run = {**rest.run, "cost": rest.run, "origin": document}
        record = from_json(RunRecord, {**document, **run, "hardware": rest.hardware})
        cost = converted(_Cost, rest.run)
        _require_plausible(record)
    except FaultyDocumentError as error:
        # As the document calls it.
        error.place = error.place.replace(".cost.", ".run.", 1).replace(".origin.", ".", 1)
        raise EnergyError(
            f"`{path}` is damaged: {error}; write it again with `--energy-json`"
        ) from None
    footprint = Footprint(cost.joules, cost.gco2e, cost.gco2e_source)
    return ReportedRun(record, footprint, path.name)


def _require_plausible(record: RunRecord) -> None:
    """Raise `FaultyDocumentError` for figures that no valid window has, and for ragged tables."""
    for table in (table for claim in record.claims for table in claim.tables):
        if any(len(row) != len(table.columns) for row in table.rows):
            raise FaultyDocumentError(
                f"the table `{one_line(table.title)}` has rows of other lengths than its columns"
            )
    for verdict in record.verdicts:
        joules = [window.joules for window in verdict.windows if window.valid]
        if verdict.outcome not in NO_EVIDENCE and verdict.unit.startswith("J"):
            joules += [] if verdict.value is None else [verdict.value]
        if any(figure <= 0 for figure in joules):
            raise FaultyDocumentError(
                f"`{one_line(verdict.id)}` has {min(joules):g} J, and only more than 0 is valid"
            )
