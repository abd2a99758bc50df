"""The run as JSON, for machines; the schema is documented in docs/formats.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_energy.carbon import footprint
from pytest_energy.recording import write as write_atomically
from pytest_energy.records import JSON_SCHEMA, RunRecord


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
