"""What a run has found so far, and its way from xdist's workers to the controller."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pytest_energy.baselines.tables import Calibration
from pytest_energy.metering.device_session import DeviceSession, RunCost
from pytest_energy.results import NOT_RECORDED, NotMeasured, RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.json_codec import as_json, from_json


@dataclass
class RunResults:
    """Verdicts and claims of a run, and what is known of the devices that they were measured on."""

    verdicts: list[VerdictRecord] = field(default_factory=list)
    claims: list[ClaimRecord] = field(default_factory=list)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    cost: RunCost = field(default_factory=RunCost)
    idle_watts: float | None = None
    calibration: Calibration | None = None
    disturbance: str | None = None
    remarks: tuple[str, ...] = ()
    not_measured: tuple[NotMeasured, ...] = ()
    data: tuple[str, ...] = ()

    def of(self, test: str) -> tuple[VerdictRecord, ...]:
        """The verdicts of a test so far, in their order."""
        return tuple(record for record in self.verdicts if record.nodeid == test)

    def discard(self, test: str, why: str = "did not pass") -> None:
        """Take back what a test recorded that did not pass, or was interrupted."""
        self.verdicts = [
            replace(record, outcome="invalid", reason=f"{NOT_RECORDED}{why}")
            if record.nodeid == test and record.outcome == "recorded"
            else record
            for record in self.verdicts
        ]

    def forget(self, test: str) -> None:
        """Drop all of a test, which is run again."""
        self.verdicts = [record for record in self.verdicts if record.nodeid != test]
        self.claims = [record for record in self.claims if record.nodeid != test]

    def take_device(self, device: DeviceSession, calibration: Calibration | None) -> None:
        """Take in what a session knows of its devices and has spent on them."""
        hardware = device.identified
        if hardware is not None:
            devices = [asdict(each) for each in hardware.devices]
            self.hardware = {"key": hardware.key, "devices": devices}
            self.environment = dict(hardware.environment)
        self.cost += device.cost
        device.cost = RunCost()
        self.idle_watts = self.idle_watts if device.idle_watts is None else device.idle_watts
        self.calibration = self.calibration or calibration
        self.remarks = tuple(dict.fromkeys((*self.remarks, *device.remarks)))

    def as_payload(self, test: str | None = None) -> dict[str, Any]:
        """What a worker found, of builtin types alone: of one `test`, or of all of them."""
        found = self
        if test is not None:
            claims = [record for record in self.claims if record.nodeid == test]
            found = replace(self, verdicts=list(self.of(test)), claims=claims)
        payload: dict[str, Any] = as_json(found)
        return payload

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> RunResults:
        """What `as_payload` has made a payload of."""
        return from_json(cls, payload)

    def update(self, sent: RunResults, test: str) -> None:
        """Take in what the same worker has sent of a test; its cost is what it spent so far."""
        self.forget(test)
        self.cost = RunCost()
        self.merge(sent)

    def merge(self, worker: RunResults) -> None:
        """Take in what a worker found; its windows held the same locks, so costs add up."""
        self.verdicts += worker.verdicts
        self.claims += worker.claims
        if worker.hardware:
            self.hardware, self.environment = worker.hardware, worker.environment
        self.cost += worker.cost
        self.idle_watts = worker.idle_watts if self.idle_watts is None else self.idle_watts
        self.calibration = worker.calibration or self.calibration
        self.disturbance = self.disturbance or worker.disturbance
        self.remarks = tuple(dict.fromkeys((*self.remarks, *worker.remarks)))
        self.data = tuple(dict.fromkeys((*self.data, *worker.data)))

    def as_record(
        self, interrupted: str | None = None, unfinished: Sequence[str] = ()
    ) -> RunRecord:
        """All that reports are made of; a run that was `interrupted` has cost that or more."""
        fit, cost = self.calibration, self.cost
        cost = replace(cost, complete=cost.complete and interrupted is None)
        # Ranks meter the GPUs they use, which need not be all that were idle.
        domains = [device["domain"] for device in self.hardware.get("devices", ())]
        return RunRecord(
            self.hardware,
            self.environment,
            tuple(net_of_idle(record, self.idle_watts, domains) for record in self.verdicts),
            cost,
            self.idle_watts,
            fit.wall_joules(cost.joules, cost.seconds) if fit and cost.seconds else None,
            tuple(self.claims),
            self.disturbance,
            interrupted,
            tuple(unfinished),
            self.remarks,
            self.not_measured,
            self.data,
        )


def net_of_idle(
    record: VerdictRecord, watts: float | None, domains: Collection[str] | None = None
) -> VerdictRecord:
    """The record with `net_value`: its value without what the device had drawn idly meanwhile.

    Only for figures in joules that have none yet, and of windows over just the `domains` that drew
    `watts` (None: whatever they were over); the gated value stays gross.
    """
    windows = record.windows
    gross, seconds = sum(each.joules for each in windows), sum(each.seconds for each in windows)
    if watts is None or record.net_value is not None or record.value is None:
        return record
    if gross <= 0 or not record.unit.startswith("J"):
        return record
    if domains is not None and any(set(each.joules_by_domain) != set(domains) for each in windows):
        return record
    return replace(record, net_value=record.value * (1 - watts * seconds / gross))
