"""Whatever a wall log holds, it ends in readings or in a sentence."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from document_mutations import fuzzed
from mutations import spoilt
from pytest_energy.errors import EnergyError
from pytest_energy.meters.wall.log import WallLog
from pytest_energy.meters.wall.trace import WallTrace

LOGS = [
    b"timestamp,watts\n1795600001,100.5\n1795600002,101\n1795600003,99.75\n1795600004,100\n",
    b"Time;Power (W);kWh\n2026-11-24T12:00:00Z;100,5;1,25\n2026-11-24T12:00:01Z;100,5;1,26\n",
    b"# remark\ndate\ttime\tW\n2026-11-24\t12:00:00\t100.5\n2026-11-24\t12:00:01\t100.5\n",
    b'{"time": "2026-11-24T12:00:00Z", "ENERGY": {"Power": 100.5, "Total": 1.250}}\n'
    b'{"time": "2026-11-24T12:00:01Z", "ENERGY": {"Power": 101.5, "Total": 1.251}}\n',
    b'{"ts": 1795600001000, "apower": 100.5, "aenergy": {"total": 1250.125, "by": [1, 2]}}\n'
    b'{"ts": 1795600002000, "apower": 100.5, "aenergy": {"total": 1250.155, "by": [1, 2]}}\n',
]


@pytest.mark.attack(
    "plugs and pipes",
    "somebody changes a wall log at random",
    "readings or one sentence",
)
@fuzzed(300)
@given(data=spoilt(LOGS))
def test_any_log_ends_in_readings_or_a_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "plug.log"
    path.write_bytes(data)
    trace = WallTrace()
    said = []
    with suppress(EnergyError):
        log = WallLog(path)
        # An error costs its line.
        said = [_read(log, trace) for _ in range(data.count(b"\n") + 1)]
        log.close()
    assert all("plug.log`" in text and len(text) < 1000 for text in said if text)
    begun = [series.seconds[0] for series in (trace.watts, trace.energy) if series.seconds]
    with suppress(EnergyError):
        found = trace.between(min(begun, default=0.0), trace.last)
        assert found.joules >= 0
        assert found.uncertainty_joules >= 0
        assert math.isfinite(found.joules + found.uncertainty_joules)


def _read(log: WallLog, trace: WallTrace) -> str:
    try:
        log.refresh(trace)
    except EnergyError as error:
        return str(error)
    return ""
