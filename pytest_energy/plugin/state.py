"""The life cycle of one run: opens the meter once, keeps verdicts, writes baselines at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy import baselines
from pytest_energy.baselines import Reference
from pytest_energy.baselines.calibration import Calibration, device_key
from pytest_energy.baselines.reading import known_hardware, read
from pytest_energy.baselines.store import Pending
from pytest_energy.baselines.writing import Header
from pytest_energy.errors import BaselineError, EnergyError
from pytest_energy.metering.device_lock import device_lock
from pytest_energy.metering.device_session import idle_watts
from pytest_energy.metering.hardware import (
    CPU_BUDGET,
    GPU_BUDGET,
    Budget,
    Hardware,
    identify,
    matching_key,
)
from pytest_energy.meters import Meter, open_meter
from pytest_energy.plugin.options import (
    EnergyConfig,
)
from pytest_energy.plugin.progress import Progress
from pytest_energy.results import RunCost, RunRecord, VerdictRecord
from pytest_energy.results.claims import ClaimRecord
from pytest_energy.results.run_results import net_of_idle
from pytest_energy.stats.sequential import ErrorBudget

if TYPE_CHECKING:
    from pytest_energy.ab import Arena
    from pytest_energy.plugin.ab_side import Server
    from pytest_energy.workloads.data.protocol import DataSource


class EnergySession:
    """One pytest run on one hardware; nothing is opened before a test asks for it."""

    def __init__(self, config: EnergyConfig, cache: Path, progress: Progress) -> None:
        self.config = config
        self.progress = progress
        self.error_budget = ErrorBudget()
        self.bad_input: str | None = None
        self.failure: str | None = None
        self.verdicts: list[VerdictRecord] = []
        self.claims: list[ClaimRecord] = []
        self.cost = RunCost()
        self.idle_watts: float | None = None
        self.disturbance: str | None = None
        self.calibration: Calibration | None = None
        self._looked_around = False
        self.cache = cache
        self.pending = Pending()
        self.identity: tuple[Mapping[str, Any], Mapping[str, str]] = ({}, {})
        self._depth = 0
        self.arena: Arena | None = None
        self.server: Server | None = None

    @cached_property
    def meter(self) -> Meter:
        """The run's one meter."""
        return open_meter(self.config.meter)

    @cached_property
    def hardware(self) -> Hardware:
        """What is measured on; its key is `--energy-hw`'s where that file fits the devices."""
        known = known_hardware(self.config.baselines)
        found = identify(self.meter, {k: globs for k, globs in known.items() if k != "cpu"})
        asked = self.config.hw
        names = [device.name for device in found.devices]
        if asked in known and found.key != "cpu" and matching_key(names, {asked: known[asked]}):
            found = replace(found, key=asked)
        self.identity = (
            {"key": found.key, "devices": [asdict(device) for device in found.devices]},
            dict(found.environment),
        )
        return found

    @cached_property
    def baseline(self) -> baselines.Baseline | None:
        """The hardware's baseline file, or None where there is none."""
        path = baselines.baseline_path(self.config.baselines, self.hardware.key)
        return read(path) if path.is_file() else None

    @cached_property
    def local(self) -> baselines.Baseline | None:
        """What this machine recorded for itself; None if nothing or unreadable."""
        try:
            return read(self._local_path) if self._local_path.is_file() else None
        except BaselineError:
            return None

    @cached_property
    def data(self) -> DataSource:
        """The data that workloads train on; one for the run, so that files are read once."""
        from pytest_energy.workloads.data import open_data

        return open_data(self.config.data, self.config.models)

    @cached_property
    def budget(self) -> Budget:
        """Tokens of a window and at most so many a batch: option, else file, else default."""
        default = CPU_BUDGET if self.hardware.key == "cpu" else GPU_BUDGET
        stored = self.baseline
        if stored is not None:
            default = Budget(
                stored.tokens_per_window or default.tokens,
                stored.max_tokens_per_batch or default.max_tokens_per_batch,
            )
        return replace(default, tokens=self.config.tokens or default.tokens)

    def tokens_per_window(self, asked: int | None) -> int:
        """Token budget of a window, for a test whose marker asks for so many, or for none."""
        return asked or self.budget.tokens

    def reference(self, metric: str, identifier: str) -> Reference | None:
        """The stored entry of a figure: the hardware's file first, then this machine's own.

        Where a baseline is demanded, what this machine keeps for itself does not stand in for it.
        """
        own = None if self.demands_baseline else self.local
        for stored, local in ((self.baseline, False), (own, True)):
            entry = stored.entries.get((metric, identifier)) if stored else None
            if stored is not None and entry is not None and entry.sessions:
                return Reference(stored, entry, local)
        return None

    @property
    def demands_baseline(self) -> bool:
        """Whether a figure without a baseline fails: a hardware was named, or this is CI."""
        return self.config.hw != "auto" or self.config.ci

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Hold the devices' locks, and count what is spent meanwhile; nests."""
        if self.bad_input is not None:  # an xdist worker cannot end the run, but it spends nothing
            raise EnergyError(self.bad_input)
        if self._depth:
            yield
            return
        names = [device.uuid or device.domain for device in self.meter.devices]
        asked = time.monotonic()
        with device_lock(names, self.config.lock_timeout_seconds, self.progress.note):
            self._depth += 1
            started, before = time.monotonic(), self._joules()
            self.progress.waited(started - asked)
            try:
                self._look_around()
                yield
            finally:
                self._depth -= 1
                self.cost += self._spent_since(before, time.monotonic() - started)

    def discard(self, nodeid: str) -> None:
        """Take back what a test recorded that failed afterwards."""
        self.pending.discard(nodeid)
        self.verdicts = [
            replace(record, outcome="invalid", reason="not recorded: its test failed")
            if record.nodeid == nodeid and record.outcome == "recorded"
            else record
            for record in self.verdicts
        ]

    def write_baselines(self) -> list[tuple[Path, str]]:
        """Store what was recorded; returns each committed file and its diff."""
        written = []
        if self.pending.committed:
            path = baselines.baseline_path(self.config.baselines, self.hardware.key)
            diff = self.pending.write_committed(path, self._header(), self.config.update or "new")
            written.append((path, diff or ""))
        if self.pending.local:
            try:
                self.pending.write_local(self._local_path, self._header())
            except BaselineError as error:  # what this machine keeps for itself fails nothing
                self.progress.note(str(error))
        return written

    def run_record(self) -> RunRecord:
        """All that reports are made of."""
        hardware, environment = self.identity
        fit, cost = self.calibration, self.cost
        wall_joules = fit.wall_joules(cost.joules, cost.seconds) if fit else None
        return RunRecord(
            hardware,
            environment,
            tuple(self._netted()),
            cost,
            self.idle_watts,
            wall_joules,
            tuple(self.claims),
            self.disturbance,
        )

    def close(self) -> None:
        """Close the meter if it was opened, and what an A/B was made of."""
        for owned in (self.arena, self.__dict__.pop("meter", None)):
            if owned is not None:
                owned.close()

    @property
    def _local_path(self) -> Path:
        folder = self.cache / str(self.budget.tokens)
        return baselines.baseline_path(folder, self.hardware.key)

    def _header(self) -> Header:
        match = tuple(f"{name}*" for name in self.hardware.names)
        budget = self.budget
        return Header(self.hardware.key, match, budget.tokens, budget.max_tokens_per_batch)

    def _look_around(self) -> None:
        """Once, before the first test's work: idle power, and the devices' calibration."""
        if self._looked_around:
            return
        self._looked_around = True
        stored = self.baseline.calibrations if self.baseline else {}
        calibration = stored.get(device_key(self.hardware) or "")
        self.calibration = calibration.fit if calibration else None
        if self.config.idle_seconds and self.meter.method != "modelled":
            try:
                self.idle_watts = idle_watts(self.meter, self.config.idle_seconds)
            except EnergyError as error:
                self.progress.note(str(error))

    def _netted(self) -> Iterator[VerdictRecord]:
        # Ranks meter the GPUs they use, which need not be all that were idle.
        domains = [device["domain"] for device in self.identity[0].get("devices", ())]
        return (net_of_idle(record, self.idle_watts, domains) for record in self.verdicts)

    def _joules(self) -> float | None:
        try:
            return sum(self.meter.read().joules.values())
        except EnergyError:
            return None

    def _spent_since(self, before: float | None, seconds: float) -> RunCost:
        after = self._joules()
        if before is None or after is None or after < before:
            return RunCost(0.0, seconds, complete=False)
        return RunCost(after - before, seconds)
