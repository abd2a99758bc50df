"""What a pytest-xdist worker sends home, and how the controller takes it in."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import asdict
from typing import Any

import pytest

from pytest_energy.baselines.calibration import Calibration
from pytest_energy.plugin.state import EnergySession
from pytest_energy.results import RunCost, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.json_codec import as_json, from_json


def as_payload(session: EnergySession) -> dict[str, Any]:
    """What a session found, of builtin types alone."""
    if session.bad_input is not None:
        return {"bad_input": session.bad_input}
    record = session.run_record()
    return {
        "identity": [dict(record.hardware), dict(record.environment)],
        "verdicts": [as_json(verdict) for verdict in record.verdicts],
        "claims": [as_json(claim) for claim in record.claims],
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
    session.verdicts += [from_json(VerdictRecord, record) for record in payload["verdicts"]]
    session.claims += [from_json(ClaimRecord, record) for record in payload["claims"]]
    session.cost += RunCost(*payload["cost"])
    session.pending.merge(payload["pending"])
    if session.idle_watts is None:
        session.idle_watts = payload["idle_watts"]
    session.disturbance = session.disturbance or payload["disturbance"]
    if payload["calibration"] is not None:
        session.calibration = Calibration(**payload["calibration"])


KEY = "energy"
"""Of `extra_info` in each benchmark, and of `machine_info`."""

_BRIDGED = pytest.StashKey[bool]()
_FIGURES = ("id", "metric", "unit", "value", "uncertainty", "baseline", "change", "method")


def annotate(session: EnergySession, item: pytest.Item, benchmark: object) -> None:
    """Put what was metered in a test into its `benchmark` fixture's `extra_info`."""
    records = [record for record in session.verdicts if record.nodeid == item.nodeid]
    extra = getattr(benchmark, "extra_info", None)
    if records and isinstance(extra, MutableMapping):
        extra[KEY] = [figures(record) for record in records]
        item.config.stash[_BRIDGED] = True


def figures(record: VerdictRecord) -> dict[str, Any]:
    """One verdict's row, of builtin types: J and s of each window, in the order of measuring."""
    row = {name: getattr(record, name) for name in _FIGURES}
    windows = [
        {"joules": w.joules, "seconds": w.seconds, "tokens": w.tokens, "valid": w.valid}
        for w in record.windows
    ]
    return {**row, "verdict": record.outcome, "windows": windows}


def describe_machine(
    session: EnergySession, config: pytest.Config, machine_info: MutableMapping[str, Any]
) -> None:
    """Name the metered devices, if a benchmark was metered: figures belong to their hardware."""
    hardware = session.run_record().hardware
    if hardware and _BRIDGED in config.stash:
        machine_info[KEY] = {"hardware": hardware["key"], "devices": list(hardware["devices"])}
