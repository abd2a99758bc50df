"""The run as JSON, for machines; the schema is documented in docs/formats.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.files import write_atomically as write_atomically
from pytest_energy.metering.device_session import RunCost
from pytest_energy.results import JSON_SCHEMA, RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.footprint import Footprint, footprint


def as_document(record: RunRecord, region: str | None) -> dict[str, Any]:
    """The document that `--energy-json` writes, of builtin types alone."""
    cost = footprint(record.cost.joules, region)
    return {
        "schema": JSON_SCHEMA,
        "hardware": dict(record.hardware),
        "environment": dict(record.environment),
        "verdicts": [verdict.as_json() for verdict in record.verdicts],
        "claims": [claim.as_json() for claim in record.claims],
        "run": {
            "joules": record.cost.joules,
            "gco2e": cost.grams,
            "gco2e_source": cost.source,
            "seconds": record.cost.seconds,
            "complete": record.cost.complete,
            "idle_watts": record.idle_watts,
            "wall_joules": record.wall_joules,
            "disturbance": record.disturbance,
        },
    }


def write(path: Path, record: RunRecord, region: str | None) -> None:
    """Write the document in one step; its folder is made where it is missing."""
    write_atomically(path, json.dumps(as_document(record, region), indent=1) + "\n")


@dataclass(frozen=True)
class ReportedRun:
    """One run; `source` names the file that it was read from, empty for the run itself.

    `commit` is that of the code which ran, where a history's record says it.
    """

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
    """The run in a document's builtin types; `path` is named where they do not fit."""
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema is None or "verdicts" not in document:
        raise EnergyError(f"`{path}` is no record of a run; give a file that `--energy-json` wrote")
    if schema != JSON_SCHEMA:
        raise EnergyError(
            f"`{path}` has schema {schema}, but this version reads {JSON_SCHEMA}; "
            f"read it with the version that wrote it"
        )
    try:
        return _run(document, path.name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EnergyError(
            f"`{path}` is damaged ({type(error).__name__}: {error}); write it again with "
            f"`--energy-json`"
        ) from None


def _run(document: Mapping[str, Any], source: str) -> ReportedRun:
    run = document["run"]
    record = RunRecord(
        hardware=document["hardware"],
        environment=document["environment"],
        verdicts=tuple(VerdictRecord.from_json(row) for row in document["verdicts"]),
        cost=RunCost(run["joules"], run["seconds"], run["complete"]),
        idle_watts=run["idle_watts"],
        wall_joules=run["wall_joules"],
        claims=tuple(ClaimRecord.from_json(row) for row in document["claims"]),
        disturbance=run.get("disturbance"),
    )
    footprint = Footprint(run["joules"], run["gco2e"], run["gco2e_source"])
    commit = document.get("commit")
    return ReportedRun(record, footprint, source, None if commit is None else str(commit))
