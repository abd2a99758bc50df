"""What a pytest-xdist worker sends home, and how the controller takes it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pytest_energy.calibration import Calibration
from pytest_energy.claims import ClaimRecord
from pytest_energy.records import RunCost, VerdictRecord
from pytest_energy.session import EnergySession


def as_payload(session: EnergySession) -> dict[str, Any]:
    """What a session found, of builtin types alone."""
    if session.bad_input is not None:
        return {"bad_input": session.bad_input}
    record = session.run_record()
    return {
        "identity": [dict(record.hardware), dict(record.environment)],
        "verdicts": [verdict.as_json() for verdict in record.verdicts],
        "claims": [claim.as_json() for claim in record.claims],
        "cost": [record.cost.joules, record.cost.seconds, record.cost.complete],
        "pending": session.pending.as_payload(),
        "idle_watts": record.idle_watts,
        "disturbance": record.disturbance,
        "calibration": asdict(session.calibration) if session.calibration else None,
    }


def merge(session: EnergySession, payload: Mapping[str, Any]) -> None:
    """Take in what a worker sent; its windows held the same locks, so costs add up."""
    if "bad_input" in payload:
        session.bad_input = payload["bad_input"]
        return
    if payload["identity"][0]:
        session.identity = tuple(payload["identity"])
    session.verdicts += [VerdictRecord.from_json(record) for record in payload["verdicts"]]
    session.claims += [ClaimRecord.from_json(record) for record in payload["claims"]]
    session.cost += RunCost(*payload["cost"])
    session.pending.merge(payload["pending"])
    if session.idle_watts is None:
        session.idle_watts = payload["idle_watts"]
    session.disturbance = session.disturbance or payload["disturbance"]
    if payload["calibration"] is not None:
        session.calibration = Calibration(**payload["calibration"])
