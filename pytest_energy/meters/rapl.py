"""Joules of CPU packages and memory, from the kernel's RAPL counters under powercap."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.protocol import (
    COUNTER_RESET,
    DEVICE_LOST,
    Conditions,
    Device,
    Reading,
    fault,
)
from pytest_energy.outcomes import Method

POWERCAP = "/sys/class/powercap"
ROOT_VARIABLE = "PYTEST_ENERGY_POWERCAP"
UPDATE_PERIOD_SECONDS = 0.001
RESOLUTION_JOULES = 61e-6
"""One energy unit of current server parts (2^-14 J)."""
MAX_PACKAGE_WATTS = 2000.0
"""More than any package or memory channel draws; bounds how soon a counter can wrap twice."""


@dataclass(frozen=True)
class Zone:
    """One RAPL counter: `domain` is `cpu` or `dram`, numbered where there are several."""

    domain: str
    name: str
    path: Path
    range_joules: float


class RaplMeter:
    """Cumulative joules of every CPU package and its memory; wrap-around is undone."""

    name = "rapl"
    method: Method = "counter"

    def __init__(self, root: Path | None = None) -> None:
        root = root or Path(os.environ.get(ROOT_VARIABLE) or POWERCAP)
        self._zones = tuple(_zones(root))
        if not self._zones:
            raise MeterUnavailableError(
                f"meter `rapl`: no CPU energy counter under `{root}`; it takes a Linux kernel with "
                "`intel_rapl_msr` on bare metal (virtual machines rarely have it)"
            )
        self.devices: tuple[Device, ...] = tuple(
            Device(zone.domain, zone.name, f"rapl:{zone.path.name}") for zone in self._zones
        )
        self.update_period_seconds = UPDATE_PERIOD_SECONDS
        self.resolution_joules = RESOLUTION_JOULES
        self._files = [_open(zone, root) for zone in self._zones]
        self._raw = [self._read_raw(i) for i in range(len(self._zones))]
        self._joules = [0.0] * len(self._zones)
        self._seconds = time.monotonic()
        self._faults: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        # Read often enough that no counter can wrap twice unseen, however long the windows are.
        every = min(zone.range_joules for zone in self._zones) / MAX_PACKAGE_WATTS / 3
        self._thread = threading.Thread(
            target=self._read_on, args=(every,), name="pytest-energy-rapl", daemon=True
        )
        self._thread.start()

    def read(self) -> Reading:
        """Cumulative joules of each package and memory since the meter was opened (J)."""
        with self._lock:
            return self._read()

    def _read_on(self, every: float) -> None:
        with suppress(EnergyError):  # the next reading that is asked for says so
            while not self._closed.wait(every):
                self.read()

    def _read(self) -> Reading:
        raw = [self._read_raw(i) for i in range(len(self._zones))]
        now = time.monotonic()
        passed = now - self._seconds
        again = f"may have wrapped more than once in {passed:.0f} s; meter shorter windows"
        self._faults = tuple(
            fault(COUNTER_RESET, f"`{zone.domain}` {again}")
            for zone in self._zones
            if passed * MAX_PACKAGE_WATTS > zone.range_joules
        )
        for i, zone in enumerate(self._zones):
            step = raw[i] - self._raw[i]
            self._joules[i] += step if step >= 0 else step + zone.range_joules
        self._raw, self._seconds = raw, now
        return Reading(now, {zone.domain: self._joules[i] for i, zone in enumerate(self._zones)})

    def conditions(self) -> Conditions:
        """Whether the counters were read often enough to undo their wrap-around."""
        return Conditions(self._faults)

    def close(self) -> None:
        """Close the counters' files."""
        self._closed.set()
        self._thread.join()
        for file in self._files:
            os.close(file)
        self._files = []

    def _read_raw(self, i: int) -> float:
        if i >= len(self._files):
            raise EnergyError("meter `rapl` is closed: open another one")
        try:
            return int(os.pread(self._files[i], 32, 0)) * 1e-6
        except (OSError, ValueError) as error:
            lost = fault(DEVICE_LOST, f"`{self._zones[i].path}` ({error})")
            raise EnergyError(lost) from None


def probe() -> tuple[Method, str]:
    """Which counters would be read; `MeterUnavailableError` says why they cannot be."""
    meter = RaplMeter()
    meter.close()
    return meter.method, f"energy counter of {', '.join(d.domain for d in meter.devices)}"


def _zones(root: Path) -> Iterator[Zone]:
    # One zone is listed flat, inside its parent, or both ways.
    patterns = (
        "intel-rapl/intel-rapl:*/intel-rapl:*",
        "intel-rapl/intel-rapl:*",
        "intel-rapl:*/intel-rapl:*",
        "intel-rapl:*",
    )
    paths = {path.name: path for pattern in patterns for path in root.glob(pattern)}
    found = [
        (kind, paths[name]) for name in sorted(paths, key=_order) if (kind := _kind(paths[name]))
    ]
    kinds = [kind for kind, _ in found]
    for i, (kind, path) in enumerate(found):
        domain = kind if kinds.count(kind) == 1 else f"{kind}:{kinds[:i].count(kind)}"
        range_joules = int((path / "max_energy_range_uj").read_text()) * 1e-6
        yield Zone(domain, (path / "name").read_text().strip(), path, range_joules)


def _kind(path: Path) -> str | None:
    """`cpu` for a package, `dram` for memory; core and uncore are parts of a package already."""
    try:
        name = (path / "name").read_text().strip()
    except OSError:
        return None
    if name.startswith("package"):
        return "cpu"
    return "dram" if name == "dram" else None


def _order(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _open(zone: Zone, root: Path) -> int:
    path = zone.path / "energy_uj"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise MeterUnavailableError(
            f"meter `rapl`: `{path}` may not be read; allow it until the next boot with\n"
            f"  sudo chmod a+r {root}/intel-rapl:*/energy_uj"
        ) from None
    except OSError as error:
        raise MeterUnavailableError(f"meter `rapl`: `{path}`: {error.strerror}") from None
