"""The run as JSON, for machines; the schema is documented in docs/formats.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pytest_energy.errors import EnergyError
from pytest_energy.files import write_atomically
from pytest_energy.metering import Window
from pytest_energy.results import JSON_SCHEMA, RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.footprint import Footprint, footprint
from pytest_energy.text import encodable

_RENAMED: Mapping[type, Mapping[str, str]] = {VerdictRecord: {"outcome": "verdict"}}
_Record = TypeVar("_Record")
_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def as_json(value: Any) -> Any:
    """A record, or what is in one, of builtin types alone; derived figures are beside its own."""
    if is_dataclass(value):
        names = _RENAMED.get(type(value), {})
        own = {names.get(each.name, each.name): getattr(value, each.name) for each in fields(value)}
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
    return {"outcome": record.outcome} if isinstance(record, ClaimRecord) else {}


def from_json(kind: type[_Record], row: Mapping[str, Any]) -> _Record:
    """The record of a `kind` that `as_json` wrote; names that it does not have are passed over.

    Raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` if `row` does not fit. By
    hand, since an interpreter that is compared with this one is lent our package, but no other.
    """
    names = _RENAMED.get(kind, {})
    values = {
        name: _value(hint, row[names.get(name, name)])
        for name, hint in _hints(kind).items()
        if name in names or name in row
    }
    return kind(**values)


def _value(hint: Any, value: Any) -> Any:
    inner = get_args(hint)
    if value is None:
        return None
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value)
    origin = get_origin(hint)
    if origin in (tuple, list):
        kinds = inner[:1] * len(value) if origin is list or inner[-1] is Ellipsis else inner
        return origin(_value(kind, part) for kind, part in zip(kinds, value, strict=True))
    if origin is Mapping:
        return {name: _value(inner[1], part) for name, part in value.items()}
    return _value(inner[0], value) if origin in (Union, UnionType) else value


def as_document(record: RunRecord, region: str | None) -> dict[str, Any]:
    """The document that `--energy-json` writes, of builtin types alone."""
    cost = footprint(record.cost.joules, region)
    return {
        "schema": JSON_SCHEMA,
        "hardware": as_json(record.hardware),
        "environment": as_json(record.environment),
        "verdicts": as_json(record.verdicts),
        "claims": as_json(record.claims),
        "run": {
            "joules": record.cost.joules,
            "gco2e": cost.grams,
            "gco2e_source": cost.source,
            "seconds": record.cost.seconds,
            "complete": record.cost.complete,
            "idle_watts": record.idle_watts,
            "wall_joules": record.wall_joules,
            "disturbance": as_json(record.disturbance),
        },
    }


def write(path: Path, record: RunRecord, region: str | None) -> None:
    """Write the document in one step; its folder is made if it is missing."""
    write_atomically(path, json.dumps(as_document(record, region), indent=1) + "\n")


@dataclass(frozen=True)
class ReportedRun:
    """One run; `source` names its file (empty: the run itself), `commit` the code that ran."""

    record: RunRecord
    footprint: Footprint
    source: str = ""
    commit: str | None = None


def read_document(path: Path) -> ReportedRun:
    """The run in a document of `--energy-json`; raises `EnergyError` naming what is wrong."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EnergyError(
            f"`{path}` cannot be read ({error.strerror}); give a file that `--energy-json` wrote"
        ) from None
    except ValueError as error:
        raise EnergyError(
            f"`{path}` is no JSON ({error}); give a file that `--energy-json` wrote"
        ) from None
    return from_document(document, path)


def from_document(document: Any, path: Path) -> ReportedRun:
    """The run in a document's builtin types; `path` is named if they do not fit."""
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema is None or "verdicts" not in document:
        raise EnergyError(f"`{path}` is no record of a run; give a file that `--energy-json` wrote")
    if schema != JSON_SCHEMA:
        raise EnergyError(
            f"`{path}` has schema {schema}, but this version reads {JSON_SCHEMA}; "
            f"read it with the version that wrote it"
        )
    try:
        run, commit = document["run"], document.get("commit")
        record = from_json(RunRecord, {**document, **run, "cost": run})
        footprint = Footprint(run["joules"], run["gco2e"], run["gco2e_source"])
        return ReportedRun(record, footprint, path.name, None if commit is None else str(commit))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EnergyError(
            f"`{path}` is damaged ({type(error).__name__}: {error}); write it again with "
            f"`--energy-json`"
        ) from None
